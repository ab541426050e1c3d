//! One term: its connections, and everything that is true in it and may not be in the next one.

use crate::cannot_travel::CannotTravel;
use crate::metrics::Resent;
use crate::outbox::progress::{Progress, TermStart};
use crate::pacing::Pacing;
use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use outbox_publisher::rules::cursor::{Cursor, CursorPosition, Epoch};
use parking_lot::Mutex;
use postgres::Client;
use shared::database::{Database, Pooled};
use shared::supervisor::Stop;
use shared::wire::{OLDEST_FORMAT, Status, common_format};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A term of this process as the publisher.
#[derive(Clone)]
pub(crate) struct Term(Arc<Inner>);

struct Inner {
    number: i64,
    /// That the source wrote when the term began.
    timeline: i64,
    /// Disconnected when the term ends; carries nothing.
    ended: Receiver<Infallible>,
    /// None when the term is over. Its pool is the term's own: a connection of an earlier term may be to
    /// another server.
    database: Mutex<Option<Database>>,
    /// The next event to publish.
    cursor: Cursor,
    pacing: Pacing,
    /// Written by the publishing step.
    published_tick: AtomicI64,
    /// Written by the confirm listener.
    confirmed_tick: AtomicI64,
    /// The last tick that the target has stored in full. Written by the confirm listener.
    received_tick: AtomicI64,
    /// When a confirm of the target counted last. Written by the confirm listener.
    target_heard_at: Mutex<Option<SystemTime>>,
    /// How far events were handed to NATS in this term, and why what comes before is sent again.
    sent: Mutex<(CursorPosition, Resent)>,
    /// What cannot be sent, and holds up what comes later.
    held: Mutex<Option<CannotTravel>>,
    /// The timeline on which the target's history is known to be this one. Written by the confirm listener.
    matched_timeline: AtomicI64,
    /// Events that were read to be sent, since the term began.
    events_read: AtomicU64,
    /// The format of batches that the target reads, too; 0 where there is none. Written by the confirm listener.
    format: AtomicU32,
    /// What the target told of itself last, and is not stored. Written by the confirm listener.
    report: Mutex<Option<(String, Status)>>,
    progress_changed: Sender<()>,
}

impl Term {
    /// Begins a term at `start`; it ends when the sender that is returned is dropped.
    pub(super) fn begin(
        start: &TermStart,
        database: Database,
        progress_changed: Sender<()>,
    ) -> (Term, Sender<Infallible>) {
        let (sender, ended) = bounded(0);
        let term = Term(Arc::new(Inner {
            number: start.number,
            timeline: start.timeline,
            ended,
            database: Mutex::new(Some(database)),
            cursor: Cursor::new(CursorPosition::start_of(start.progress.published_tick + 1)),
            pacing: Pacing::default(),
            published_tick: AtomicI64::new(start.progress.published_tick),
            confirmed_tick: AtomicI64::new(start.progress.confirmed_tick),
            received_tick: AtomicI64::new(start.progress.confirmed_tick),
            target_heard_at: Mutex::default(),
            sent: Mutex::new((CursorPosition::start_of(0), Resent::Unacknowledged)),
            held: Mutex::default(),
            matched_timeline: AtomicI64::new(start.matched_timeline),
            events_read: AtomicU64::new(0),
            format: AtomicU32::new(OLDEST_FORMAT),
            report: Mutex::default(),
            progress_changed,
        }));
        (term, sender)
    }

    /// Gives up the pool: no session begins any more.
    pub(super) fn disconnect(&self) {
        *self.0.database.lock() = None;
    }

    /// The number under which the source knows this term. Not unique: a standby that lost the beginning of a
    /// term gives its number again.
    pub(crate) fn number(&self) -> i64 {
        self.0.number
    }

    /// The timeline that the source wrote when the term began. Number and timeline together are unique.
    pub(crate) fn timeline(&self) -> i64 {
        self.0.timeline
    }

