//! Which of the two ways applies what waits: the quick one, or the careful one from the inbox. While a tick
//! is large, apply is blocked or a transaction is to be skipped, batches are stored and not kept in memory.

use super::position::TargetPosition;
use shared::wire::Batch;
use std::sync::Arc;

/// What speaks for the careful way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ways {
    /// Apply is blocked.
    pub is_blocked: bool,
    /// A transaction that waits is to be skipped: only the careful way leaves it out.
    pub skips_are_open: bool,
    /// The quick way has failed for what waits.
    pub quick_refused: bool,
}

impl Ways {
    /// Whether what waits in the inbox may be applied the quick way.
    pub fn may_be_quick(self) -> bool {
        !self.is_blocked && !self.skips_are_open && !self.quick_refused
    }

    /// Whether what waits may be kept in memory from now on: it is only the beginning of a tick.
    pub fn may_keep_in_memory(self, position: Option<&TargetPosition>) -> bool {
        !self.is_blocked && !self.skips_are_open && !position.is_some_and(TargetPosition::has_complete_ticks)
    }
}

/// How many of the batches in memory belong to ticks that are complete at `position`.
pub fn complete_batches(waiting: &[Arc<Batch>], position: Option<&TargetPosition>) -> usize {
    let last_complete = position.map_or(0, TargetPosition::last_complete);
    waiting.iter().take_while(|batch| batch.tick.number <= last_complete).count()
}

/// Whether a confirm may say that the target has received all that the stream has to give.
pub fn is_idle(drained: bool, messages_in_work: u64, is_blocked: bool) -> bool {
    drained && messages_in_work == 0 && !is_blocked
}
