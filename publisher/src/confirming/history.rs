//! Whether what the target has is part of this source's history, and what it needs next is still there.

use super::resend::next_needed;
use crate::outbox::ticks;
use anyhow::{Context, Result, anyhow};
use postgres::Client;
use shared::fault::Fault;
use shared::wire::{Confirm, TickRef};

/// What was checked last. A confirm that says nothing new costs no query.
#[derive(Default)]
pub(super) struct History {
    /// The tick that the target needed last, which is there.
    needed: Option<i64>,
    /// The ticks that the target claimed last, which this source has: it claims those of a large one with
    /// each batch.
    matched: Vec<TickRef>,
}

impl History {
    /// Fails, and finally, where the target cannot continue with this source.
    pub(super) fn check(&mut self, client: &mut Client, confirm: &Confirm) -> Result<()> {
        self.check_retention(client, confirm)?;
        self.check_ticks(client, confirm)
    }

    /// What the target needs next must still be there. As what is not confirmed is never pruned, that is
    /// looked up for the first confirm, and for a target that was set back.
    fn check_retention(&mut self, client: &mut Client, confirm: &Confirm) -> Result<()> {
        let needed = next_needed(confirm).tick;
        if self.needed.is_none_or(|before| needed < before) {
            let oldest = ticks::oldest_tick(client)?;
            if needed <= oldest {
                return Err(ticks::ticks_are_gone(needed, oldest));
            }
        }
        self.needed = Some(needed);
        Ok(())
    }

    /// The ticks that the target claims must be ticks that this source took.
    fn check_ticks(&mut self, client: &mut Client, confirm: &Confirm) -> Result<()> {
        let mut claimed: Vec<TickRef> =
            confirm.received.map(|received| received.tick).into_iter().chain(confirm.applied).collect();
        claimed.dedup();
        if claimed != self.matched {
            for tick in &claimed {
                check_tick(client, *tick).context("compare the target's position")?;
            }
            self.matched = claimed;
        }
        Ok(())
    }
}

fn check_tick(client: &mut Client, claimed: TickRef) -> Result<()> {
    let known = ticks::tick_id(client, claimed.number)?;
    if known == Some(claimed.id) {
        return Ok(());
    }
    let known =
        known.map_or_else(|| "no such tick".to_owned(), |id| format!("tick {} ({id})", claimed.number));
    Err(anyhow!(
        "the target has tick {claimed}, this source has {known}: it is another history (was the source restored, did it \
         fail over and lose ticks, or does a copy of its server publish too?). Nothing is published until this is \
         resolved: in the source select replication.start_over(), in the target select replication.adopt_source(…) with \
         what that returns (docs/operations.md)"
    )
    .context(Fault::Fatal))
}
