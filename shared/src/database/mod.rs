//! Connections to PostgreSQL: a bounded pool for short work, and single sessions for what needs a
//! session of its own (an advisory lock, LISTEN).
//!
//! No call on any of them blocks without a deadline. Connecting has one as a whole. A statement has
//! the server's `statement_timeout`, and since a server that hangs cannot keep that, every connection
//! is [watched](watched) from this side. A client that vanished is noticed by the server, through the
//! settings that each connection brings along.

mod binding;
mod certificates;
mod channel;
mod connecting;
mod conninfo;
mod conversation;
mod endpoints;
#[cfg(test)]
mod fake_server;
mod frames;
mod passfile;
mod pool;
mod security;
mod settings;
mod silence;
mod timeout_factor;
mod watched;

pub(crate) use endpoints::is_another_machine;
pub use pool::Pooled;
pub use timeout_factor::TimeoutFactor;

use crate::config::Environment;
use anyhow::{Context, Result};
use connecting::Connector;
use pool::{Pool, PoolThreads};
use postgres::Client;
use settings::Settings;
use std::time::Duration;

/// A connection whose peer's machine has not answered for so long is closed by ours.
const PEER_GONE_AFTER: Duration = Duration::from_secs(8);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// One database, with the means to connect to it.
#[derive(Clone)]
pub struct Database {
    connector: Connector,
    connections: u32,
    threads: PoolThreads,
    pool: Pool,
}

impl Database {
    /// Reads `DATABASE_URL`, and what libpq's environment variables say besides. Nothing is connected yet; fails where a file
    /// that is named cannot be used.
    ///
    /// `statement_timeout` bounds each statement, `connections` the pool.
    pub fn from_env(
        environment: &Environment,
        service: &str,
        statement_timeout: Duration,
        connections: u32,
    ) -> Result<Database> {
        let mut settings = Settings::read(environment)?;
        settings
            .config
            .application_name(service)
            .tcp_user_timeout(PEER_GONE_AFTER)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(2);
        let connector = Connector::new(settings, statement_timeout);
        if !environment.plain_text_is_accepted()? {
            connector.warn_of_plain_text();
        }
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
