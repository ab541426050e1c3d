//! A bounded pool of connections for short work. No thread of its own: who takes a connection makes
//! it where none is idle, and gets the error at once.

use super::connecting::Connector;
use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use postgres::Client;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for a connection that another thread has.
const FREE_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Pool {
    connector: Connector,
    idle: Arc<Mutex<Vec<Client>>>,
    /// As many as there may be connections.
    permits: Receiver<Permit>,
    returned: Sender<Permit>,
}

struct Permit;

impl Pool {
    pub(super) fn new(connector: Connector, connections: u32) -> Pool {
        let (returned, permits) = bounded(connections as usize);
        for _ in 0..connections {
            // There is room for all.
            let _ = returned.try_send(Permit);
        }
        Pool { connector, idle: Arc::default(), permits, returned }
    }

    pub(super) fn take(&self) -> Result<Pooled> {
        let permit = self
            .permits
            .recv_timeout(FREE_DEADLINE)
            .with_context(|| format!("all connections to {} are in use", self.connector.address()))?;
        // From here on a failure gives the permit back.
        let mut pooled = Pooled { client: None, permit: Some(permit), pool: self.clone() };
        pooled.client = Some(match self.take_idle() {
            Some(client) => client,
            None => self.connector.connect()?,
        });
        Ok(pooled)
    }

    fn take_idle(&self) -> Option<Client> {
        let mut client = self.idle.lock().pop()?;
        if client.batch_execute("").is_ok() {
            return Some(client);
        }
        // What ended this one most likely ended all.
        let gone = std::mem::take(&mut *self.idle.lock());
        drop(gone);
        None
    }
}

/// A connection taken from the pool; it goes back when dropped.
pub struct Pooled {
    client: Option<Client>,
    permit: Option<Permit>,
    pool: Pool,
}

impl Deref for Pooled {
    type Target = Client;

    fn deref(&self) -> &Client {
        match &self.client {
            Some(client) => client,
            None => unreachable!("a connection that was handed out is there until it is dropped"),
        }
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Client {
        match &mut self.client {
            Some(client) => client,
            None => unreachable!("a connection that was handed out is there until it is dropped"),
        }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(client) = self.client.take().filter(|client| !client.is_closed()) {
            self.pool.idle.lock().push(client);
        }
        if let Some(permit) = self.permit.take() {
            // There is room for all.
            let _ = self.pool.returned.try_send(permit);
        }
    }
}
