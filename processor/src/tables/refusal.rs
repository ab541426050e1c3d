//! Which row the target refuses: found by halving the rows that are to be inserted.

use super::Tables;
use super::changes::TableChanges;
use super::table::{Table, rows};
use super::write_mode::WriteMode;
use anyhow::{Context, Error, Result};
use postgres::Transaction;
use shared::fault::fault_of;

impl Tables {
    /// The error, with the first row of the changes that the target refuses where there is one. Leaves behind
    /// what it tried: the caller rolls back.
    pub(crate) fn with_refused_row(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        error: Error,
    ) -> Result<Error> {
        let table = self.table(changes.shape)?;
        table.begin(transaction, WriteMode::DeleteInsert)?;
        table.remove(transaction, changes, WriteMode::DeleteInsert)?;
        let states: Vec<_> = changes.present().copied().collect();
        Ok(match find_refused(table, transaction, &states)? {
            Some(key) => error.context(format!("the row is {} of {}", shortened(key), changes.shape.name())),
            None => error,
        })
    }
}

/// The key of the first row that cannot be inserted. Rows with these keys do not exist any more.
fn find_refused<'a>(
    table: &Table,
    transaction: &mut Transaction<'_>,
    states: &[(&'a str, &'a str)],
) -> Result<Option<&'a str>> {
    let mut attempt = transaction.savepoint("part").context("set a savepoint")?;
    match table.insert(&mut attempt, &rows(states.iter())) {
        Ok(()) => {
            attempt.commit().context("release the savepoint")?;
            return Ok(None);
        }
        Err(error) if fault_of(&error).is_refusal() => {
            attempt.rollback().context("roll back to the savepoint")?;
        }
        Err(error) => return Err(error),
    }
    let (first, second) = states.split_at(states.len() / 2);
    if first.is_empty() {
        return Ok(second.first().map(|(key, _)| *key));
    }
    match find_refused(table, transaction, first)? {
        Some(key) => Ok(Some(key)),
        None => find_refused(table, transaction, second),
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
