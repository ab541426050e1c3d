//! The watchdog of a link.

use crate::metrics::{nats_closed, nats_opened};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Signs of life of one link.
pub(super) struct Pulse {
    started: Instant,
    lost: AtomicBool,
    /// Counted as a connection.
    open: AtomicBool,
    /// Milliseconds after `started` at which the call in work began, plus one; 0 while none is.
    busy_since_ms: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Pulse {
        Pulse {
            started: Instant::now(),
            lost: AtomicBool::new(false),
            open: AtomicBool::new(false),
            busy_since_ms: AtomicU64::new(0),
        }
    }

    /// Why the link cannot be used, if it cannot.
    pub(super) fn trouble(&self, deadline: Duration) -> Option<String> {
        if self.lost.load(Ordering::Acquire) {
            return Some("was lost".to_owned());
        }
        let since = self.busy_since_ms.load(Ordering::Acquire);
        let busy_ms = self.now_ms().saturating_sub(since);
        (since > 0 && u128::from(busy_ms) > deadline.as_millis())
            .then(|| format!("has not answered for {busy_ms} ms"))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    pub(super) fn begin(&self) {
        self.busy_since_ms.store(self.now_ms(), Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.busy_since_ms.store(0, Ordering::Release);
    }

    /// The link is connected: it counts as a connection until it is lost or closed, however late its owner looks.
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Release);
        nats_opened();
    }

    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.close();
    }

    /// The link has ended.
    pub(super) fn close(&self) {
        if self.open.swap(false, Ordering::AcqRel) {
            nats_closed();
        }
    }
}
