//! What may be pruned. `replication.prune_outbox` decides it in the transaction that deletes, from the progress that is
//! stored there; this is the same rule, and a story compares the two.

/// How far ticks are published and confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// The last tick of which the stream has acknowledged every batch.
    pub published_tick: i64,
    /// The last tick that the target has committed.
    pub confirmed_tick: i64,
}

/// The tick up to which events may be deleted, of the ticks that are left, in order, and older than what is to be
/// kept. The ticks before it are deleted, too; its own row stays, since the next tick begins at its snapshot.
pub fn boundary(progress: Progress, old: impl IntoIterator<Item = i64>) -> Option<i64> {
    let first_needed = progress.confirmed_tick.min(progress.published_tick);
    old.into_iter().take_while(|tick| *tick < first_needed).last()
}
