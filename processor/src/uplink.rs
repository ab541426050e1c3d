//! What the target says about itself: confirms, after each commit and once a second.

use parking_lot::Mutex;
use shared::broker::Connection;
use shared::supervisor::ThreadContext;
use shared::wire::{CONFIRM_INTERVAL, Confirm, FORMAT, Position, Refusal, TickRef};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A publisher that refuses this target ends, is started again at least once a minute, and says it again.
const REFUSED_FOR: Duration = Duration::from_secs(120);

/// Where the target stands, as committed.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The target's identity.
    pub(crate) target: String,
    pub(crate) source: Option<String>,
    pub(crate) received: Option<Position>,
    pub(crate) applied: Option<TickRef>,
    /// What arrived last does not follow `received`; said until something does, since a confirm may
    /// be lost.
    pub(crate) gap: bool,
}

/// Shared by all threads: the way to the publisher, and the facts that a confirm is made of.
pub(crate) struct Uplink {
    subject: String,
    incarnation: Uuid,
    /// Of this process as the one processor of the target.
    term: AtomicI64,
    counter: AtomicU64,
    connection: Mutex<Option<Arc<Connection>>>,
    /// None while this process is not the one processor of the target.
    standing: Mutex<Option<Standing>>,
    /// Why the source does not go on with this target, and when it said so.
    refused: Mutex<Option<(String, Instant)>>,
    /// The target holds an event: nothing more is pulled.
    held: AtomicBool,
    /// The last pull came back empty.
    drained: AtomicBool,
    /// Messages pulled and not yet settled.
    in_work: AtomicU64,
}

impl Uplink {
    pub(crate) fn new(subject: String) -> Uplink {
        Uplink {
            subject,
            incarnation: Uuid::new_v4(),
            term: AtomicI64::new(0),
            counter: AtomicU64::new(0),
            connection: Mutex::new(None),
            standing: Mutex::new(None),
            refused: Mutex::new(None),
            held: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            in_work: AtomicU64::new(0),
        }
    }

    /// The connection over which confirms go; none while there is none.
    pub(crate) fn set_connection(&self, connection: Option<Arc<Connection>>) {
        *self.connection.lock() = connection;
    }

    /// To be called before the first standing of the term.
    pub(crate) fn begin_term(&self, term: i64) {
        self.term.store(term, Ordering::Release);
    }

    pub(crate) fn set_standing(&self, standing: Option<Standing>) {
        let mut current = self.standing.lock();
        if let (Some(before), Some(after)) = (&*current, &standing) {
            // Whatever the source said, it goes on.
            if before.received != after.received {
                *self.refused.lock() = None;
            }
        }
        *current = standing;
    }

    /// Takes what the source says of this target, loudly; false where another one is meant.
    pub(crate) fn refuse(&self, refusal: &Refusal) -> bool {
        let Refusal { source, target, reason, .. } = refusal;
        if self.standing.lock().as_ref().is_none_or(|standing| standing.target != *target) {
            return false;
        }
        log::error!("the source {source} does not go on with this target: {reason}");
        *self.refused.lock() = Some((reason.clone(), Instant::now()));
        true
    }

    /// Why the source does not go on with this target, if it said so lately.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused
            .lock()
            .as_ref()
            .filter(|(_, said_at)| said_at.elapsed() < REFUSED_FOR)
            .map(|(reason, _)| reason.clone())
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.standing.lock().is_some()
    }

    pub(crate) fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    pub(crate) fn pulled(&self) {
        self.drained.store(false, Ordering::Release);
        self.in_work.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn settled(&self, messages: usize) {
        self.in_work.fetch_sub(messages as u64, Ordering::AcqRel);
    }

    /// Messages pulled and not yet settled.
    pub(crate) fn in_work(&self) -> u64 {
        self.in_work.load(Ordering::Acquire)
    }

    pub(crate) fn drained(&self) {
        self.drained.store(true, Ordering::Release);
    }

    /// Publishes a confirm where there is something to say and a connection to say it over. A lost
    /// one is made up for by the next.
    pub(crate) fn confirm(&self) {
        let Some(standing) = self.standing.lock().clone() else { return };
        let Some(connection) = self.connection.lock().clone() else { return };
        let idle = self.drained.load(Ordering::Acquire) && self.in_work() == 0 && !self.is_held();
        let confirm = Confirm {
            format: FORMAT,
            target: standing.target,
            incarnation: self.incarnation,
            term: self.term.load(Ordering::Acquire),
            counter: self.counter.fetch_add(1, Ordering::AcqRel) + 1,
            source: standing.source,
            received: standing.received,
            applied: standing.applied,
            gap: standing.gap,
            idle,
        };
        let sent = confirm.encode().and_then(|payload| connection.publish(&self.subject, None, payload));
        if let Err(error) = sent {
            log::debug!("confirm not sent: {error:#}");
        }
    }
}

/// Confirms once a second until a stop is requested.
pub(crate) fn heartbeat(context: &ThreadContext, uplink: &Uplink) {
    context.healthy();
    while !context.stop().wait(CONFIRM_INTERVAL) {
        uplink.confirm();
    }
}
