//! Holds the publisher's lock and takes ticks: at once when there are events, bounded per second, and also
//! while publishing is blocked, so that an outage leaves many small ticks and not one huge one.

mod sleep;

use crate::leadership::{Leadership, Term};
use crate::outbox::progress::{self, TermStart};
use crate::outbox::ticks::TickTaker;
use anyhow::Result;
use crossbeam_channel::Sender;
use postgres::Client;
use shared::database::{Database, make_commits_durable};
use shared::leadership::{Role, wait_for_role};
use shared::schema::{Side, migrate, require_served};
use shared::supervisor::ThreadContext;
use sleep::Sleep;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// With more unpublished ticks than these, the next one waits for one of them to be published: it is larger
/// then, and costs less for each of its events.
const UNPUBLISHED_TICKS_MAX: i64 = 3;
/// But no longer than this: an outage leaves many small ticks and not one huge one.
const TICK_INTERVAL_MAX: Duration = Duration::from_millis(100);
/// How often a waiting tick checks whether one was published.
const PUBLISHED_CHECK: Duration = Duration::from_micros(500);
/// After a pause as long as this, more than one tick may be due.
const LONG_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Ticker {
    database: Database,
    poll_interval: Duration,
    leadership: Arc<Leadership>,
    new_tick: Sender<()>,
}

impl Ticker {
    pub(crate) fn new(
        database: Database,
        poll_interval: Duration,
        leadership: Arc<Leadership>,
        new_tick: Sender<()>,
    ) -> Ticker {
        Ticker { database, poll_interval, leadership, new_tick }
    }

    pub(crate) fn run(&self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("take ticks", || self.session(context))
    }

    fn session(&self, context: &ThreadContext) -> Result<()> {
        let mut client = self.database.session()?;
        require_served(&mut client, Side::Source)?;
        make_commits_durable(&mut client)?;
        if !wait_for_role(&mut client, Role::Publisher, context)? {
            return Ok(());
        }
        // Not before: an older publisher may have led until now.
        migrate(&mut client, Side::Source)?;
        let start = progress::begin_term(&mut client)?;
        let mut taker = TickTaker::new(&mut client)?;
        self.log_term(&start, &taker);
        let leading = self.leadership.begin(&start);
        context.healthy();
        self.take_ticks(&mut client, &mut taker, leading.term(), context)
    }

    fn log_term(&self, start: &TermStart, taker: &TickTaker) {
        log::info!(
            tick = taker.last_tick();
            "this is the publisher of {}: last tick {}, published {}, confirmed {}",
            self.database.address(),
            taker.last_tick(),
            start.progress.published_tick,
            start.progress.confirmed_tick
        );
        if start.timeline != start.matched_timeline {
            log::warn!(
                "the source is on timeline {}, and was on {}: a standby was promoted, or a backup restored. Nothing is \
                 published until the target confirms a tick of this history and has nothing more to receive",
                start.timeline,
                start.matched_timeline
            );
        }
    }

    fn take_ticks(
        &self,
        client: &mut Client,
        taker: &mut TickTaker,
        term: &Term,
        context: &ThreadContext,
    ) -> Result<()> {
        let mut sleep = Sleep::new(client, self.poll_interval)?;
        let mut looked = None;
        while !context.stop().requested() {
            let begun = Instant::now();
            if looked.is_none_or(|looked| begun.duration_since(looked) >= LONG_PAUSE) {
                taker.take_recorded(client, |last_tick| self.taken(term, last_tick, begun))?;
            }
            looked = Some(Instant::now());
            if taker.take(client)? {
                self.taken(term, taker.last_tick(), begun);
                sleep.work_was_found(client)?;
                wait_for_turn(taker, begun, term, context);
            } else {
                sleep.pause(client, context)?;
            }
        }
        Ok(())
    }

    /// Ticks up to `last_tick` are durable.
    fn taken(&self, term: &Term, last_tick: i64, begun: Instant) {
        term.pacing().tick_taken(last_tick, begun);
        shared::kill_point::reached("tick_stored");
        // A full channel already holds the news.
        let _ = self.new_tick.try_send(());
    }
}

/// Waits until the next tick may be taken after the one that was taken at `begun`.
fn wait_for_turn(taker: &TickTaker, begun: Instant, term: &Term, context: &ThreadContext) {
    context.stop().wait(term.pacing().interval().saturating_sub(begun.elapsed()));
    while taker.last_tick() - term.progress().published_tick > UNPUBLISHED_TICKS_MAX
        && begun.elapsed() < TICK_INTERVAL_MAX
        && !context.stop().wait(PUBLISHED_CHECK)
    {}
}
