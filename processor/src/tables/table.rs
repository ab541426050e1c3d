//! One table, for rows of one shape.

use super::changes::TableChanges;
use super::own_columns::OwnColumns;
use super::write_mode::{Drift, WriteMode};
use anyhow::{Context, Result};
use postgres::types::Type;
use postgres::{GenericClient, Statement, Transaction};
use std::collections::{HashMap, HashSet};

/// The statements that find rows by key are no prepared ones: PostgreSQL would keep a plan that it made when the table
/// was small, and read all of it for each group. Here it makes a plan each time, for the size that the table has.
pub(crate) struct Table {
    pub(super) relation: u32,
    /// What of it may run code, as it was when it was looked up. None where its owner is a superuser.
    pub(super) code: Option<String>,
    /// Its definition when it was looked up.
    pub(super) definition: String,
    pub(super) name: String,
    /// More than that of any table that it refers to.
    pub(super) depth: i64,
    /// The composite type of its keys.
    pub(super) key_type: String,
    /// Deletes the rows with these keys.
    pub(super) delete: String,
    /// Inserts rows, or updates those whose key exists. None where triggers or columns of the target's own would
    /// notice the INSERT.
    pub(super) upsert: Option<Statement>,
    /// Updates rows whose keys exist. None where there is no column to set.
    pub(super) update: Option<String>,
    /// A column has a value that no UPDATE may set: the mode is always [`WriteMode::DeleteInsert`].
    pub(super) only_inserts: bool,
    /// Inserts rows whose keys do not exist. Fails where one does.
    pub(super) insert: Statement,
    /// Inserts those of the rows whose keys do not exist.
    pub(super) insert_missing: String,
    /// The target does not enforce the key: a trigger would, which does not fire for a replica. Nor does the
    /// source while it is deferred: an INSERT says nothing about whether the key existed.
    pub(super) is_key_deferrable: bool,
    /// Counts the keys that exist.
    pub(super) existing: String,
    /// For keys that can be equal though their text differs: for each one, the number of the first equal to
    /// it.
    pub(super) first_equal: Option<Statement>,
    /// The role that writes to it.
    pub(super) role: String,
    /// Where the table has columns that the source does not know.
    pub(super) own_columns: Option<OwnColumns>,
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

    /// Deletes the rows that are gone, and in delete-insert mode those that are written again.
    pub(crate) fn remove(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        mode: WriteMode,
    ) -> Result<Drift> {
        let mode = self.own_mode(mode);
        let mut drift = Drift::default();
        if mode != WriteMode::Insert && !self.is_key_deferrable && !changes.emptied {
            drift.inserts_overwritten = self.count_existing(transaction, &keys(changes.born.iter()))?;
        }
        self.keep(transaction, changes, mode)?;
        if changes.emptied {
            self.replace(transaction, &keys(changes.present()), mode)?;
            return Ok(drift);
        }
        let gone = self.delete(transaction, &changes.deleted)?;
        drift.deletes_missing = self.number_deleted(changes).saturating_sub(gone);
        // No reader of the source saw them. They are deleted in case the target has rows of its own.
        self.delete(transaction, &changes.passing)?;
        if mode == WriteMode::DeleteInsert {
            self.delete(transaction, &keys(changes.present()))?;
        }
        Ok(drift)
    }

    /// How many rows are to be deleted. Those whose key is another one now [were](Table::begin) deleted.
    fn number_deleted(&self, changes: &TableChanges<'_>) -> u64 {
        let origins: HashSet<&str> =
            changes.moved.iter().filter(|_| self.has_own_columns()).map(|(_, origin)| *origin).collect();
        changes.deleted.iter().filter(|key| !origins.contains(*key)).count() as u64
    }

    /// Deletes every row, but for those that are only updated.
    fn replace(&self, transaction: &mut Transaction<'_>, present: &[&str], mode: WriteMode) -> Result<()> {
        if self.replaces_by_difference(mode) && !present.is_empty() {
            const PRESENT: &str = "select pg_catalog.unnest($1::text[]) as key_text";
            return self.delete_others(transaction, PRESENT, &present);
        }
        self.empty(transaction)
    }

