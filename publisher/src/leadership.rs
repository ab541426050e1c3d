//! Who leads, and until when.
//!
//! A term begins when this process becomes the one publisher of its source, and ends with the session that
//! holds the publisher's lock. The next term may be on another server: a standby that was promoted behind
//! the same address. So nothing that was connected or learned in a term outlives it. A session asks whether
//! *its* term is over, never whether this process leads: it may have lost the lock and regained it since it
//! last asked.

use crate::cursor::{Cursor, Epoch, Place};
use crate::outbox::TermStart;
use crate::pacing::Pacing;
use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use parking_lot::Mutex;
use postgres::Client;
use shared::database::{Database, Pooled};
use shared::supervisor::{Stop, ThreadContext};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// How often a thread without a term checks whether one has begun.
const TERM_CHECK: Duration = Duration::from_millis(20);

/// The terms of this process. The ticker begins and ends them.
pub(crate) struct Leadership {
    database: Database,
    wake_marks: Sender<()>,
    current: Mutex<Option<Term>>,
}

impl Leadership {
    /// No term yet. `wake_marks` is told when the marks of a term have moved.
    pub(crate) fn new(database: Database, wake_marks: Sender<()>) -> Leadership {
        Leadership { database, wake_marks, current: Mutex::new(None) }
    }

    /// Begins a term where the last publisher stopped. It ends when what is returned is dropped.
    pub(crate) fn begin(&self, start: &TermStart) -> Leading<'_> {
        let (sender, ended) = bounded(0);
        let term = Term(Arc::new(Inner {
            number: start.number,
            ended,
            database: Mutex::new(Some(self.database.with_own_pool())),
            cursor: Cursor::new(Place::start_of(start.marks.published_tick + 1)),
            pacing: Pacing::default(),
            published_tick: AtomicI64::new(start.marks.published_tick),
            confirmed_tick: AtomicI64::new(start.marks.confirmed_tick),
            matched_timeline: AtomicI64::new(start.matched_timeline),
            wake_marks: self.wake_marks.clone(),
        }));
        *self.current.lock() = Some(term.clone());
        Leading { leadership: self, term, ended: Some(sender) }
    }

    /// The term in which this process leads, if it does.
    pub(crate) fn current(&self) -> Option<Term> {
        self.current.lock().clone()
    }

    /// Runs `session` in each term until a stop is requested, again after each temporary failure, as
    /// [`ThreadContext::keep_trying`] does. Without a term the thread is healthy.
    ///
    /// A session that fails after its term has ended proves nothing, whatever the error: the next term
    /// decides.
    pub(crate) fn in_each_term(
        &self,
        context: &ThreadContext,
        what: &str,
        mut session: impl FnMut(&Term) -> Result<()>,
    ) -> Result<()> {
        context.keep_trying(what, || {
            let Some(term) = self.wait_for_term(context) else { return Ok(()) };
            let ended = session(&term);
            match ended {
                Err(error) if term.is_over() => {
                    log::debug!("{what}: in a term that is over: {error:#}");
                    Ok(())
                }
                ended => ended,
            }
        })
    }

    /// None when a stop is requested instead.
    fn wait_for_term(&self, context: &ThreadContext) -> Option<Term> {
        loop {
            let term = self.current();
            if term.is_some() {
                return term;
            }
            context.healthy();
            if context.stop().wait(TERM_CHECK) {
                return None;
            }
        }
    }
}

/// This process leads for as long as this exists.
pub(crate) struct Leading<'a> {
    leadership: &'a Leadership,
    term: Term,
    ended: Option<Sender<Infallible>>,
}

impl Leading<'_> {
    pub(crate) fn term(&self) -> &Term {
        &self.term
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.ended = None;
        *self.leadership.current.lock() = None;
        *self.term.0.database.lock() = None;
    }
}

/// One term: its connections, and all that is true in it and perhaps not in the next one.
#[derive(Clone)]
pub(crate) struct Term(Arc<Inner>);

struct Inner {
    number: i64,
    /// Disconnected when the term ends; carries nothing.
    ended: Receiver<Infallible>,
    /// None when the term is over. Its pool is the term's own: a connection of an earlier term may be to
    /// another server.
    database: Mutex<Option<Database>>,
    /// The next event to publish.
    cursor: Cursor,
    pacing: Pacing,
    /// The last tick of which every batch is acknowledged. Written by the publishing step.
    published_tick: AtomicI64,
    /// The last tick that the target has committed. Written by the confirm listener.
    confirmed_tick: AtomicI64,
    /// The timeline on which the target's history is known to be this one. Written by the confirm listener.
    matched_timeline: AtomicI64,
    wake_marks: Sender<()>,
}

/// The marks that are kept in the source's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) published_tick: i64,
    pub(crate) confirmed_tick: i64,
}

impl Term {
    /// The number under which the source knows this term. Not unique: a standby that lost the beginning of a
    /// term gives its number again.
    pub(crate) fn number(&self) -> i64 {
        self.0.number
    }

    /// Whether the term is over; once it is, it stays so.
    pub(crate) fn is_over(&self) -> bool {
        self.0.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Whether a session of this term goes on: neither is the term over, nor a stop requested.
    pub(crate) fn continues(&self, stop: &Stop) -> bool {
        !self.is_over() && !stop.requested()
    }

    /// Waits up to `duration`, and no longer than the session of this term may go on.
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
        self.database()?.patient_session(times)
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

    /// Everything before `place` is acknowledged by the stream, unless the cursor was turned since
    /// `epoch`.
    pub(crate) fn acknowledge(&self, epoch: Epoch, place: Place) {
        let whole_tick = place.tick - 1;
        if self.0.cursor.acknowledge(epoch, place)
            && self.0.published_tick.fetch_max(whole_tick, Ordering::AcqRel) < whole_tick
        {
            self.0.pacing.tick_published(whole_tick);
            self.wake_marks();
        }
    }

    /// The target has committed everything up to `tick`.
    pub(crate) fn confirm(&self, tick: i64) {
        if self.0.confirmed_tick.swap(tick, Ordering::AcqRel) != tick {
            self.wake_marks();
        }
    }

    pub(crate) fn marks(&self) -> Marks {
        Marks {
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

    fn wake_marks(&self) {
        // A full channel already holds the wish.
        let _ = self.0.wake_marks.try_send(());
    }
}
