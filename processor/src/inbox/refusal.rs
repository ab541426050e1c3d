//! Why apply is blocked.

use std::fmt;

/// What PostgreSQL refuses of a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) tick: i64,
    /// The source transaction that is refused; none where that cannot be told.
    pub(crate) txid: Option<i64>,
    pub(crate) error: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.txid {
            Some(txid) => write!(out, "tick {}, transaction {txid}: {}", self.tick, self.error),
            None => write!(out, "tick {}: {}", self.tick, self.error),
        }
    }
}