    /// Whether the term is over; once it is, it stays so.
    pub(crate) fn is_over(&self) -> bool {
        self.0.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Whether a session of this term may continue: the term is not over, and no stop is requested.
    pub(crate) fn continues(&self, stop: &Stop) -> bool {
        !self.is_over() && !stop.requested()
    }

    /// Waits up to `duration`, but no longer than a session of this term may continue.
    pub(crate) fn wait(&self, stop: &Stop, duration: Duration) {
        crossbeam_channel::select! {
            recv(stop.receiver()) -> _ => {}
            recv(self.ended()) -> _ => {}
            default(duration) => {}
        }
    }

    /// For `select!`: becomes ready when the term ends, and never carries anything.
    pub(crate) fn ended(&self) -> &Receiver<Infallible> {
        &self.0.ended
    }

    /// A connection of this term's pool; see [`Database::connection`]. An error when the term is over.
    pub(crate) fn connection(&self) -> Result<Pooled> {
        self.database()?.connection()
    }

    /// A session of its own, whose statements may take `times` as long as others; see [`Database::session`].
    /// An error when the term is over.
    pub(crate) fn session(&self, times: u32) -> Result<Client> {
        self.database()?.session_with_timeout_factor(times)
    }

    fn database(&self) -> Result<Database> {
        self.0.database.lock().clone().context("the term is over")
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.0.cursor
    }

    pub(crate) fn pacing(&self) -> &Pacing {
        &self.0.pacing
    }

    /// Everything before `position` is acknowledged by the stream, unless the cursor was turned since
    /// `epoch`.
    pub(crate) fn acknowledge(&self, epoch: Epoch, position: CursorPosition) {
        let whole_tick = position.tick - 1;
        if !self.0.cursor.acknowledge(epoch, position) {
            return;
        }
        self.end_hold(position);
        if self.0.published_tick.fetch_max(whole_tick, Ordering::AcqRel) < whole_tick {
            self.0.pacing.tick_published(whole_tick);
            self.note_progress();
        }
    }

    /// Where the error is that an event cannot be sent, reports that this holds up what comes later.
    pub(crate) fn hold(&self, error: &anyhow::Error) {
        let Some(event) = error.chain().find_map(|cause| cause.downcast_ref::<CannotTravel>()) else {
            return;
        };
        let before = self.0.held.lock().replace(event.clone());
        if before.is_none_or(|before| before.event_id != event.event_id) {
            let (tick, txid) = (event.position.tick, event.txid);
            log::error!(tick, txid, error:% = event; "publishing is held up");
            self.note_progress();
        }
    }

    /// What cannot be sent, and holds up what comes later.
    pub(crate) fn held(&self) -> Option<CannotTravel> {
        self.0.held.lock().clone()
    }

    fn end_hold(&self, acknowledged: CursorPosition) {
        if let Some(event) = self.0.held.lock().take_if(|event| event.position < acknowledged) {
            let (tick, txid) = (event.position.tick, event.txid);
            log::info!(tick, txid; "publishing resumed behind event {}", event.event_id);
            self.note_progress();
        }
    }

    /// The target has committed everything up to `tick`.
    pub(crate) fn confirm(&self, tick: i64) {
        if self.0.confirmed_tick.swap(tick, Ordering::AcqRel) != tick {
            self.note_progress();
        }
    }

    /// The target has stored everything up to `tick`.
    pub(crate) fn receive(&self, tick: i64) {
        self.0.received_tick.store(tick, Ordering::Release);
    }

    /// A confirm of the target has arrived that counts.
    pub(crate) fn hear_target(&self) {
        *self.0.target_heard_at.lock() = Some(SystemTime::now());
    }

    /// When one arrived last; none where none has in this term.
    pub(crate) fn target_heard_at(&self) -> Option<SystemTime> {
        *self.0.target_heard_at.lock()
    }

    /// The last tick that the target has stored in full.
    pub(crate) fn received_tick(&self) -> i64 {
        self.0.received_tick.load(Ordering::Acquire)
    }

    /// Everything before `behind` was handed to NATS. Why that was done again, if it was.
    pub(crate) fn note_sent(&self, behind: CursorPosition) -> Option<Resent> {
        let mut sent = self.0.sent.lock();
        if behind <= sent.0 {
            return Some(sent.1);
        }
        *sent = (behind, Resent::Unacknowledged);
        None
    }

    /// Turns the cursor back, since the target lacks what was acknowledged.
    pub(crate) fn resend_from(&self, position: CursorPosition, reason: Resent) {
        self.0.sent.lock().1 = reason;
        self.0.cursor.turn_to(position);
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            published_tick: self.0.published_tick.load(Ordering::Acquire),
            confirmed_tick: self.0.confirmed_tick.load(Ordering::Acquire),
        }
    }

    /// The timeline on which ticks may be published.
    pub(crate) fn matched_timeline(&self) -> i64 {
        self.0.matched_timeline.load(Ordering::Acquire)
    }

    /// The target's history is the one of this timeline.
    pub(crate) fn match_timeline(&self, timeline: i64) {
        self.0.matched_timeline.store(timeline, Ordering::Release);
    }

    /// The format in which batches are written: the newest that the target reads, too, and the oldest until it has
    /// said what it reads. None where there is no common one.
    pub(crate) fn format(&self) -> Option<u32> {
        Some(self.0.format.load(Ordering::Acquire)).filter(|format| *format != 0)
    }

    /// The target reads batches of these formats.
    pub(crate) fn target_reads(&self, formats: &[u32]) {
        self.0.format.store(common_format(formats).unwrap_or(0), Ordering::Release);
    }

    /// So many more events were read to be sent.
    pub(crate) fn count_read(&self, events: usize) {
        self.0.events_read.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// Events that were read to be sent since the term began; those that were sent again count again.
    pub(crate) fn events_read(&self) -> u64 {
        self.0.events_read.load(Ordering::Relaxed)
    }

    /// What a target tells of itself.
    pub(crate) fn report(&self, target: &str, status: Status) {
        *self.0.report.lock() = Some((target.to_owned(), status));
    }

    /// What the target has told of itself since this was asked last.
    pub(crate) fn take_report(&self) -> Option<(String, Status)> {
        self.0.report.lock().take()
    }

    fn note_progress(&self) {
        // A full channel already holds the news.
        let _ = self.0.progress_changed.try_send(());
    }
}
