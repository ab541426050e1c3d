//! The pauses of a ticker that has no work.

use crate::outbox::wake;
use anyhow::{Context, Result};
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use shared::supervisor::ThreadContext;
use std::time::{Duration, Instant};

/// The first pause when there is no work; doubled up to `POLL_INTERVAL`.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// After so many polls in a row that found work, no NOTIFY is asked for: at such a rate they would only make
/// commits wait for each other.
const BUSY_POLLS: u32 = 4;
/// A sleep checks this often whether a stop is requested.
const STOP_CHECK: Duration = Duration::from_millis(250);

/// The pauses while there is no work.
///
/// A capture notifies only while the flag is up. A transaction that captured before the flag went up and
/// commits after the last poll is not noticed: hence pauses are short at first, and grow.
pub(super) struct Sleep {
    /// The maximum pause.
    poll_interval: Duration,
    pause: Duration,
    /// Polls in a row that found work.
    busy: u32,
    can_listen: bool,
    flag_is_up: bool,
}

impl Sleep {
    pub(super) fn new(client: &mut Client, poll_interval: Duration) -> Result<Sleep> {
        let can_listen = wake::listen(client)?;
        // Whatever the last publisher left.
        wake::want_wake(client, false)?;
        Ok(Sleep { poll_interval, pause: FIRST_PAUSE, busy: 0, can_listen, flag_is_up: false })
    }

    pub(super) fn work_was_found(&mut self, client: &mut Client) -> Result<()> {
        self.pause = FIRST_PAUSE;
        self.busy += 1;
        if self.flag_is_up && self.busy > BUSY_POLLS {
            wake::want_wake(client, false)?;
            self.flag_is_up = false;
        }
        Ok(())
    }

    /// Pauses for a while that grows with each call until work is found.
    pub(super) fn pause(&mut self, client: &mut Client, context: &ThreadContext) -> Result<()> {
        self.busy = 0;
        if self.can_listen && !self.flag_is_up {
            wake::want_wake(client, true)?;
            self.flag_is_up = true;
            // Poll once more: a capture may have read the flag just before.
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
