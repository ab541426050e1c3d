//! Whether what the target has is part of this source's history, and what it needs next is still there.

use super::resend::next_needed;
use anyhow::{Context, Error, Result, anyhow};
use shared::fault::Fault;
use shared::wire::{Confirm, TickRef};
use uuid::Uuid;

/// The ticks of a source.
pub trait Ticks {
    /// The number of the first tick that is left: the events of those after it can be read.
    fn oldest(&mut self) -> Result<i64>;
    /// The id of a tick; none where this source has no such tick.
    fn id(&mut self, tick: i64) -> Result<Option<Uuid>>;
}

/// What was checked last. A confirm that says nothing new costs no query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// The tick that the target needed last, which is there.
    needed: Option<i64>,
    /// The ticks that the target claimed last, which this source has: it claims those of a large one with
    /// each batch.
    matched: Vec<TickRef>,
}

impl History {
    /// Fails, and finally, where the target cannot continue with this source.
    pub fn check(&mut self, source: &mut impl Ticks, confirm: &Confirm) -> Result<()> {
        self.check_retention(source, confirm)?;
        self.check_ticks(source, confirm)
    }

    /// What the target needs next must still be there. As what is not confirmed is never pruned, that is
    /// looked up for the first confirm, and for a target that was set back.
    fn check_retention(&mut self, source: &mut impl Ticks, confirm: &Confirm) -> Result<()> {
        let needed = next_needed(confirm).tick;
        if self.needed.is_none_or(|before| needed < before) {
            let oldest = source.oldest()?;
            if needed <= oldest {
                return Err(ticks_are_gone(needed, oldest));
            }
        }
        self.needed = Some(needed);
        Ok(())
    }

    /// The ticks that the target claims must be ticks that this source took.
    fn check_ticks(&mut self, source: &mut impl Ticks, confirm: &Confirm) -> Result<()> {
        let mut claimed: Vec<TickRef> =
            confirm.received.map(|received| received.tick).into_iter().chain(confirm.applied).collect();
        claimed.dedup();
        if claimed != self.matched {
            for tick in &claimed {
                check_tick(source, *tick).context("compare the target's position")?;
            }
            self.matched = claimed;
        }
        Ok(())
    }
}

fn check_tick(source: &mut impl Ticks, claimed: TickRef) -> Result<()> {
    let known = source.id(claimed.number)?;
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

/// The error when the target needs ticks from `first` on, and those up to `last` were pruned.
pub fn ticks_are_gone(first: i64, last: i64) -> Error {
    anyhow!(
        "the target needs ticks {first} to {last}, which have left the outbox (OUTBOX_RETENTION): it was restored from a \
         backup that is too old, or is new. Nothing is published or applied. Restore a newer backup of the target, or \
         start over: in the source select replication.start_over(), in the target select replication.adopt_source(…) \
         with what that returns (docs/operations.md)"
    )
    .context(Fault::Fatal)
}
