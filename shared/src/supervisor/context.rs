//! What a thread knows of its surroundings.

use super::health::Health;
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use std::convert::Infallible;
use std::time::Duration;

/// The request to stop, as the threads see it.
#[derive(Clone)]
pub struct Stop(pub(super) Receiver<Infallible>);

impl Stop {
    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits up to `duration`; returns true as soon as a stop is requested.
    pub fn wait(&self, duration: Duration) -> bool {
        self.0.recv_timeout(duration) == Err(RecvTimeoutError::Disconnected)
    }

    /// For `select!`: becomes ready when a stop is requested, and never carries anything.
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.0
    }
}

/// The name of a thread, its request to stop, and where it reports its health. A clone is the same thread's.
#[derive(Clone)]
pub struct ThreadContext {
    name: String,
    stop: Stop,
    health: Health,
}

impl ThreadContext {
    pub(super) fn new(name: &str, stop: Stop, health: Health) -> ThreadContext {
        ThreadContext { name: name.to_owned(), stop, health }
    }

    /// The request to stop.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Reports that this thread does its work.
    pub fn healthy(&self) {
        self.health.set(&self.name, None);
    }

    /// Takes back what this thread has reported, until it reports again: what is not known is not well.
    pub fn starting(&self) {
        self.unhealthy("starting");
    }

    /// Reports why this thread cannot do its work now.
    pub fn unhealthy(&self, trouble: &str) {
        self.health.set(&self.name, Some(trouble));
    }

    /// Reports what is as it should be, and worth to be said of it: what an operator has paused.
    pub fn note(&self, note: Option<&str>) {
        self.health.note(&self.name, note);
    }

    /// What is wrong with the threads of this service; none while it is healthy.
    pub fn service_trouble(&self) -> Option<String> {
        self.health.trouble()
    }

    /// What this thread reported last.
    pub(super) fn is_healthy(&self) -> bool {
        self.health.is_ok(&self.name)
    }
}
