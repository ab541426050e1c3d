//! Confirms: how far the target is, sent to the publisher after each commit and once a second.

use crate::figures;
use crate::sampling::Sampled;
use inbox_processor::rules::ways::is_idle;
use parking_lot::Mutex;
use shared::broker::Connection;
use shared::broker::jetstream::Nodes;
use shared::retry::Complaint;
use shared::status::Board;
use shared::supervisor::ThreadContext;
use shared::wire::{
    CONFIRM_INTERVAL, Confirm, FORMAT, Held, Position, Refusal, Status, TargetFigures, TickRef, formats_read,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A refusal is repeated at least once a minute: a publisher that refuses this target ends, and is restarted.
const REFUSED_FOR: Duration = Duration::from_secs(120);

/// How far the target is, as committed.
#[derive(Clone, Debug)]
pub(crate) struct TargetStatus {
    /// The target's identity.
    pub(crate) target: String,
    pub(crate) source: Option<String>,
    pub(crate) received: Option<Position>,
    pub(crate) applied: Option<TickRef>,
    /// What arrived last does not follow `received`. Reported until something does, since a confirm may
    /// be lost.
    pub(crate) gap: bool,
}

/// Sends confirms. Shared by all threads, which report here what a confirm contains.
pub(crate) struct ConfirmSender {
    subject: String,
    incarnation: Uuid,
    /// The term of this process as the one processor of the target.
    term: AtomicI64,
    counter: AtomicU64,
    connection: Mutex<Option<Arc<Connection>>>,
    /// None while this process is not the one processor of the target.
    status: Mutex<Option<TargetStatus>>,
    /// Why the source refuses this target, and when it said so.
    refused: Mutex<Option<(String, Instant)>>,
    complaint: Mutex<Complaint>,
    /// Apply is blocked: pulling is paused.
    blocked: AtomicBool,
    /// Why.
    held: Mutex<Option<Held>>,
    /// As they were counted last.
    stream_nodes: Mutex<Option<Nodes>>,
    /// The last pull came back empty, and the next one is under way.
    drained: AtomicBool,
    /// Messages pulled and not yet committed.
    in_work: AtomicU64,
    /// Events that were committed since the process started.
    events: AtomicU64,
    /// Since when a tick is applied that no confirm was sent of.
    unconfirmed_since: Mutex<Option<Instant>>,
}

impl ConfirmSender {
    pub(crate) fn new(subject: String) -> ConfirmSender {
        ConfirmSender {
            subject,
            incarnation: Uuid::new_v4(),
            term: AtomicI64::new(0),
            counter: AtomicU64::new(0),
            connection: Mutex::new(None),
            status: Mutex::new(None),
            refused: Mutex::new(None),
            complaint: Mutex::default(),
            blocked: AtomicBool::new(false),
            held: Mutex::default(),
            stream_nodes: Mutex::default(),
            drained: AtomicBool::new(false),
            in_work: AtomicU64::new(0),
            events: AtomicU64::new(0),
            unconfirmed_since: Mutex::default(),
        }
    }

    /// The connection over which confirms are sent; none while there is none.
    pub(crate) fn set_connection(&self, connection: Option<Arc<Connection>>) {
        *self.connection.lock() = connection;
    }

    /// Call this before the first status of the term.
    pub(crate) fn begin_term(&self, term: i64) {
        self.term.store(term, Ordering::Release);
    }

    pub(crate) fn set_status(&self, status: Option<TargetStatus>) {
        let mut current = self.status.lock();
        if let (Some(before), Some(after)) = (&*current, &status) {
            if before.applied != after.applied {
                self.unconfirmed_since.lock().get_or_insert_with(Instant::now);
            }
            // Whatever the source has refused, it continues.
            if before.received != after.received {
                *self.refused.lock() = None;
            }
        }
        *current = status;
    }

    /// How far this process is, in one line for the service manager.
    pub(crate) fn describe(&self) -> String {
        match &*self.status.lock() {
            None => "standing by".to_owned(),
            Some(TargetStatus { applied: None, .. }) => "nothing applied yet".to_owned(),
            Some(TargetStatus { applied: Some(tick), .. }) => format!("applied tick {}", tick.number),
        }
    }

    /// Takes a refusal, and logs it as an error; false where it is for another target, or of another source.
    pub(crate) fn refuse(&self, refusal: &Refusal) -> bool {
        let Refusal { source, target, reason, .. } = refusal;
        let concerns = |status: &TargetStatus| {
            status.target == *target && status.source.as_ref().is_none_or(|followed| followed == source)
        };
        if !self.status.lock().as_ref().is_some_and(concerns) {
            return false;
        }
        self.complain(&format!("the source {source} refuses this target: {reason}"));
        *self.refused.lock() = Some((reason.clone(), Instant::now()));
        true
    }

    /// Logs an error about what comes from the source; of many, a few.
    pub(crate) fn complain(&self, trouble: &str) {
        if let Some(line) = self.complaint.lock().due(trouble) {
            log::error!("{line}");
        }
    }

    /// Why the source refuses this target, if it has said so lately.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused
            .lock()
            .as_ref()
            .filter(|(_, said_at)| said_at.elapsed() < REFUSED_FOR)
            .map(|(reason, _)| reason.clone())
    }

    /// The last tick that is received in full, and the last that is applied; none while this process does not lead.
    pub(crate) fn ticks(&self) -> Option<(i64, i64)> {
        let status = self.status.lock();
        let TargetStatus { received, applied, .. } = status.as_ref()?;
        Some((
            received.as_ref().map_or(0, Position::last_complete_tick),
            applied.map_or(0, |applied| applied.number),
        ))
    }

    /// How long a tick is applied that no confirm was sent of; none while this process does not lead.
    pub(crate) fn unconfirmed_seconds(&self) -> Option<f64> {
        let since = *self.unconfirmed_since.lock();
        self.is_leading().then(|| since.map_or(0.0, |since| since.elapsed().as_secs_f64()))
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.status.lock().is_some()
    }

    /// Whether apply is blocked, and why.
    pub(crate) fn set_blocked(&self, held: Option<Held>) {
        self.blocked.store(held.is_some(), Ordering::Release);
        *self.held.lock() = held;
    }

    pub(crate) fn set_stream_nodes(&self, nodes: Option<Nodes>) {
        *self.stream_nodes.lock() = nodes;
    }

    /// The nodes that keep the stream; none where that is not known.
    pub(crate) fn stream_nodes(&self) -> Option<Nodes> {
        *self.stream_nodes.lock()
    }

    /// Why apply is blocked, if it is.
    pub(crate) fn held(&self) -> Option<Held> {
        self.held.lock().clone()
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    pub(crate) fn pulled(&self) {
        self.drained.store(false, Ordering::Release);
        self.in_work.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn committed(&self, messages: usize, events: usize) {
        self.events.fetch_add(events as u64, Ordering::Relaxed);
        self.in_work.fetch_sub(messages as u64, Ordering::AcqRel);
    }

    /// Messages pulled and not yet committed.
    pub(crate) fn in_work(&self) -> u64 {
        self.in_work.load(Ordering::Acquire)
    }

    pub(crate) fn drained(&self) {
        self.drained.store(true, Ordering::Release);
    }

    /// Nothing is known of what comes into the stream until a pull comes back empty.
    pub(crate) fn stops_pulling(&self) {
        self.drained.store(false, Ordering::Release);
    }

    fn is_idle(&self) -> bool {
        is_idle(self.drained.load(Ordering::Acquire), self.in_work(), self.is_blocked())
    }

    /// Publishes a confirm where there is a status and a connection. If it is lost, the next one replaces it.
    pub(crate) fn confirm(&self) {
        self.confirm_with(None, None);
    }

    /// The same, with how the service is, and what it knows of the target.
    fn report(&self, status: Status, figures: Option<TargetFigures>) {
        self.confirm_with(Some(status), figures);
    }

    fn confirm_with(&self, report: Option<Status>, figures: Option<TargetFigures>) {
        let Some(status) = self.status.lock().clone() else { return };
        let Some(connection) = self.connection.lock().clone() else { return };
        let confirm = Confirm {
            format: FORMAT,
            target: status.target,
            incarnation: self.incarnation,
            term: self.term.load(Ordering::Acquire),
            counter: self.counter.fetch_add(1, Ordering::AcqRel) + 1,
            source: status.source,
            received: status.received,
            applied: status.applied,
            gap: status.gap,
            idle: self.is_idle(),
            reads: formats_read(),
            status: report,
            figures,
        };
        let sent =
            confirm.encode().and_then(|payload| connection.publish_signed(&self.subject, None, payload));
        match sent {
            Ok(()) => *self.unconfirmed_since.lock() = None,
            Err(error) => log::debug!("confirm not sent: {error:#}"),
        }
    }
}

/// Confirms once a second until a stop is requested, and notes the same on the board.
pub(crate) fn heartbeat(
    context: &ThreadContext,
    confirm_sender: &ConfirmSender,
    sampled: &Sampled,
    board: &Board,
) {
    context.healthy();
    while !context.stop().wait(CONFIRM_INTERVAL) {
        let events = confirm_sender.events.load(Ordering::Relaxed);
        let status = Status::of_this_version(context.service_trouble().as_deref(), events);
        let known = figures::of(confirm_sender, sampled);
        if let Some((figures, looked_at)) = known.clone() {
            board.note_target(&status, Some(figures), looked_at);
        }
        confirm_sender.report(status, known.map(|(figures, _)| figures));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_idle_only_while_it_pulls_and_nothing_comes() {
        let sender = ConfirmSender::new("confirm".to_owned());
        assert!(!sender.is_idle());
        sender.drained();
        assert!(sender.is_idle());
        sender.pulled();
        sender.committed(1, 1);
        assert!(!sender.is_idle(), "more may come");
        sender.drained();
        sender.stops_pulling();
        assert!(!sender.is_idle(), "whatever came meanwhile");
    }
}
