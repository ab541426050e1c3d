//! A bounded pool of connections for short work: that of `r2d2`, over our own way to connect.
//!
//! `r2d2` connects in threads of its own, retries there without end, and tells a checkout only when its time
//! is up why connecting failed, as text. Here a checkout gets the error itself, at once, and ends when the
//! process stops.

use super::connecting::{Connected, Connector};
use crate::stopping::stopping_for;
use anyhow::{Result, anyhow, bail};
use parking_lot::Mutex;
use postgres::Client;
use r2d2::{CustomizeConnection, ManageConnection, NopErrorHandler, PooledConnection};
use scheduled_thread_pool::{OnPoolDropBehavior, ScheduledThreadPool};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a checkout waits, for a connection that another thread has or for one that is being made.
const CHECKOUT_DEADLINE: Duration = Duration::from_secs(10);
/// A checkout looks this often whether connecting has failed or the process is stopping.
const CHECKOUT_SLICE: Duration = Duration::from_millis(200);
/// `r2d2` retries a failed connection after 0.2 s, then ever later, up to this.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(2500);
/// Threads that connect. Each attempt is bounded, so none of them hangs for longer than that.
const THREADS: usize = 2;

/// The threads of `r2d2`, for all pools of a database. Not the supervisor's: `r2d2` never joins them.
#[derive(Clone)]
pub(super) struct PoolThreads(Arc<ScheduledThreadPool>);

impl PoolThreads {
    pub(super) fn start() -> PoolThreads {
        let threads = ScheduledThreadPool::builder()
            .num_threads(THREADS)
            .thread_name_pattern("postgres-pool-{}")
            .on_drop_behavior(OnPoolDropBehavior::DiscardPendingScheduled)
            .build();
        PoolThreads(Arc::new(threads))
    }
}

#[derive(Clone)]
pub(super) struct Pool {
    connector: Connector,
    failures: Failures,
    connections: r2d2::Pool<Manager>,
}

impl Pool {
    /// Nothing is connected yet.
    pub(super) fn new(connector: Connector, size: u32, threads: &PoolThreads) -> Pool {
        let failures = Failures::default();
        let settings = SessionSettings { connector: connector.clone(), failures: failures.clone() };
        let manager = Manager {
            connector: connector.clone(),
            failures: failures.clone(),
            suspect_before: Mutex::new(Instant::now()),
        };
        let connections = r2d2::Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            .test_on_check_out(true)
            .thread_pool(threads.0.clone())
            // It pauses for half of this at most; nothing else here depends on it.
            .connection_timeout(RETRY_PAUSE_MAX * 2)
            // Who waits for the connection gets the error.
            .error_handler(Box::new(NopErrorHandler))
            .connection_customizer(Box::new(settings))
            .build_unchecked(manager);
        Pool { connector, failures, connections }
    }

    pub(super) fn take(&self) -> Result<Pooled> {
        let begun = Instant::now();
        loop {
            if let Ok(connection) = self.connections.get_timeout(CHECKOUT_SLICE) {
                return Ok(Pooled(connection));
            }
            if let Some(error) = self.failures.take_since(begun) {
                return Err(error.context(self.connector.connecting()));
            }
            if stopping_for().is_some() {
                bail!("a stop is requested");
            }
            if begun.elapsed() > CHECKOUT_DEADLINE {
                return Err(self.none_free());
            }
        }
    }

    fn none_free(&self) -> anyhow::Error {
        let (address, waited) = (self.connector.address(), CHECKOUT_DEADLINE.as_secs());
        if self.connections.state().connections == self.connections.max_size() {
            anyhow!("all connections to {address} have been in use for {waited} s")
        } else {
            anyhow!("no connection to {address} within {waited} s")
        }
    }
}

/// A connection taken from the pool; it goes back when dropped.
pub struct Pooled(PooledConnection<Manager>);

impl Deref for Pooled {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0.client
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.0.client
    }
}

