//! Holds the publisher's lock and takes ticks: at once when there is work, bounded per second, and
//! also while publishing is blocked, so that an outage leaves many small ticks and not one huge one.

use crate::leadership::{Leadership, Term};
use crate::outbox::{self, TickTaker};
use anyhow::{Context, Result};
use crossbeam_channel::Sender;
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use shared::database::{Database, make_commits_durable};
use shared::leadership::{Role, wait_for_role};
use shared::schema::{Side, migrate};
use shared::supervisor::ThreadContext;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// With more ticks than these on their way, the next one waits for one of them to be published: it is
/// larger then, and costs less for each of its events.
const TICKS_ON_THEIR_WAY: i64 = 3;
/// But no longer than this: an outage leaves many small ticks and not one huge one.
const TICK_INTERVAL_MAX: Duration = Duration::from_millis(100);
/// How often a waiting tick looks whether one was published.
const PUBLISHED_CHECK: Duration = Duration::from_micros(500);
/// The first pause when there is no work; doubled up to `POLL_INTERVAL`.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// After so many looks in a row that found work, no NOTIFY is asked for: at such a rate they would
/// only make commits wait for each other.
const BUSY_LOOKS: u32 = 4;
/// A sleep looks this often whether a stop is requested.
const STOP_CHECK: Duration = Duration::from_millis(250);

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
        migrate(&mut client, Side::Source)?;
        make_commits_durable(&mut client)?;
        if !wait_for_role(&mut client, Role::Publisher, context)? {
            return Ok(());
        }
        let start = outbox::begin_term(&mut client)?;
        let mut taker = TickTaker::new(&mut client)?;
        log::info!(
            "this is the publisher of {}: last tick {}, published {}, confirmed {}",
            self.database.address(),
            taker.last_tick(),
            start.marks.published_tick,
            start.marks.confirmed_tick
        );
        if start.timeline != start.matched_timeline {
            log::warn!(
                "the source is on timeline {}, and was on {}: a standby was promoted, or a backup restored. Nothing is \
                 published until the target confirms a tick of this history and has nothing more to receive",
                start.timeline,
                start.matched_timeline
            );
        }
        let leading = self.leadership.begin(&start);
        context.healthy();
        self.take_ticks(&mut client, &mut taker, leading.term(), context)
    }

    fn take_ticks(
        &self,
        client: &mut Client,
        taker: &mut TickTaker,
        term: &Term,
        context: &ThreadContext,
    ) -> Result<()> {
        let mut sleep = Sleep::new(client, self.poll_interval)?;
        while !context.stop().requested() {
            let begun = Instant::now();
            if taker.take(client)? {
                term.pacing().tick_taken(taker.last_tick(), begun);
                shared::kill_point::reached("tick_stored");
                // A full channel already holds the news.
                let _ = self.new_tick.try_send(());
                sleep.work_was_found(client)?;
                wait_for_turn(taker, begun, term, context);
            } else {
                sleep.pause(client, context)?;
            }
        }
        Ok(())
    }
}

/// Waits until the next tick may be taken after the one that was taken at `begun`.
fn wait_for_turn(taker: &TickTaker, begun: Instant, term: &Term, context: &ThreadContext) {
    context.stop().wait(term.pacing().interval().saturating_sub(begun.elapsed()));
    while taker.last_tick() - term.marks().published_tick > TICKS_ON_THEIR_WAY
        && begun.elapsed() < TICK_INTERVAL_MAX
        && !context.stop().wait(PUBLISHED_CHECK)
    {}
}

/// The pauses while there is no work.
///
/// A capture notifies only while the flag is up. A transaction that captured before the flag went up
/// and commits after the last look slips through: hence pauses are short at first, and grow.
struct Sleep {
    poll_interval: Duration,
    pause: Duration,
    /// Looks in a row that found work.
    busy: u32,
    can_listen: bool,
    flag_is_up: bool,
}

impl Sleep {
    fn new(client: &mut Client, poll_interval: Duration) -> Result<Sleep> {
        let can_listen = outbox::listen(client)?;
        // Whatever the last publisher left.
        outbox::want_wake(client, false)?;
        Ok(Sleep { poll_interval, pause: FIRST_PAUSE, busy: 0, can_listen, flag_is_up: false })
    }

    fn work_was_found(&mut self, client: &mut Client) -> Result<()> {
        self.pause = FIRST_PAUSE;
        self.busy += 1;
        if self.flag_is_up && self.busy > BUSY_LOOKS {
            outbox::want_wake(client, false)?;
            self.flag_is_up = false;
        }
        Ok(())
    }

    /// Pauses for a while that grows with each call until work is found.
    fn pause(&mut self, client: &mut Client, context: &ThreadContext) -> Result<()> {
        self.busy = 0;
        if self.can_listen && !self.flag_is_up {
            outbox::want_wake(client, true)?;
            self.flag_is_up = true;
            // Look once more: a capture may have read the flag just before.
            return Ok(());
        }
        let pause = self.pause.min(self.poll_interval);
        self.pause = (self.pause * 2).min(self.poll_interval);
        if self.flag_is_up {
            wait_for_notification(client, pause, context)
        } else {
            context.stop().wait(pause);
            Ok(())
        }
    }
}

fn wait_for_notification(client: &mut Client, pause: Duration, context: &ThreadContext) -> Result<()> {
    let deadline = Instant::now() + pause;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || context.stop().requested() {
            return Ok(());
        }
        let woken = client
            .notifications()
            .timeout_iter(left.min(STOP_CHECK))
            .next()
            .context("wait for a notification")?
            .is_some();
        if woken {
            return Ok(());
        }
    }
}
