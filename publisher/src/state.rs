//! What the threads of the publisher know of each other.

use crate::cursor::{Cursor, Epoch, Place};
use crate::outbox::Term;
use crossbeam_channel::Sender;
use parking_lot::Mutex;
use shared::supervisor::Stop;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The smallest `max_payload` that servers are commonly run with; holds until one has told its own.
const DEFAULT_MAX_PAYLOAD: usize = 1024 * 1024;

/// One tick counts no more than this for the time that ticks take to be published.
const TIME_TO_PUBLISH_MAX: Duration = Duration::from_millis(500);

/// Shared by all threads; but for the cursor and the tick under way, each field has one writer.
pub(crate) struct State {
    /// The next event to publish.
    pub(crate) cursor: Cursor,
    /// Whether this process holds the publisher's lock of the source. Written by the ticker.
    leading: AtomicBool,
    /// The number of this process's last term as the publisher. Written by the ticker.
    term: AtomicI64,
    /// The last tick of which every batch is acknowledged. Written by the publishing step.
    published_tick: AtomicI64,
    /// The last tick that the target has committed. Written by the confirm listener.
    confirmed_tick: AtomicI64,
    /// The timeline on which the target's history is known to be this one. Written by the ticker when it
    /// begins to lead, then by the confirm listener.
    matched_timeline: AtomicI64,
    /// Bytes that the server takes in one message. Written by the publishing step.
    max_payload: AtomicUsize,
    /// How many events the last tick that was read has. Written by the reader.
    tick_events: AtomicI64,
    /// A tick on its way, and when it was begun. Set by the ticker, taken by the publishing step.
    tick_under_way: Mutex<Option<(i64, Instant)>>,
    /// How long a tick takes from its beginning until it is published, in µs, smoothed. Written by the publishing step.
    time_to_publish_us: AtomicU64,
    marks_wanted: Sender<()>,
}

/// The marks that are kept in the source's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) published_tick: i64,
    pub(crate) confirmed_tick: i64,
}

impl State {
    pub(crate) fn new(marks_wanted: Sender<()>) -> State {
        State {
            cursor: Cursor::new(),
            leading: AtomicBool::new(false),
            term: AtomicI64::new(0),
            published_tick: AtomicI64::new(0),
            confirmed_tick: AtomicI64::new(0),
            matched_timeline: AtomicI64::new(0),
            max_payload: AtomicUsize::new(DEFAULT_MAX_PAYLOAD),
            tick_events: AtomicI64::new(0),
            tick_under_way: Mutex::new(None),
            time_to_publish_us: AtomicU64::new(0),
            marks_wanted,
        }
    }

    /// Begins to lead, from where the last leader left off.
    pub(crate) fn lead(&self, term: &Term) {
        let marks = term.marks;
        self.matched_timeline.store(term.matched_timeline, Ordering::Release);
        self.published_tick.store(marks.published_tick, Ordering::Release);
        self.confirmed_tick.store(marks.confirmed_tick, Ordering::Release);
        self.cursor.turn_to(Place::start_of(marks.published_tick + 1));
        *self.tick_under_way.lock() = None;
        self.term.store(term.number, Ordering::Release);
        self.leading.store(true, Ordering::Release);
    }

    /// Stops leading: the session that held the lock is gone.
    pub(crate) fn step_back(&self) {
        self.leading.store(false, Ordering::Release);
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.leading.load(Ordering::Acquire)
    }

    /// Waits until this process leads; returns false when a stop is requested instead.
    pub(crate) fn wait_to_lead(&self, stop: &Stop) -> bool {
        while !self.is_leading() {
            if stop.wait(Duration::from_millis(20)) {
                return false;
            }
        }
        true
    }

    /// The timeline on which ticks may be published.
    pub(crate) fn matched_timeline(&self) -> i64 {
        self.matched_timeline.load(Ordering::Acquire)
    }

    /// The target's history is the one of this timeline.
    pub(crate) fn match_timeline(&self, timeline: i64) {
        self.matched_timeline.store(timeline, Ordering::Release);
    }

    /// Everything before `place` is acknowledged by the stream, unless the cursor was turned since
    /// `epoch`.
    pub(crate) fn acknowledge(&self, epoch: Epoch, place: Place) {
        let whole_tick = place.tick - 1;
        if self.cursor.acknowledge(epoch, place)
            && self.published_tick.fetch_max(whole_tick, Ordering::AcqRel) < whole_tick
        {
            self.tick_published(whole_tick);
            self.wake_marks();
        }
    }

    /// A tick was taken, begun at `begun`.
    pub(crate) fn tick_taken(&self, tick: i64, begun: Instant) {
        self.tick_under_way.lock().get_or_insert((tick, begun));
    }

    fn tick_published(&self, tick: i64) {
        let mut under_way = self.tick_under_way.lock();
        let Some((_, begun)) = under_way.take_if(|(number, _)| *number <= tick) else { return };
        // An outage says nothing about the time that follows.
        let took = begun.elapsed().min(TIME_TO_PUBLISH_MAX).as_micros();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        let before = self.time_to_publish_us.load(Ordering::Acquire);
        // Smoothed as TCP does its round-trip time.
        self.time_to_publish_us.store(before - before / 8 + took / 8, Ordering::Release);
    }

    /// How long a tick takes lately from its beginning until it is published.
    pub(crate) fn time_to_publish(&self) -> Duration {
        Duration::from_micros(self.time_to_publish_us.load(Ordering::Acquire))
    }

    /// The target has committed everything up to `tick`.
    pub(crate) fn confirm(&self, tick: i64) {
        if self.confirmed_tick.swap(tick, Ordering::AcqRel) != tick {
            self.wake_marks();
        }
    }

    pub(crate) fn marks(&self) -> Marks {
        Marks {
            published_tick: self.published_tick.load(Ordering::Acquire),
            confirmed_tick: self.confirmed_tick.load(Ordering::Acquire),
        }
    }

    pub(crate) fn term(&self) -> i64 {
        self.term.load(Ordering::Acquire)
    }

    pub(crate) fn set_max_payload(&self, bytes: usize) {
        self.max_payload.store(bytes, Ordering::Release);
    }

    pub(crate) fn max_payload(&self) -> usize {
        self.max_payload.load(Ordering::Acquire)
    }

    pub(crate) fn set_tick_events(&self, events: i64) {
        self.tick_events.store(events, Ordering::Release);
    }

    pub(crate) fn tick_events(&self) -> i64 {
        self.tick_events.load(Ordering::Acquire)
    }

    fn wake_marks(&self) {
        // A full channel already holds the wish.
        let _ = self.marks_wanted.try_send(());
    }
}
