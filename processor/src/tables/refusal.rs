//! What to run where the target refuses to be written to, and which row it refuses: found by halving the rows that are to be written.

use super::Tables;
use super::changes::TableChanges;
use super::statements::quote;
use super::table::Table;
use super::write_mode::WriteMode;
use anyhow::{Context, Error, Result, anyhow};
use postgres::Transaction;
use postgres::error::{DbError, SqlState};
use shared::fault::fault_of;
use shared::wire::Shape;
use std::fmt;

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
            Some(key) => error.context(row_for_people(key, changes.shape)),
            None => error,
        })
    }
}

impl Table {
    /// PostgreSQL's error with what was done to the table, and with what to run where that is known.
    pub(super) fn explain(&self, error: postgres::Error, action: &str) -> Error {
        let name = &self.name;
        let remedy = error.as_db_error().and_then(|refusal| self.remedy(refusal));
        let error = anyhow!(error).context(format!("{action} {name}"));
        match remedy {
            Some(remedy) => error.context(remedy),
            None => error,
        }
    }

    fn remedy(&self, refusal: &DbError) -> Option<String> {
        let (name, role) = (&self.name, &self.role);
        if *refusal.code() == SqlState::INSUFFICIENT_PRIVILEGE {
            return Some(denied(name, role));
        }
        let column = refusal.column()?;
        let own = self.own_columns.as_ref()?;
        (*refusal.code() == SqlState::NOT_NULL_VIOLATION && own.names.iter().any(|name| name == column)).then(|| {
            format!(
                "rows of the source have no value for {0}; run: ALTER TABLE {name} ALTER COLUMN {0} SET DEFAULT ...; -- with the \
                 value that they are to have until the source has that column, too",
                quote(column)
            )
        })
    }
}

/// What is wrong where the role of the processor has not the rights that it needs on a table.
pub(super) fn denied(name: &str, role: &str) -> String {
    let text = |text: &str| text.replace('\'', "''");
    format!(
        "{role} may not write to {name}; run: select replication.accept('{}', '{}');",
        text(name),
        text(&quote(role))
    )
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

/// A row that is refused. Context of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedRow {
    pub(crate) table: String,
    /// As far as it fits into a message for people.
    pub(crate) key: String,
}

impl fmt::Display for RefusedRow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the row is {} of {}", self.key, self.table)
    }
}

/// The row of a key.
pub(crate) fn row_for_people(key: &str, shape: &Shape) -> RefusedRow {
    RefusedRow { table: shape.name(), key: shortened(key) }
}

/// A key, as far as it fits into a message for people.
fn shortened(key: &str) -> String {
    const SHOWN: usize = 200;
    match key.char_indices().nth(SHOWN) {
        None => key.to_owned(),
        Some((end, _)) => format!("{}…", &key[..end]),
    }
}
