//! Columns that only the target has keep their values, whichever way the rows are written.
//!
//! An UPDATE leaves them alone. Where rows are deleted and inserted again, they wait in a temporary table
//! meanwhile. A table of which every row is replaced (a TRUNCATE and all rows, as `replication.resend` sends
//! them) is not emptied: only rows that are not among the new ones are deleted.

use super::changes::TableChanges;
use super::table::{Table, keys};
use super::write_mode::WriteMode;
use anyhow::{Context, Result};
use postgres::Transaction;
use postgres::types::ToSql;

impl Table {
    pub(crate) fn has_own_columns(&self) -> bool {
        self.own_columns.is_some()
    }

    /// Call this before the first [`Table::remove`] of a segment, with all rows of it that have got another
    /// key: each one's key, and the one that it had. Keeps what only the target has of these, and deletes them.
    pub(crate) fn begin(
        &self,
        transaction: &mut Transaction<'_>,
        mode: WriteMode,
        moved: &[(&str, &str)],
    ) -> Result<()> {
        let Some(own) = self.own_columns.as_ref().filter(|_| self.keeps(mode) || !moved.is_empty()) else {
            return Ok(());
        };
        transaction
            .batch_execute(&own.forget)
            .with_context(|| format!("drop what was kept of {}", self.name))?;
        if moved.is_empty() {
            return Ok(());
        }
        let (keys, former): (Vec<&str>, Vec<&str>) = moved.iter().copied().unzip();
        transaction
            .batch_execute(&own.create)
            .and_then(|()| transaction.execute(&own.keep_moved, &[&former, &keys]))
            .with_context(|| {
                format!("keep the columns of moved rows of {} that only the target has", self.name)
            })?;
        for gone in [&former, &keys] {
            self.delete(transaction, gone)?;
        }
        Ok(())
    }

    /// Whether rows are deleted and inserted again that have values of the target's own.
    pub(crate) fn keeps(&self, mode: WriteMode) -> bool {
        self.own_columns.is_some() && self.own_mode(mode) == WriteMode::DeleteInsert
    }

    /// The first step of [`Table::remove`]: keeps what only the target has of rows that are deleted and
    /// inserted again.
    pub(crate) fn keep(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        mode: WriteMode,
    ) -> Result<()> {
        let Some(own) = self.own_columns.as_ref().filter(|_| self.keeps(mode)) else { return Ok(()) };
        transaction
            .batch_execute(&own.create)
            .and_then(|()| transaction.execute(&own.keep, &[&keys(changes.present())]))
            .with_context(|| format!("keep the columns of {} that only the target has", self.name))?;
        Ok(())
    }

    /// Whether only those rows are deleted that are not among the new ones, where every row is replaced. That
    /// takes all of the new ones at once.
    pub(crate) fn replaces_by_difference(&self, mode: WriteMode) -> bool {
        self.own_columns.is_some() && self.own_mode(mode) != WriteMode::DeleteInsert
    }

    /// Deletes the rows whose keys are not among those of the query `present`, which has one parameter.
    pub(crate) fn delete_others(
        &self,
        transaction: &mut Transaction<'_>,
        present: &str,
        parameter: &(dyn ToSql + Sync),
    ) -> Result<()> {
        let Some(own) = &self.own_columns else { return Ok(()) };
        let delete = format!(
            "delete from {} t where not exists (
                 select from ({present}) present cross join lateral pg_catalog.unnest(array[present.key_text]::{}[]) k where {})",
            self.name, self.key_type, own.same_key
        );
        transaction
            .execute(&delete, &[parameter])
            .with_context(|| format!("delete the rows of {} that are gone", self.name))?;
        Ok(())
    }
}
