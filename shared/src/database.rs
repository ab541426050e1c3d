//! Connections to PostgreSQL: a bounded pool for short work, and single sessions for what needs a
//! session of its own (an advisory lock, LISTEN).
//!
//! Every connection has deadlines: for connecting, for a statement (by the server), and for a peer
//! that is gone (by the operating system).

use crate::config::{Environment, Secret};
use anyhow::{Context, Result, bail};
use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use r2d2::{ManageConnection, NopErrorHandler, Pool, PooledConnection};
use r2d2_postgres::PostgresConnectionManager;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PEER_GONE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);

/// A connection taken from the pool; it goes back when dropped.
pub type Pooled = PooledConnection<PostgresConnectionManager<NoTls>>;

/// One database, with the means to connect to it.
#[derive(Clone)]
pub struct Database {
    config: Config,
    pool: Pool<PostgresConnectionManager<NoTls>>,
}

impl Database {
    /// Reads `DATABASE_URL`. Nothing is connected yet.
    ///
    /// `statement_timeout` bounds each statement, `connections` the pool.
    pub fn from_env(
        environment: &Environment,
        service: &str,
        statement_timeout: Duration,
        connections: u32,
    ) -> Result<Database> {
        let example = "postgres://user:password@host:5432/database";
        let url = Secret::new(environment.required("DATABASE_URL", example)?);
        let mut config: Config = url.reveal().parse().with_context(|| {
            format!("DATABASE_URL cannot be read (its value is not shown, it may hold a password); for example {example}")
        })?;
        if config.get_ssl_mode() == SslMode::Require {
            bail!(
                "DATABASE_URL asks for sslmode=require, which this build does not support; use a local or tunnelled connection"
            );
        }
        if config.get_dbname().is_none() {
            bail!("DATABASE_URL names no database; for example {example}");
        }
        // Notices are for people who type SQL.
        let options =
            format!("-c statement_timeout={} -c client_min_messages=warning", statement_timeout.as_millis());
        config
            .application_name(service)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(PEER_GONE_AFTER)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_IDLE)
            .keepalives_retries(2)
            .options(&options);
        let pool = Pool::builder()
            .max_size(connections)
            .min_idle(Some(0))
            .idle_timeout(None)
            .max_lifetime(None)
            .connection_timeout(CONNECT_TIMEOUT)
            // The caller reports the error, once and with its context.
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(PostgresConnectionManager::new(config.clone(), NoTls));
        Ok(Database { config, pool })
    }

    /// Takes a connection from the pool, connecting where none is free. Waits at most 5 s.
    pub fn connection(&self) -> Result<Pooled> {
        self.pool.get().with_context(|| format!("connect to PostgreSQL at {}", self.address()))
    }

    /// Opens a session outside the pool. Waits at most 5 s for each address.
    pub fn session(&self) -> Result<Client> {
        PostgresConnectionManager::new(self.config.clone(), NoTls)
            .connect()
            .with_context(|| format!("connect to PostgreSQL at {}", self.address()))
    }

    /// `host:port/database`, without credentials.
    pub fn address(&self) -> String {
        use postgres::config::Host;
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}/{}", self.config.get_dbname().unwrap_or_default())
    }
}

/// Who a database is: the system identifier of its PostgreSQL cluster and its name.
pub fn identity(client: &mut impl postgres::GenericClient) -> Result<String> {
    let row = client
        .query_one("select system_identifier || '/' || current_database() from pg_control_system()", &[])
        .context("read the identity of the database")?;
    Ok(row.get(0))
}

/// Makes commits of this session durable, whatever weaker default the server has; a stronger one stays.
///
/// A tick that was read must not be lost in a crash and come again with other events, and a
/// transaction that was confirmed must not be lost either.
pub fn make_commits_durable(client: &mut Client) -> Result<()> {
    client
        .execute(
            "select set_config('synchronous_commit', 'on', false)
             where current_setting('synchronous_commit') in ('off', 'local')",
            &[],
        )
        .context("make commits durable")?;
    Ok(())
}
