//! Columns that only the target has keep their values, whichever way the rows are written.
//!
//! An UPDATE leaves them alone. Where rows are deleted and inserted again, they wait in a temporary table
//! meanwhile. A table of which every row is replaced (a TRUNCATE and all rows, as `replication.resend` sends
//! them) is not emptied: only rows that are not among the new ones are deleted.

use super::changes::TableChanges;
use super::statements::{Parts, list, quote};
use super::table::{Table, keys};
use super::write_mode::WriteMode;
use anyhow::{Context, Result};
use postgres::Transaction;
use postgres::types::ToSql;

/// The statements for columns that the source does not know.
pub(super) struct OwnColumns {
    pub(super) names: Vec<String>,
    /// Whether a row `t` has the key of `k`.
    same_key: String,
    /// Drops the temporary table for the values, if it exists.
    forget: String,
    /// Creates it, unless it exists.
    create: String,
    /// Copies the values of the rows with these keys into it.
    keep: String,
    /// Copies the values of the rows with the first keys into it, under the second keys.
    keep_moved: String,
    /// Inserts the rows for which it has values, with these.
    pub(super) insert_kept: String,
    /// Inserts the other rows.
    pub(super) insert_new: String,
}

impl Parts<'_> {
    pub(super) fn own_columns(&self) -> Option<OwnColumns> {
        if self.own.is_empty() {
            return None;
        }
        let kept = format!("pg_temp.kept_{}", self.number);
        let fields = list(&self.key, |column| format!("t.{}", quote(&column.name)));
        let own = |prefix: &str| list(&self.own, |column| format!("{prefix}{}", quote(&column.name)));
        let columns =
            |prefix: &str| list(&self.written(), |column| format!("{prefix}{}", quote(&column.name)));
        let kept_key = &self.kept_key;
        Some(OwnColumns {
            names: self.own.iter().map(|column| column.name.clone()).collect(),
            same_key: self.same_key.clone(),
            forget: format!("drop table if exists {kept}"),
            create: format!(
                "create temporary table if not exists kept_{} on commit drop as
                 select {fields}, {} from {} t limit 0",
                self.number,
                own("t."),
                self.name
            ),
            keep: format!(
                "insert into {kept} select {fields}, {} from {} t, {} k where {}",
                own("t."),
                self.name,
                self.keys(),
                self.same_key
            ),
            keep_moved: format!(
                "insert into {kept} select {}, {}
                 from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) as moved (former, present)
                 cross join lateral pg_catalog.unnest(array[moved.former]::{key_type}[]) k
                 cross join lateral pg_catalog.unnest(array[moved.present]::{key_type}[]) n
                 join {} t on {}",
                list(&self.key, |column| format!("n.{}", quote(&column.name))),
                own("t."),
                self.name,
                self.same_key,
                key_type = self.key_type()
            ),
            insert_kept: format!(
                "insert into {} ({}, {}) overriding system value select {}, {} from {} k join {kept} kept on {kept_key}",
                self.name,
                columns(""),
                own(""),
                columns("k."),
                own("kept."),
                self.rows()
            ),
            insert_new: format!(
                "insert into {} ({}) overriding system value select {} from {} k
                 where not exists (select from {kept} kept where {kept_key})",
                self.name,
                columns(""),
                columns("k."),
                self.rows()
            ),
        })
    }
}

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
