//! Holds the publisher's lock and takes ticks: at once when there is work, bounded per second, and
//! also while publishing is blocked, so that an outage leaves many small ticks and not one huge one.

use crate::outbox::{self, TickTaker};
use crate::state::State;
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

/// The time between ticks while publishing keeps up; it bounds the ticks per second.
const TICK_INTERVAL: Duration = Duration::from_millis(5);
/// The time between ticks while publishing lags: latency is lost already, and fewer, larger ticks
/// are carried sooner.
const LAGGING_TICK_INTERVAL: Duration = Duration::from_millis(100);
/// Publishing lags when this many ticks wait for it.
const LAGGING_TICKS: i64 = 50;
/// The first pause when there is no work; doubled up to `POLL_INTERVAL`.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// From this pause on, a NOTIFY is asked for.
const SLEEP_PAUSE: Duration = Duration::from_millis(50);
/// A sleep looks this often whether a stop is requested.
const STOP_CHECK: Duration = Duration::from_millis(250);

pub(crate) struct Ticker {
    database: Database,
    poll_interval: Duration,
    state: Arc<State>,
    new_tick: Sender<()>,
}

impl Ticker {
    pub(crate) fn new(
        database: Database,
        poll_interval: Duration,
        state: Arc<State>,
        new_tick: Sender<()>,
    ) -> Ticker {
        Ticker { database, poll_interval, state, new_tick }
    }

    pub(crate) fn run(&self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("take ticks", || {
            let ended = self.session(context);
            self.state.step_back();
            ended
        })
    }

    fn session(&self, context: &ThreadContext) -> Result<()> {
        let mut client = self.database.session()?;
        migrate(&mut client, Side::Source)?;
        make_commits_durable(&mut client)?;
        if !wait_for_role(&mut client, Role::Publisher, context)? {
            return Ok(());
        }
        let (term, marks) = outbox::begin_term(&mut client)?;
        let mut taker = TickTaker::new(&mut client)?;
        log::info!(
            "this is the publisher of {}: last tick {}, published {}, confirmed {}",
            self.database.address(),
            taker.last_tick(),
            marks.published_tick,
            marks.confirmed_tick
        );
        self.state.lead(term, marks);
        context.healthy();
        self.take_ticks(&mut client, &mut taker, context)
    }

    fn take_ticks(&self, client: &mut Client, taker: &mut TickTaker, context: &ThreadContext) -> Result<()> {
        let mut sleep = Sleep::new(client, self.poll_interval)?;
        while !context.stop().requested() {
            let begun = Instant::now();
            if taker.take(client)? {
                // A full channel already holds the news.
                let _ = self.new_tick.try_send(());
                sleep.work_was_found(client)?;
                context.stop().wait(self.tick_interval(taker).saturating_sub(begun.elapsed()));
            } else {
                sleep.pause(client, context)?;
            }
        }
        Ok(())
    }

    fn tick_interval(&self, taker: &TickTaker) -> Duration {
        if taker.last_tick() - self.state.marks().published_tick > LAGGING_TICKS {
            LAGGING_TICK_INTERVAL
        } else {
            TICK_INTERVAL
        }
    }
}

/// The pauses while there is no work.
///
/// A capture notifies only while the flag is up. A transaction that captured before the flag went up
/// and commits after the last look slips through; the poll catches it.
struct Sleep {
    poll_interval: Duration,
    pause: Duration,
    can_listen: bool,
    flag_is_up: bool,
}

impl Sleep {
    fn new(client: &mut Client, poll_interval: Duration) -> Result<Sleep> {
        let can_listen = outbox::listen(client)?;
        // Whatever the last publisher left.
        outbox::want_wake(client, false)?;
        Ok(Sleep { poll_interval, pause: FIRST_PAUSE, can_listen, flag_is_up: false })
    }

    fn work_was_found(&mut self, client: &mut Client) -> Result<()> {
        self.pause = FIRST_PAUSE;
        if self.flag_is_up {
            outbox::want_wake(client, false)?;
            self.flag_is_up = false;
        }
        Ok(())
    }

    /// Pauses for a while that grows with each call until work is found.
    fn pause(&mut self, client: &mut Client, context: &ThreadContext) -> Result<()> {
        if self.can_listen && !self.flag_is_up && self.pause >= SLEEP_PAUSE {
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