    /// Writes the rows that exist at the end: first those that exist already, as they make room for new ones.
    pub(crate) fn put(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        mode: WriteMode,
    ) -> Result<()> {
        match self.own_mode(mode) {
            WriteMode::DeleteInsert => self.insert(transaction, &rows(changes.present())),
            WriteMode::Insert if !(changes.emptied && self.replaces_by_difference(mode)) => {
                self.update_or_move(transaction, changes, changes.changed.iter())?;
                self.insert_new(transaction, &rows(changes.born.iter()))
            }
            WriteMode::Insert | WriteMode::Update => {
                self.update_or_move(transaction, changes, changes.present())
            }
        }
    }

    /// Updates rows, and inserts those whose key is another one now, with what was kept of them.
    fn update_or_move<'a>(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        states: impl Iterator<Item = &'a (&'a str, &'a str)>,
    ) -> Result<()> {
        if changes.moved.is_empty() || !self.has_own_columns() {
            return self.update(transaction, &rows(states));
        }
        let moved: HashSet<&str> = keys(changes.moved.iter()).into_iter().collect();
        let (moved, updated): (Vec<_>, Vec<_>) = states.partition(|(key, _)| moved.contains(key));
        self.update(transaction, &rows(updated.into_iter()))?;
        self.insert(transaction, &rows(moved.into_iter()))
    }

    pub(super) fn own_mode(&self, mode: WriteMode) -> WriteMode {
        match mode {
            _ if self.only_inserts => WriteMode::DeleteInsert,
            WriteMode::Insert if self.is_key_deferrable => WriteMode::Update,
            mode => mode,
        }
    }

    fn count_existing(&self, transaction: &mut Transaction<'_>, keys: &[&str]) -> Result<u64> {
        if keys.is_empty() {
            return Ok(0);
        }
        let row = transaction
            .query_typed_one(&self.existing, &[(&keys, Type::TEXT_ARRAY)])
            .map_err(|error| self.explain(error, "look for new keys in"))?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    pub(super) fn delete(&self, transaction: &mut Transaction<'_>, keys: &[&str]) -> Result<u64> {
        execute(transaction, &self.delete, keys).map_err(|error| self.explain(error, "delete from"))
    }

    /// Updates rows whose keys exist, and inserts those that the target turns out to lack: a row with a new
    /// key, or one that somebody else deleted.
    fn update(&self, transaction: &mut Transaction<'_>, rows: &[&str]) -> Result<()> {
        let refused = |error| self.explain(error, "write to");
        if let Some(upsert) = self.upsert.as_ref().filter(|_| !rows.is_empty()) {
            transaction.execute(upsert, &[&rows]).map_err(refused)?;
            return Ok(());
        }
        let updated = match &self.update {
            Some(update) => execute(transaction, update, rows).map_err(refused)?,
            None => 0,
        };
        if updated < rows.len() as u64 {
            execute(transaction, &self.insert_missing, rows).map_err(refused)?;
        }
        Ok(())
    }

    /// Inserts rows that are new.
    fn insert_new(&self, transaction: &mut Transaction<'_>, rows: &[&str]) -> Result<()> {
        if !rows.is_empty() {
            transaction.execute(&self.insert, &[&rows]).map_err(|error| self.explain(error, "write to"))?;
        }
        Ok(())
    }

    /// Inserts rows whose keys do not exist, with what was kept of them.
    fn insert(&self, transaction: &mut Transaction<'_>, rows: &[&str]) -> Result<()> {
        let Some(own) = &self.own_columns else { return self.insert_new(transaction, rows) };
        for statement in [&own.insert_kept, &own.insert_new] {
            transaction
                .execute(statement.as_str(), &[&rows])
                .map_err(|error| self.explain(error, "write to"))?;
        }
        Ok(())
    }
}

/// Executes a statement that finds rows by key. Returns how many it writes.
fn execute(transaction: &mut Transaction<'_>, sql: &str, texts: &[&str]) -> Result<u64, postgres::Error> {
    if texts.is_empty() {
        return Ok(0);
    }
    transaction.execute_typed(sql, &[(&texts, Type::TEXT_ARRAY)])
}

pub(super) fn keys<'a>(states: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<&'a str> {
    states.map(|(key, _)| *key).collect()
}

fn rows<'a>(states: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<&'a str> {
    states.map(|(_, row)| *row).collect()
}
