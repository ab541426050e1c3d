//! Why apply is blocked.

use crate::tables::RefusedRow;
use shared::status::statement_in;
use shared::wire::Held;
use std::fmt;

/// What PostgreSQL refuses of a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) tick: i64,
    /// The source transaction that is refused; none where that cannot be told.
    pub(crate) txid: Option<i64>,
    pub(crate) error: String,
    /// The row that is refused, where one can be named.
    pub(crate) row: Option<RefusedRow>,
}

impl Refusal {
    /// As the page shows it.
    pub(crate) fn figure(&self) -> Held {
        let row = self.row.as_ref().map(|row| (row.table.as_str(), row.key.as_str()));
        Held::of(None, &self.to_string(), row, statement_in(&self.error))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.txid {
            Some(txid) => write!(out, "tick {}, transaction {txid}: {}", self.tick, self.error),
            None => write!(out, "tick {}: {}", self.tick, self.error),
        }
    }
}
