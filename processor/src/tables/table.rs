//! One table, for rows of one shape.

use super::changes::TableChanges;
use super::write_mode::{Drift, WriteMode};
use anyhow::{Context, Result};
use postgres::{GenericClient, Statement, Transaction};
use std::collections::HashMap;

/// A table is emptied this many blocks (32 MiB) at a time: each of these deletes ends long before the
/// statement timeout, however large the table is.
const EMPTIED_BLOCKS: i64 = 4096;
/// How many blocks the table has, or the largest of its partitions; 0 where blocks say nothing about its
/// rows.
const BLOCKS: &str = "select case when bool_and(c.relkind = 'r' and m.amname = 'heap') then max(pg_relation_size(c.oid)) / current_setting('block_size')::int else 0 end
     from pg_class c left join pg_am m on m.oid = c.relam
     where c.relkind <> 'p' and (c.oid = $1 or c.oid in (select p.relid from pg_partition_tree($1::oid::regclass) p))";

pub(crate) struct Table {
    pub(super) relation: u32,
    /// Its definition when it was looked up.
    pub(super) definition: String,
    pub(super) name: String,
    /// More than that of any table that it refers to.
    pub(super) depth: i64,
    /// The composite type of its keys.
    pub(super) key_type: String,
    /// Deletes the rows with these keys.
    pub(super) delete: Statement,
    /// Inserts rows, or updates those whose key exists. None where the target cannot: there, the mode is
    /// always [`WriteMode::DeleteInsert`].
    pub(super) upsert: Option<Statement>,
    /// Inserts rows whose keys do not exist.
    pub(super) insert: Statement,
    /// Counts the keys that exist.
    pub(super) existing: Statement,
    /// For keys that can be equal though their text differs: for each one, the number of the first equal to
    /// it.
    pub(super) first_equal: Option<Statement>,
    /// Where the table has columns that the source does not know.
    pub(super) own_columns: Option<OwnColumns>,
}

/// Keeps the values of columns that only the target has through a [`WriteMode::DeleteInsert`].
pub(super) struct OwnColumns {
    /// Drops the temporary table for the values, if it exists.
    pub(super) forget: String,
    /// Creates it, unless it exists.
    pub(super) create: String,
    /// Copies the values of the rows with these keys into it.
    pub(super) keep: String,
    /// Inserts the rows for which it has values, with these.
    pub(super) insert_kept: String,
    /// Inserts the other rows.
    pub(super) insert_new: String,
}

impl Table {
    /// Sorts parents before children.
    pub(super) fn order(&self) -> (i64, &str) {
        (self.depth, &self.name)
    }

    pub(super) fn has_key_variants(&self) -> bool {
        self.first_equal.is_some()
    }

    /// The type by which keys, as text, are compared; none where equal keys have equal text.
    pub(crate) fn key_variants_type(&self) -> Option<&str> {
        self.has_key_variants().then_some(self.key_type.as_str())
    }

    /// For each key, the first one that is equal to it.
    pub(super) fn representatives<'a>(
        &self,
        client: &mut impl GenericClient,
        keys: &[&'a str],
    ) -> Result<HashMap<&'a str, &'a str>> {
        let Some(statement) = &self.first_equal else { return Ok(HashMap::new()) };
        let rows =
            client.query(statement, &[&keys]).with_context(|| format!("compare keys of {}", self.name))?;
        rows.iter()
            .zip(keys)
            .map(|(row, key)| {
                let first = usize::try_from(row.get::<_, i64>(0))? - 1;
                Ok((*key, *keys.get(first).context("a key without a number")?))
            })
            .collect()
    }

    /// Call this before the first [`Table::remove`] of a segment.
    pub(crate) fn begin(&self, transaction: &mut Transaction<'_>, mode: WriteMode) -> Result<()> {
        let Some(own) = self.own_columns.as_ref().filter(|_| self.keeps(mode)) else { return Ok(()) };
        transaction.batch_execute(&own.forget).with_context(|| format!("drop what was kept of {}", self.name))
    }

    /// Whether values of columns that only the target has are kept.
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

