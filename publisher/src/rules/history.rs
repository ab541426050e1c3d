//! Whether what the target has is part of this source's history, and what it needs next is still there.

use super::cursor::CursorPosition;
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
    pub needed: Option<i64>,
    /// The ticks that the target claimed last, which this source has: it claims those of a large one with
    /// each batch.
    pub matched: Vec<TickRef>,
}

impl History {
    /// Fails, and finally, where the target cannot continue with this source.
    pub fn check(&mut self, source: &mut impl Ticks, confirm: &Confirm) -> Result<()> {
        self.check_retention(source, confirm)?;
        self.check_ticks(source, confirm)
    }

    /// What the target needs next must still be there. As what is not confirmed is never pruned, that is not
    /// looked up where the target has advanced. One that was set back may need what is pruned before this
    /// source stores its confirm.
    fn check_retention(&mut self, source: &mut impl Ticks, confirm: &Confirm) -> Result<()> {
        let needed = next_needed(confirm).tick;
        if self.needed.is_none_or(|before| needed <= before) {
            require_left(needed, source.oldest()?)?;
        }
        self.needed = Some(needed);
        Ok(())
    }

    /// The ticks that the target claims must be ticks that this source took. The last one that it applied may
    /// have been pruned, where it received later ones and was set back: it is part of what it received.
    fn check_ticks(&mut self, source: &mut impl Ticks, confirm: &Confirm) -> Result<()> {
        let mut claimed: Vec<TickRef> =
            confirm.received.map(|received| received.tick).into_iter().chain(confirm.applied).collect();
        claimed.dedup();
        if claimed != self.matched {
            for tick in &claimed {
                check_tick(source, *tick, confirm).context("compare the target's position")?;
            }
            self.matched = claimed;
        }
        Ok(())
    }
}

/// Refuses a target that needs a tick that was pruned.
fn require_left(needed: i64, oldest: i64) -> Result<()> {
    if needed <= oldest {
        return Err(ticks_are_gone(needed, oldest));
    }
    Ok(())
}

fn check_tick(source: &mut impl Ticks, claimed: TickRef, confirm: &Confirm) -> Result<()> {
    let known = source.id(claimed.number)?;
    if known == Some(claimed.id) {
        return Ok(());
    }
    if known.is_none() {
        let oldest = source.oldest()?;
        if claimed.number < oldest {
            return require_left(next_needed(confirm).tick, oldest);
        }
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

/// Where to read on when the cursor is at a tick that was pruned, together with those up to `last`: behind
/// what the target has `confirmed` meanwhile, which need not be sent again. None where it has not confirmed
/// them: then its next confirm tells whether it needs them.
pub fn behind_pruned(last: i64, confirmed: i64) -> Option<CursorPosition> {
    (confirmed >= last).then(|| CursorPosition::start_of(confirmed + 1))
}

/// The error when the target needs ticks from `first` on, and those up to `last` were pruned.
fn ticks_are_gone(first: i64, last: i64) -> Error {
    anyhow!(
        "the target needs ticks {first} to {last}, which have left the outbox (OUTBOX_RETENTION): it was restored from a \
         backup that is too old, or is new. Nothing is published or applied. Restore a newer backup of the target, or \
         start over: in the source select replication.start_over(), in the target select replication.adopt_source(…) \
         with what that returns (docs/operations.md)"
    )
    .context(Fault::Fatal)
}

/// The error where the last tick has a snapshot that this server has not come to: the transactions that write here now
/// would count as sent.
pub fn of_another_server(last_tick: i64) -> Error {
    anyhow!(
        "tick {last_tick} is ahead of the transactions of this server: the database was dumped and restored into another \
         one. Nothing is published. Start over: in the source select replication.start_over(), in the target select \
         replication.adopt_source(…) with what that returns (docs/operations.md)"
    )
    .context(Fault::Fatal)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use shared::fault::fault_of;
    use shared::wire::Position;

    /// A source that took ticks 0 to 9, of which those from `oldest` on are left.
    struct Pruned {
        oldest: i64,
    }

    fn id(number: i64) -> Uuid {
        Uuid::from_u128(u128::from(number.unsigned_abs()))
    }

    impl Ticks for Pruned {
        fn oldest(&mut self) -> Result<i64> {
            Ok(self.oldest)
        }

        fn id(&mut self, tick: i64) -> Result<Option<Uuid>> {
            Ok((self.oldest..=9).contains(&tick).then(|| id(tick)))
        }
    }

    /// Received all of one tick, applied another one.
    fn confirm(received: i64, applied: i64) -> Confirm {
        let tick = |number| TickRef { number, id: id(number) };
        Confirm {
            received: Some(Position { tick: tick(received), ordinal: 4, total: 4 }),
            applied: Some(tick(applied)),
            ..fixtures::confirm()
        }
    }

    fn refusal(history: &mut History, oldest: i64, confirm: &Confirm) -> Option<String> {
        let refused = history.check(&mut Pruned { oldest }, confirm).err()?;
        assert_eq!(fault_of(&refused), Fault::Fatal);
        Some(format!("{refused:#}"))
    }

    #[test]
    fn what_this_source_never_took_is_another_history() {
        assert_eq!(refusal(&mut History::default(), 2, &confirm(7, 3)), None);
        let mut forked = confirm(7, 3);
        forked.applied = Some(TickRef { number: 3, id: id(4) });
        assert!(refusal(&mut History::default(), 2, &forked).unwrap().contains("another history"));
        assert!(refusal(&mut History::default(), 2, &confirm(10, 3)).unwrap().contains("no such tick"));
    }

    #[test]
    fn a_target_that_was_set_back_to_before_what_is_left_and_has_received_more_can_continue() {
        assert_eq!(refusal(&mut History::default(), 5, &confirm(7, 3)), None);
        assert_eq!(refusal(&mut History::default(), 5, &confirm(5, 3)), None);
    }

    #[test]
    fn a_target_that_needs_what_was_pruned_is_told_so() {
        let needs = |refused: Option<String>| refused.unwrap().contains("needs ticks 5 to 5");
        assert!(needs(refusal(&mut History::default(), 5, &confirm(4, 3))));
        // Pruned after the target was heard there, whether it has advanced or not.
        let mut history = History::default();
        assert_eq!(refusal(&mut history, 2, &confirm(4, 3)), None);
        assert!(needs(refusal(&mut history, 5, &confirm(4, 3))));
        let mut history = History::default();
        assert_eq!(refusal(&mut history, 2, &confirm(3, 3)), None);
        assert!(needs(refusal(&mut history, 5, &confirm(4, 3))));
    }

    #[test]
    fn what_was_pruned_under_the_cursor_is_passed_over_only_where_the_target_has_confirmed_it() {
        assert_eq!(behind_pruned(5, 5), Some(CursorPosition::start_of(6)));
        assert_eq!(behind_pruned(5, 9), Some(CursorPosition::start_of(10)));
        assert_eq!(behind_pruned(5, 4), None);
    }
}
