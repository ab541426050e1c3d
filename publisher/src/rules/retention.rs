//! How far the source is with its ticks.

/// How far ticks are published and confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// The last tick of which the stream has acknowledged every batch.
    pub published_tick: i64,
    /// The last tick that the target has committed.
    pub confirmed_tick: i64,
}
