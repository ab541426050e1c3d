//! Prunes what is no longer needed, a bounded number of rows at a time, in a thread of its own.

use crate::supervisor::ThreadContext;
use anyhow::Result;
use std::time::Duration;

/// Rows deleted by one statement: few enough not to disturb other sessions.
pub const ROWS_PER_STATEMENT: i32 = 20_000;
/// The longest pause between two prunings; with a short retention it is shorter.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Between two statements while there is more to delete.
const PAUSE_BETWEEN: Duration = Duration::from_millis(50);

/// Calls `prune` until a stop is requested: four times within `retention`, at least every 10 s, and each time
/// until it deletes no more. `prune` returns the number of rows that it deleted.
pub fn run(
    context: &ThreadContext,
    retention: Duration,
    mut prune: impl FnMut() -> Result<i64>,
) -> Result<()> {
    let pause = (retention / 4).min(PAUSE_MAX);
    context.keep_trying("prune", || {
        context.healthy();
        while !context.stop().wait(pause) {
            while prune()? > 0 && !context.stop().wait(PAUSE_BETWEEN) {}
            context.healthy();
        }
        Ok(())
    })
}
