//! What is read from the inbox to be applied: every event after those that are applied, in order, to the end
//! of a tick.

use super::applied::AppliedTick;
use anyhow::{Result, ensure};
use shared::wire::Batch;

/// Follows what is read. Refuses a gap, and an end that is not the end of the last tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InOrder {
    /// The last event that was read or applied.
    tick: i64,
    ordinal: i64,
    /// Whether that is the last one of its tick.
    at_end_of_tick: bool,
    last_tick: i64,
    complete: Vec<AppliedTick>,
}

impl InOrder {
    /// Everything up to `applied` is applied, and what follows is to be read up to the end of `last_tick`.
    pub fn after(applied: i64, last_tick: i64) -> InOrder {
        InOrder { tick: applied, ordinal: 0, at_end_of_tick: true, last_tick, complete: Vec::new() }
    }

    /// The last tick to read.
    pub fn last_tick(&self) -> i64 {
        self.last_tick
    }

    /// The tick to continue with, and the last of its events that was read: the tick that was begun, or else
    /// the next one.
    pub fn read_up_to(&self) -> (i64, i64) {
        if self.at_end_of_tick { (self.tick + 1, 0) } else { (self.tick, self.ordinal) }
    }

    /// Notes that a batch was read. Fails where it does not follow.
    pub fn follow(&mut self, batch: &Batch) -> Result<()> {
        let (tick, ordinal) = self.read_up_to();
        let first = ordinal + 1;
        ensure!(
            (batch.tick.number, batch.first) == (tick, first),
            "event {first} of tick {tick} is not in the inbox: event {} of tick {} follows",
            batch.first,
            batch.tick.number
        );
        self.tick = tick;
        self.ordinal = batch.last();
        let complete = AppliedTick::ended_by(batch);
        self.at_end_of_tick = complete.is_some();
        self.complete.extend(complete);
        Ok(())
    }

    /// The ticks that were read. Fails where that was not everything, to the end of the last tick.
    pub fn complete_ticks(self) -> Result<Vec<AppliedTick>> {
        ensure!(
            self.tick == self.last_tick && self.at_end_of_tick,
            "the inbox ends at event {} of tick {}, but tick {} is recorded as complete",
            self.ordinal,
            self.tick,
            self.last_tick
        );
        Ok(self.complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::position::tests::batch;

    fn read(batches: &[Batch]) -> Result<Vec<AppliedTick>> {
        let mut stored = InOrder::after(6, 8);
        for batch in batches {
            stored.follow(batch)?;
        }
        stored.complete_ticks()
    }

    #[test]
    fn ticks_are_read_to_the_end_of_the_last_one() {
        let (begun, ended, next) = (batch(7, 1, 4, 6), batch(7, 5, 6, 6), batch(8, 1, 1, 1));
        let ticks = read(&[begun.clone(), ended.clone(), next.clone()]).unwrap();
        assert_eq!(ticks.iter().map(|applied| applied.tick.number).collect::<Vec<_>>(), [7, 8]);
        assert!(read(&[begun.clone(), ended.clone()]).is_err(), "the last tick is missing");
        assert!(read(&[begun.clone(), ended, batch(8, 1, 1, 2)]).is_err(), "its end is missing");
        assert!(read(&[begun, next.clone()]).is_err(), "the end of a tick before it is missing");
        assert!(read(&[next]).is_err(), "a whole tick is missing");
    }
}