    /// Deletes the rows that are gone, and in delete-insert mode those that are written again.
    pub(crate) fn remove(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        mode: WriteMode,
    ) -> Result<Drift> {
        let mode = self.own_mode(mode);
        let mut drift = Drift::default();
        // A deferrable key may exist twice for a while: then an INSERT says nothing about the key.
        if mode != WriteMode::Insert && self.upsert.is_some() && !changes.emptied {
            drift.inserts_overwritten = self.count_existing(transaction, &keys(changes.born.iter()))?;
        }
        self.keep(transaction, changes, mode)?;
        if changes.emptied {
            self.empty(transaction).with_context(|| format!("empty {}", self.name))?;
            return Ok(drift);
        }
        let gone = self.delete(transaction, &changes.deleted)?;
        drift.deletes_missing = (changes.deleted.len() as u64).saturating_sub(gone);
        // No reader of the source saw them. They are deleted in case the target has rows of its own.
        self.delete(transaction, &changes.passing)?;
        if mode == WriteMode::DeleteInsert {
            self.delete(transaction, &keys(changes.present()))?;
        }
        Ok(drift)
    }

    /// Writes the rows that exist at the end.
    pub(crate) fn put(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        mode: WriteMode,
    ) -> Result<()> {
        match (self.own_mode(mode), &self.upsert) {
            (WriteMode::Insert, Some(upsert)) => {
                self.execute(transaction, &self.insert, &rows(changes.born.iter()))?;
                self.execute(transaction, upsert, &rows(changes.changed.iter()))
            }
            (WriteMode::Upsert, Some(upsert)) => self.execute(transaction, upsert, &rows(changes.present())),
            _ => self.insert(transaction, &rows(changes.present())),
        }
    }

    fn own_mode(&self, mode: WriteMode) -> WriteMode {
        if self.upsert.is_some() { mode } else { WriteMode::DeleteInsert }
    }

    /// Deletes every row. TRUNCATE would lock readers out, and show older snapshots an empty table.
    fn empty(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        let blocks: i64 = transaction.query_one(BLOCKS, &[&self.relation])?.get(0);
        if blocks > EMPTIED_BLOCKS {
            // Readers are not blocked. Without the lock, a row that somebody moves into a finished part would
            // stay.
            transaction.execute(&format!("lock table {} in share row exclusive mode", self.name), &[])?;
        }
        let mut emptied = 0;
        while blocks - emptied > EMPTIED_BLOCKS {
            let end = emptied + EMPTIED_BLOCKS;
            let part =
                format!("delete from {} where ctid >= '({emptied},0)' and ctid < '({end},0)'", self.name);
            transaction.execute(&part, &[])?;
            emptied = end;
        }
        let rest = if emptied == 0 { String::new() } else { format!(" where ctid >= '({emptied},0)'") };
        transaction.execute(&format!("delete from {}{rest}", self.name), &[])?;
        Ok(())
    }

    fn count_existing(&self, transaction: &mut Transaction<'_>, keys: &[&str]) -> Result<u64> {
        if keys.is_empty() {
            return Ok(0);
        }
        let row = transaction
            .query_one(&self.existing, &[&keys])
            .with_context(|| format!("look for new keys in {}", self.name))?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    fn delete(&self, transaction: &mut Transaction<'_>, keys: &[&str]) -> Result<u64> {
        if keys.is_empty() {
            return Ok(0);
        }
        transaction.execute(&self.delete, &[&keys]).with_context(|| format!("delete from {}", self.name))
    }

    fn execute(&self, transaction: &mut Transaction<'_>, statement: &Statement, rows: &[&str]) -> Result<()> {
        if !rows.is_empty() {
            transaction.execute(statement, &[&rows]).with_context(|| format!("write to {}", self.name))?;
        }
        Ok(())
    }

    /// Inserts rows whose keys do not exist, with what was kept of them.
    pub(super) fn insert(&self, transaction: &mut Transaction<'_>, rows: &[&str]) -> Result<()> {
        let Some(own) = &self.own_columns else { return self.execute(transaction, &self.insert, rows) };
        for statement in [&own.insert_kept, &own.insert_new] {
            transaction
                .execute(statement.as_str(), &[&rows])
                .with_context(|| format!("write to {}", self.name))?;
        }
        Ok(())
    }
}

fn keys<'a>(states: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<&'a str> {
    states.map(|(key, _)| *key).collect()
}

pub(super) fn rows<'a>(states: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<&'a str> {
    states.map(|(_, row)| *row).collect()
}
