//! Connections to PostgreSQL: a bounded pool for short work, and single sessions for what needs a
//! session of its own (an advisory lock, LISTEN).
//!
//! No call on any of them blocks without a deadline. Connecting has one as a whole. A statement has
//! the server's `statement_timeout`, and since a server that hangs cannot keep that, every connection
//! is [watched](watched) from this side. A client that vanished is noticed by the server, through the
//! settings that each connection brings along.

mod connecting;
mod conversation;
mod endpoints;
#[cfg(test)]
mod fake_server;
mod frames;
mod pool;
mod silence;
mod timeout_factor;
mod watched;

pub use pool::Pooled;
pub use timeout_factor::TimeoutFactor;

use crate::config::{Environment, Secret};
use anyhow::{Context, Result, anyhow, bail};
use connecting::Connector;
use pool::{Pool, PoolThreads};
use postgres::Client;
use std::error::Error;
use std::time::Duration;
use tokio_postgres::config::Config;

/// A connection whose peer's machine has not answered for so long is closed by ours.
const PEER_GONE_AFTER: Duration = Duration::from_secs(8);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

const EXAMPLE: &str = "postgres://user:password@host:5432/database";

/// One database, with the means to connect to it.
#[derive(Clone)]
pub struct Database {
    connector: Connector,
    connections: u32,
    threads: PoolThreads,
    pool: Pool,
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
        let url = Secret::new(environment.required("DATABASE_URL", EXAMPLE)?);
        let mut config = config(url.reveal())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            bail!("DATABASE_URL names no host; for example {EXAMPLE}");
        }
        if config.get_dbname().is_none() {
            bail!("DATABASE_URL names no database; for example {EXAMPLE}");
        }
        config
            .application_name(service)
            .tcp_user_timeout(PEER_GONE_AFTER)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(2);
        let connector = Connector::new(config, statement_timeout);
        let threads = PoolThreads::start();
        let pool = Pool::new(connector.clone(), connections, &threads);
        Ok(Database { connector, connections, threads, pool })
    }

    /// The same database with a pool of its own, for work that must not use a connection made before.
    #[must_use]
    pub fn with_own_pool(&self) -> Database {
        let pool = Pool::new(self.connector.clone(), self.connections, &self.threads);
        Database { pool, ..self.clone() }
    }

    /// Takes a connection from the pool, connecting where none is free. Waits at most 10 s, and as long as a
    /// check of an idle connection may take; not while the process stops.
    pub fn connection(&self) -> Result<Pooled> {
        self.pool.take()
    }

    /// Opens a session outside the pool, for an advisory lock or LISTEN. Waits at most 5 s.
    ///
    /// Refuses a connection pooler that gives a session's server to others between transactions.
    pub fn session(&self) -> Result<Client> {
        self.connector.session()
    }

    /// The same, with `factor` times the statement timeout of others.
    pub fn session_with_timeout_factor(&self, factor: u32) -> Result<Client> {
        self.connector.with_timeout_factor(factor).session()
    }

    /// `host:port/database`, without credentials.
    pub fn address(&self) -> &str {
        self.connector.address()
    }
}

/// Reads a URL. The error shows nothing of it: what cannot be read may be a part of the password.
fn config(url: &str) -> Result<Config> {
    for mode in ["require", "verify-ca", "verify-full"] {
        if url.contains(&format!("sslmode={mode}")) {
            bail!(
                "DATABASE_URL requires TLS (sslmode={mode}), which this version does not support; use a local or tunnelled connection"
            );
        }
    }
    // What follows the first @ would be taken for the host, and shown.
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if is_url && url.split('?').next().is_some_and(|servers| servers.matches('@').count() > 1) {
        bail!(
            "DATABASE_URL has more than one @ (its value is not shown, it may hold a password): within the user, the password \
             and the database's name an @ is written %40, a / is %2F, a ? is %3F; for example {EXAMPLE}"
        );
    }
    url.parse().map_err(|error: tokio_postgres::Error| {
        let reason = error.source().map(ToString::to_string).filter(|reason| reason.starts_with("invalid value"));
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        anyhow!("DATABASE_URL is not valid (its value is not shown, it may hold a password){reason}; for example {EXAMPLE}")
    })
}

/// The identity of a database: the system identifier of its PostgreSQL cluster and its name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_of_a_url_is_not_shown() {
        for (url, reason) in [
            ("postgres://postgres:S3cr@t-part@127.0.0.1:9432/a", "an @ is written %40"),
            ("postgres://postgres:a@S3cret/x@127.0.0.1:9432/a", "a / is %2F"),
            ("postgres://postgres:password@127.0.0.1/a?sslmode=verify-full", "sslmode=verify-full"),
            ("postgres://postgres:password@127.0.0.1/a?sslmode=require", "sslmode=require"),
            ("postgres://postgres:password@127.0.0.1/a?sslmode=safe", "invalid value for option `sslmode`"),
            ("host=127.0.0.1 dbname=a password=x S3cret=1", "is not valid"),
            ("postgres://u:p@127.0.0.1:S3cret/a", "invalid value for option `port`"),
        ] {
            let error = format!("{:#}", config(url).unwrap_err());
            assert!(
                error.contains(reason) && !error.contains("S3cr") && !error.contains("t-part"),
                "{url}: {error}"
            );
        }
        let config = config("postgres://us%40er:p%40ss%2F@127.0.0.1:9432/a?application_name=a@b").unwrap();
        assert_eq!((config.get_user(), config.get_password()), (Some("us@er"), Some(&b"p@ss/"[..])));
    }
}
