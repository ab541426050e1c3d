//! How rows get into a table, and what shows that somebody else has changed them.

use std::ops::AddAssign;

/// How rows that exist at the end are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// Rows that are new in the source are inserted, others updated. The quickest mode. Fails where the
    /// target has a row that is new in the source.
    Insert,
    /// Each row is updated where its key exists, and inserted where it does not. Fails where a unique value
    /// moves from one row to another.
    Update,
    /// Every touched key is deleted, then the final rows are inserted: no order of rows can collide.
    DeleteInsert,
}

/// How often the target was not what the source left there: somebody else writes to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drift {
    /// Rows to be deleted that did not exist.
    pub(crate) deletes_missing: u64,
    /// New rows whose key existed already. Counted from the inbox only: a plain insert fails on them.
    pub(crate) inserts_overwritten: u64,
}

impl AddAssign for Drift {
    fn add_assign(&mut self, other: Drift) {
        self.deletes_missing += other.deletes_missing;
        self.inserts_overwritten += other.inserts_overwritten;
    }
}
