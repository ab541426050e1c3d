//! What a confirm leads to, once it is known to come from the bound target's one processor.

use super::cursor::CursorPosition;
use super::doubt::Doubt;
use super::gate::Shown;
use super::history::{History, Ticks};
use super::resend::Resends;
use anyhow::{Error, Result};
use shared::fault::{Fault, fault_of};
use shared::wire::Confirm;
use std::time::Instant;

/// What is known from earlier confirms of one term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Confirms {
    /// What was found to be part of this source's history.
    pub history: History,
    /// What was claimed and is not believed.
    pub doubt: Doubt,
    /// What the target has shown.
    pub shown: Shown,
    /// What was sent again.
    pub resends: Resends,
}

/// What follows from a confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: this source cannot serve it, for this reason, and it is not believed before it is repeated.
    Doubted(String),
    /// It counts.
    Counts(Consequences),
}

/// What follows from a confirm that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequences {
    /// The target has committed everything up to this tick.
    pub confirmed_tick: i64,
    /// The target is in this history, and nothing of another one is in flight to it.
    pub shows_history: bool,
    /// What was acknowledged never arrived: from here on it is sent again.
    pub resend_from: Option<CursorPosition>,
}

impl Confirms {
    /// Takes a confirm received at `now`, by when the stream had acknowledged everything before
    /// `acknowledged`. Fails, and finally, where the target cannot continue with this source.
    pub fn take(
        &mut self,
        ticks: &mut impl Ticks,
        confirm: &Confirm,
        acknowledged: CursorPosition,
        now: Instant,
    ) -> Result<Outcome> {
        if let Err(error) = self.history.check(ticks, confirm) {
            return self.doubt(confirm, error, now).map(Outcome::Doubted);
        }
        self.doubt.end();
        Ok(Outcome::Counts(Consequences {
            // None where the target was set back to before the first tick.
            confirmed_tick: confirm.applied.map_or(0, |applied| applied.number),
            shows_history: self.shown.is_history(confirm, now),
            resend_from: self.resends.wanted(confirm, acknowledged, now),
        }))
    }

    /// What was claimed lately and is not believed.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        self.doubt.trouble(now)
    }

    /// The reason why this source cannot serve a confirm; fails with it once that is believed.
    fn doubt(&mut self, confirm: &Confirm, error: Error, now: Instant) -> Result<String> {
        let reason = format!("{error:#}");
        if fault_of(&error) != Fault::Fatal
            || self.doubt.is_believed(confirm.incarnation, reason.clone(), now)
        {
            return Err(error);
        }
        Ok(reason)
    }
}
