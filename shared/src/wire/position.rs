//! Ticks, and positions in the events of a source.

use super::identifier::hyphenated;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// A tick by its number *and* its random id.
///
/// The number alone never identifies a tick: after a failover to a standby that had lost ticks, the
/// same numbers come again with other ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TickRef {
    /// Consecutive; 0 is the moment at which the source's schema was installed.
    pub number: i64,
    /// Random id of that tick.
    #[serde(deserialize_with = "hyphenated")]
    pub id: Uuid,
}

impl TickRef {
    /// Fails for a number that no tick has. Behind the greatest there is none, so one is always left to count with.
    pub(super) fn check(&self) -> Result<()> {
        ensure!((0..i64::MAX).contains(&self.number), "there is no tick {}", self.number);
        Ok(())
    }
}

impl fmt::Display for TickRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.number, self.id)
    }
}

/// A position in a source's events, as an LSN is one in its WAL: the event `ordinal` of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The tick.
    pub tick: TickRef,
    /// The number of its last event that is included, counted from 1.
    pub ordinal: i64,
    /// How many events the tick has in all.
    pub total: i64,
}

impl Position {
    /// Whether every event of the tick is included.
    pub fn is_complete(&self) -> bool {
        self.ordinal == self.total
    }

    /// The last tick of which every event is included; 0 before the first.
    pub fn last_complete_tick(&self) -> i64 {
        if self.is_complete() { self.tick.number } else { self.tick.number - 1 }
    }

    /// Fails where no tick has such an event.
    pub(super) fn check(&self) -> Result<()> {
        self.tick.check()?;
        let Position { ordinal, total, .. } = *self;
        ensure!(
            1 <= ordinal && ordinal <= total && total < i64::MAX,
            "no tick has an event {ordinal} of {total}"
        );
        Ok(())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{} of tick {}", self.ordinal, self.total, self.tick)
    }
}
