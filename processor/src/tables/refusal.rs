//! Which row the target refuses: found by halving the rows that are to be written.

use super::Tables;
use super::changes::TableChanges;
use super::table::Table;
use super::write_mode::WriteMode;
use anyhow::{Context, Error, Result};
use postgres::Transaction;
use shared::fault::fault_of;
use shared::wire::Shape;

impl Tables {
    /// The error, with the first row of the changes that the target refuses, written in the same mode, where
    /// there is one. Leaves behind what it tried: the caller rolls back.
    pub(crate) fn with_refused_row(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        mode: WriteMode,
        error: Error,
    ) -> Result<Error> {
        let table = self.table(changes.shape)?;
        let present: Vec<_> = changes.present().copied().collect();
        Ok(match find_refused(table, transaction, changes.shape, &present, mode)? {
            Some(key) => error.context(format!("the row is {} of {}", shortened(key), changes.shape.name())),
            None => error,
        })
    }
}

/// The key of the first row that cannot be written.
fn find_refused<'a>(
    table: &Table,
    transaction: &mut Transaction<'_>,
    shape: &Shape,
    present: &[(&'a str, &'a str)],
    mode: WriteMode,
) -> Result<Option<&'a str>> {
    let changes = TableChanges { changed: present.to_vec(), ..TableChanges::none(shape) };
    let mut attempt = transaction.savepoint("part").context("set a savepoint")?;
    match table.put(&mut attempt, &changes, mode) {
        Ok(()) => {
            attempt.commit().context("release the savepoint")?;
            return Ok(None);
        }
        Err(error) if fault_of(&error).is_refusal() => {
            attempt.rollback().context("roll back to the savepoint")?;
        }
        Err(error) => return Err(error),
    }
    let (first, second) = present.split_at(present.len() / 2);
    if first.is_empty() {
        return Ok(second.first().map(|(key, _)| *key));
    }
    match find_refused(table, transaction, shape, first, mode)? {
        Some(key) => Ok(Some(key)),
        None => find_refused(table, transaction, shape, second, mode),
    }
}

/// A key, as far as it fits into a message for people.
fn shortened(key: &str) -> String {
    const SHOWN: usize = 200;
    match key.char_indices().nth(SHOWN) {
        None => key.to_owned(),
        Some((end, _)) => format!("{}…", &key[..end]),
    }
}