/// What `r2d2` asks of its connections. Called by its threads, except for the check at checkout.
struct Manager {
    connector: Connector,
    failures: Failures,
    /// Connections made before are not used again.
    suspect_before: Mutex<Instant>,
}

impl ManageConnection for Manager {
    type Connection = Connected;
    type Error = Failure;

    fn connect(&self) -> Result<Connected, Failure> {
        self.connector.connect().map_err(|error| self.failures.add(error))
    }

    fn is_valid(&self, connection: &mut Connected) -> Result<(), Failure> {
        if connection.made_at < *self.suspect_before.lock() {
            return Err(Failure("it is older than one that failed".to_owned()));
        }
        connection.check().map_err(|error| {
            // What ended this one most likely ended all, and each would take seconds to say so.
            *self.suspect_before.lock() = Instant::now();
            Failure(error.to_string())
        })
    }

    fn has_broken(&self, connection: &mut Connected) -> bool {
        connection.has_ended()
    }
}

/// Prepares a connection that `r2d2` has made.
#[derive(Debug)]
struct SessionSettings {
    connector: Connector,
    failures: Failures,
}

impl CustomizeConnection<Connected, Failure> for SessionSettings {
    fn on_acquire(&self, connection: &mut Connected) -> Result<(), Failure> {
        self.connector.prepare(&mut connection.client).map_err(|error| self.failures.add(error))
    }
}

/// Why the last connection could not be made.
#[derive(Clone, Debug, Default)]
struct Failures(Arc<Mutex<Option<(Instant, anyhow::Error)>>>);

impl Failures {
    fn add(&self, error: anyhow::Error) -> Failure {
        let failure = Failure(error.to_string());
        *self.0.lock() = Some((Instant::now(), error));
        failure
    }

    fn take_since(&self, begun: Instant) -> Option<anyhow::Error> {
        self.0.lock().take_if(|(at, _)| *at >= begun).map(|(_, error)| error)
    }
}

/// The failure as `r2d2` takes it.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::super::fake_server::{FakeServer, database, nobody_listens};
    use super::*;
    use std::thread::scope;

    #[test]
    fn a_connection_is_used_again() {
        let server = FakeServer::start();
        let database = database(&[server.port()], 2);
        for _ in 0..3 {
            database.connection().unwrap().batch_execute("select 1").unwrap();
        }
        assert_eq!(server.accepted(), 1);
    }

    #[test]
    fn there_are_never_more_connections_than_allowed() {
        let server = FakeServer::start();
        let database = database(&[server.port()], 2);
        scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| database.connection().unwrap().batch_execute("select 1").unwrap());
            }
        });
        assert!(server.accepted() <= 2, "{}", server.accepted());
    }

    #[test]
    fn a_connection_that_is_refused_is_reported_at_once_with_its_error() {
        let database = database(&[nobody_listens()], 2);
        let begun = Instant::now();
        let error = database.connection().err().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(format!("{error:#}").contains("Connection refused"), "{error:#}");
        let cause: Option<&postgres::Error> = error.chain().find_map(|cause| cause.downcast_ref());
        assert!(cause.is_some(), "{error:?}");
    }

    #[test]
    fn a_pool_of_its_own_uses_no_connection_that_was_made_before() {
        let server = FakeServer::start();
        let database = database(&[server.port()], 1);
        drop(database.connection().unwrap());
        let own = database.with_own_pool();
        drop(own.connection().unwrap());
        drop(own);
        drop(database.connection().unwrap());
        assert_eq!(server.accepted(), 2);
    }

    #[test]
    fn once_a_connection_has_ended_no_other_idle_one_is_asked() {
        let server = FakeServer::start();
        let database = database(&[server.port()], 3);
        let taken = [database.connection().unwrap(), database.connection().unwrap()];
        drop(taken);
        assert_eq!(server.accepted(), 2);
        server.close(1);
        database.connection().unwrap().batch_execute("select 1").unwrap();
        assert_eq!(server.accepted(), 3);
    }
}
