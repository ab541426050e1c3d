//! How the applied position moves: tick by tick, to the end of each.

use super::position::TargetPosition;
use anyhow::{Result, ensure};
use shared::wire::{Batch, Snapshot, TickRef};

/// A tick that is applied in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedTick {
    /// The tick.
    pub tick: TickRef,
    /// How many events it has.
    pub events: i64,
    /// When the source took it, in microseconds since 1970.
    pub taken_at_us: i64,
    /// Which transactions of the source it contains, together with all ticks before it; none where the source does not
    /// say it.
    pub snapshot: Option<Snapshot>,
}

impl AppliedTick {
    /// The tick of which the batch is the last one, if it is.
    pub fn ended_by(batch: &Batch) -> Option<AppliedTick> {
        batch.end().is_complete().then_some(AppliedTick {
            tick: batch.tick,
            events: batch.total,
            taken_at_us: batch.taken_at_us,
            snapshot: batch.snapshot.clone(),
        })
    }
}

/// The position once the ticks are applied, too.
pub fn position_after(before: &TargetPosition, applied: &[AppliedTick]) -> TargetPosition {
    let last = applied.last().map(|applied| applied.tick);
    TargetPosition { applied: last.or(before.applied), ..before.clone() }
}

/// Refuses to move the applied position over `ticks`, from `before` to `after`, unless these follow one
/// another and end there.
pub fn require_applied(before: Option<TickRef>, ticks: &[i64], after: Option<TickRef>) -> Result<()> {
    require_consecutive(before, ticks)?;
    require_complete(before, ticks, after)
}

/// Refuses to skip a tick: it would never be applied, and nothing would show it.
fn require_consecutive(applied: Option<TickRef>, ticks: &[i64]) -> Result<()> {
    let mut last = applied.map_or(0, |applied| applied.number);
    for tick in ticks {
        ensure!(
            *tick == last + 1,
            "tick {tick} was to be applied after tick {last}; reading the position again"
        );
        last = *tick;
    }
    Ok(())
}

/// The position moves to the last of the ticks that are applied in full, or stays: everything up to it counts
/// as applied, and is confirmed.
fn require_complete(before: Option<TickRef>, ticks: &[i64], after: Option<TickRef>) -> Result<()> {
    let expected = ticks.last().copied().or(before.map(|before| before.number));
    let claimed = after.map(|after| after.number);
    ensure!(
        claimed == expected,
        "the position was to move to tick {}, but ticks are applied in full up to {}; reading the position again",
        claimed.unwrap_or(0),
        expected.unwrap_or(0)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_position_moves_only_to_the_last_tick_that_is_applied_in_full() {
        let tick = |number| Some(TickRef { number, id: Uuid::nil() });
        assert!(require_complete(None, &[], None).is_ok());
        assert!(require_complete(tick(3), &[], tick(3)).is_ok());
        assert!(require_complete(tick(3), &[4, 5], tick(5)).is_ok());
        assert!(require_complete(None, &[1], tick(1)).is_ok());
        // A tick that lacks its last batch is not among those that are applied in full.
        assert!(require_complete(tick(3), &[], tick(4)).is_err());
        assert!(require_complete(tick(3), &[4], tick(5)).is_err());
        assert!(require_complete(tick(3), &[4], tick(3)).is_err());
        assert!(require_complete(tick(3), &[], None).is_err());
    }
}
