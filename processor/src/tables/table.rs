//! One table, for rows of one shape.

use super::{Drift, Way};
use crate::changes::TableChanges;
use crate::refusal::is_refusal;
use anyhow::{Context, Result};
use postgres::{GenericClient, Statement, Transaction};
use std::collections::HashMap;

/// A table is emptied so many blocks (32 MiB) at a time, however large it is: each of these deletes ends long before a
/// statement's time does.
const EMPTIED_BLOCKS: i64 = 4096;
/// How many blocks the table has, or the largest of its partitions; 0 where blocks say nothing about its rows.
const BLOCKS: &str = "select case when bool_and(c.relkind = 'r' and m.amname = 'heap') then max(pg_relation_size(c.oid)) / current_setting('block_size')::int else 0 end
     from pg_class c left join pg_am m on m.oid = c.relam
     where c.relkind <> 'p' and (c.oid = $1 or c.oid in (select p.relid from pg_partition_tree($1::oid::regclass) p))";

pub(super) struct Table {
    pub(super) relation: u32,
    /// What it looked like when it was looked up.
    pub(super) looks: String,
    pub(super) name: String,
    /// More than that of any table that it refers to.
    pub(super) depth: i64,
    /// The composite type of its keys.
    pub(super) key_type: String,
    /// Deletes the rows with these keys.
    pub(super) delete: Statement,
    /// Inserts rows, or updates those whose key is there. None where that is not possible: there, it is always
    /// [`Way::Replace`].
    pub(super) upsert: Option<Statement>,
    /// Inserts rows whose keys are known not to be there.
    pub(super) insert: Statement,
    /// Counts the keys that are there.
    pub(super) existing: Statement,
    /// For keys that can be equal though their text differs: for each one, the number of the first equal to it.
    pub(super) first_equal: Option<Statement>,
    /// Where the table has columns that the source does not know.
    pub(super) own_columns: Option<OwnColumns>,
}

/// How the values of columns that only the target has outlive [`Way::Replace`].
pub(super) struct OwnColumns {
    /// Drops the temporary table for them, where it is there.
    pub(super) forget: String,
    /// Makes it, where it is not there.
    pub(super) make: String,
    /// Keeps those of the rows with these keys.
    pub(super) keep: String,
    /// Inserts the rows that had some, with them.
    pub(super) insert_kept: String,
    /// Inserts the others.
    pub(super) insert_new: String,
}

impl Table {
    /// Sorts parents before children.
    pub(super) fn order(&self) -> (i64, &str) {
        (self.depth, &self.name)
    }

    pub(super) fn has_loose_key(&self) -> bool {
        self.first_equal.is_some()
    }

    pub(super) fn loose_key_type(&self) -> Option<&str> {
        self.has_loose_key().then_some(self.key_type.as_str())
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

    /// To be called before the first [`Table::remove`] of a stretch.
    pub(super) fn begin(&self, transaction: &mut Transaction<'_>, way: Way) -> Result<()> {
        match &self.own_columns {
            Some(own) if self.own_way(way) == Way::Replace => transaction
                .batch_execute(&own.forget)
                .with_context(|| format!("forget what was kept of {}", self.name)),
            _ => Ok(()),
        }
    }

    pub(super) fn remove(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        way: Way,
    ) -> Result<Drift> {
        let way = self.own_way(way);
        let mut drift = Drift::default();
        // A deferrable key may be there twice for a while: then an INSERT says nothing about the key.
        if way != Way::AsInTheSource && self.upsert.is_some() && !changes.emptied {
            drift.inserts_overwritten = self.count_existing(transaction, &keys(changes.born.iter()))?;
        }
        if way == Way::Replace {
            self.keep_own_columns(transaction, &keys(changes.present()))?;
        }
        if changes.emptied {
            self.empty(transaction).with_context(|| format!("empty {}", self.name))?;
            return Ok(drift);
        }
        let gone = self.delete(transaction, &changes.deleted)?;
        drift.deletes_missing = (changes.deleted.len() as u64).saturating_sub(gone);
        // Nobody saw them; they go all the same, in case the target has some of its own.
        self.delete(transaction, &changes.passing)?;
        if way == Way::Replace {
            self.delete(transaction, &keys(changes.present()))?;
        }
        Ok(drift)
    }

    pub(super) fn put(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        way: Way,
    ) -> Result<()> {
        match (self.own_way(way), &self.upsert) {
            (Way::AsInTheSource, Some(upsert)) => {
                self.execute(transaction, &self.insert, &rows(changes.born.iter()))?;
                self.execute(transaction, upsert, &rows(changes.changed.iter()))
            }
            (Way::Upsert, Some(upsert)) => self.execute(transaction, upsert, &rows(changes.present())),
            _ => self.replace(transaction, &rows(changes.present())),
        }
    }

    fn own_way(&self, way: Way) -> Way {
        if self.upsert.is_some() { way } else { Way::Replace }
    }

    /// The key of the first of the rows that cannot be inserted, once those with their keys are removed.
    pub(super) fn find_refused<'a>(
        &self,
        transaction: &mut Transaction<'_>,
        states: &[(&'a str, &'a str)],
    ) -> Result<Option<&'a str>> {
        let mut attempt = transaction.savepoint("part").context("set a savepoint")?;
        match self.replace(&mut attempt, &rows(states.iter())) {
            Ok(()) => {
                attempt.commit().context("release the savepoint")?;
                return Ok(None);
            }
            Err(error) if is_refusal(&error) => attempt.rollback().context("roll back to the savepoint")?,
            Err(error) => return Err(error),
        }
        let (first, second) = states.split_at(states.len() / 2);
        if first.is_empty() {
            return Ok(second.first().map(|(key, _)| *key));
        }
        match self.find_refused(transaction, first)? {
            Some(key) => Ok(Some(key)),
            None => self.find_refused(transaction, second),
        }
    }

    /// Not by TRUNCATE, which would lock readers out, and show them an empty table before the transaction is there.
    fn empty(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        let blocks: i64 = transaction.query_one(BLOCKS, &[&self.relation])?.get(0);
        if blocks > EMPTIED_BLOCKS {
            // Readers go on. A row that somebody moves into blocks that are done would stay.
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

    fn keep_own_columns(&self, transaction: &mut Transaction<'_>, keys: &[&str]) -> Result<()> {
        let Some(own) = &self.own_columns else { return Ok(()) };
        transaction
            .batch_execute(&own.make)
            .and_then(|()| transaction.execute(&own.keep, &[&keys]))
            .with_context(|| format!("keep the columns of {} that only the target has", self.name))?;
        Ok(())
    }

    fn replace(&self, transaction: &mut Transaction<'_>, rows: &[&str]) -> Result<()> {
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

fn rows<'a>(states: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<&'a str> {
    states.map(|(_, row)| *row).collect()
}
