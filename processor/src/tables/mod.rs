//! The application's tables in the target: how the last states of their keys are written, set by set.
//!
//! Rows come in the text form that the source gave them. They are cast to a composite type made of
//! the source's column list and the target's column types, so each value is read by its own type.

mod look_up;
mod statements;
mod table;

use crate::changes::{EqualKeys, Stretch, TableChanges};
use anyhow::{Context, Result, anyhow};
use postgres::{GenericClient, Statement, Transaction};
use shared::fault::Fault;
use shared::wire::{Batch, Shape};
use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::Arc;
use table::Table;

/// The tables met so far in this session.
#[derive(Default)]
pub(crate) struct Tables {
    by_shape: HashMap<Shape, Table>,
    /// Look-ups begun, successful or not: each makes row types of names of its own.
    lookups: usize,
    /// Reads what some tables look like.
    looks: Option<Statement>,
}

/// What a look-up depends on: names, types and collations of the columns, and the name of the table. Unlike the
/// versions of catalogue rows, it stays as it is where only a constraint or a default changes.
const LOOKS: &str = "
    select a.attrelid,
           pg_catalog.concat_ws(' ', c.relnamespace, c.relname, pg_catalog.string_agg(
               pg_catalog.concat_ws(' ', a.attnum, a.attname, a.atttypid, a.attcollation, a.attgenerated, a.attidentity),
               ',' order by a.attnum))
    from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
    where a.attrelid = any ($1) and a.attnum > 0 and not a.attisdropped
    group by a.attrelid, c.oid";

/// How rows that are there get into their table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Rows born in the source are inserted, others upserted. The quickest way; it fails where the
    /// target has a row that the source did not know of.
    AsInTheSource,
    /// Each row is inserted, or updated where its key is there. It fails where a unique value is on its
    /// way from one row to another.
    Upsert,
    /// Every touched key goes, then the final rows come: no order of rows can collide.
    Replace,
}

/// How often the target was not what the source left there: somebody else writes to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drift {
    /// Rows to be deleted that were gone already.
    pub(crate) deletes_missing: u64,
    /// New rows whose key was there already; looked for on the careful ways only, since a plain insert
    /// fails on them.
    pub(crate) inserts_overwritten: u64,
}

impl AddAssign for Drift {
    fn add_assign(&mut self, other: Drift) {
        self.deletes_missing += other.deletes_missing;
        self.inserts_overwritten += other.inserts_overwritten;
    }
}

impl Tables {
    /// Looks up the tables of `shapes` that are not known yet, and makes the row types for them.
    /// An error that carries [`shared::fault::Fault::Hold`] says what the target lacks, and what to run.
    pub(crate) fn learn<'a>(
        &mut self,
        client: &mut impl GenericClient,
        shapes: impl Iterator<Item = &'a Shape>,
    ) -> Result<()> {
        for shape in shapes {
            if !self.by_shape.contains_key(shape) {
                self.lookups += 1;
                let table = look_up::look_up(client, shape, self.lookups)?;
                self.by_shape.insert(shape.clone(), table);
            }
        }
        Ok(())
    }

    /// Forgets what was looked up: the target's tables may have changed since.
    pub(crate) fn forget(&mut self) {
        self.by_shape.clear();
    }

    /// Forgets the tables that were altered since they were looked up.
    pub(crate) fn forget_altered(&mut self, client: &mut impl GenericClient) -> Result<()> {
        let relations: Vec<u32> = self.by_shape.values().map(|table| table.relation).collect();
        let looks = self.looks(client, &relations)?;
        self.by_shape.retain(|_, table| looks.get(&table.relation) == Some(&table.looks));
        Ok(())
    }

    /// Fails, so that it is done again, where one of the tables was altered before they were written: rows were cast
    /// to types that its columns do not have any more. From the writes to the end of the transaction nobody can.
    pub(crate) fn require_unaltered(
        &mut self,
        transaction: &mut Transaction<'_>,
        stretches: &[Stretch<'_>],
    ) -> Result<()> {
        let written = stretches.iter().flatten().map(|changes| self.table(changes.shape));
        let expected: HashMap<u32, String> = written
            .map(|table| table.map(|table| (table.relation, table.looks.clone())))
            .collect::<Result<_>>()?;
        let relations: Vec<u32> = expected.keys().copied().collect();
        if self.looks(transaction, &relations)? == expected {
            return Ok(());
        }
        Err(anyhow!("a table of the target was altered while it was written; it is done again")
            .context(Fault::Hold))
    }

    fn looks(&mut self, client: &mut impl GenericClient, relations: &[u32]) -> Result<HashMap<u32, String>> {
        if relations.is_empty() {
            return Ok(HashMap::new());
        }
        let looks = match &self.looks {
            Some(statement) => statement.clone(),
            None => self.looks.insert(client.prepare(LOOKS).context("prepare to look at tables")?).clone(),
        };
        let rows = client.query(&looks, &[&relations]).context("look whether tables were altered")?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Keys that differ in their text and are equal all the same (1.0 and 1.00), in the tables that can have
    /// such; usually there are none, and nothing is asked.
    pub(crate) fn equal_keys<'a>(
        &self,
        client: &mut impl GenericClient,
        batches: &'a [Arc<Batch>],
    ) -> Result<EqualKeys<'a>> {
        let mut keys: HashMap<&Shape, Vec<&str>> = HashMap::new();
        for batch in batches {
            let loose = |shape: &&Shape| self.by_shape.get(shape).is_some_and(Table::has_loose_key);
            for shape in batch.shapes.iter().filter(loose) {
                let events = batch.events.iter().filter(|event| event.shape == shape.id);
                keys.entry(shape).or_default().extend(events.filter_map(|event| event.key.as_deref()));
            }
        }
        let mut equal = EqualKeys::default();
        for (shape, mut keys) in keys {
            keys.sort_unstable();
            keys.dedup();
            equal.insert(shape, self.table(shape)?.representatives(client, &keys)?);
        }
        Ok(equal)
    }

    /// Writes the changes, one stretch after the other: first what is to go, children before parents, then what is
    /// there, parents before children. Fails, so that it is done again, where a table was altered before.
    pub(crate) fn write(
        &mut self,
        transaction: &mut Transaction<'_>,
        stretches: &[Stretch<'_>],
        way: Way,
    ) -> Result<Drift> {
        let mut drift = Drift::default();
        for changes in stretches {
            let sorted = self.parents_first(changes)?;
            for (table, changes) in sorted.iter().rev() {
                table.begin(transaction, way)?;
                drift += table.remove(transaction, changes, way)?;
            }
            for (table, changes) in &sorted {
                table.put(transaction, changes, way)?;
            }
        }
        self.require_unaltered(transaction, stretches)?;
        Ok(drift)
    }

    /// The part of [`Tables::write`] before rows go, for one table.
    pub(crate) fn begin(&self, transaction: &mut Transaction<'_>, shape: &Shape, way: Way) -> Result<()> {
        self.table(shape)?.begin(transaction, way)
    }

    /// The part of [`Tables::write`] in which rows go, for one table.
    pub(crate) fn remove(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        way: Way,
    ) -> Result<Drift> {
        self.table(changes.shape)?.remove(transaction, changes, way)
    }

    /// The part of [`Tables::write`] in which rows come, for one table.
    pub(crate) fn put(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &TableChanges<'_>,
        way: Way,
    ) -> Result<()> {
        self.table(changes.shape)?.put(transaction, changes, way)
    }

    /// The table and key of the first row that the target refuses, found by halving the sets. Leaves
    /// behind what it tried: the caller rolls back.
    pub(crate) fn find_refused(
        &self,
        transaction: &mut Transaction<'_>,
        stretches: &[Stretch<'_>],
    ) -> Result<Option<String>> {
        for changes in stretches {
            let sorted = self.parents_first(changes)?;
            for (table, changes) in sorted.iter().rev() {
                table.begin(transaction, Way::Replace)?;
                table.remove(transaction, changes, Way::Replace)?;
            }
            for (table, changes) in sorted {
                let states: Vec<_> = changes.present().copied().collect();
                if let Some(key) = table.find_refused(transaction, &states)? {
                    return Ok(Some(format!("the row is {} of {}", shortened(key), changes.shape.name())));
                }
            }
        }
        Ok(None)
    }

    /// The numbers of the shapes, in the order in which rows are to be put into their tables.
    pub(crate) fn parents_before_children(&self, shapes: &[Shape]) -> Result<Vec<usize>> {
        let changes: Vec<_> = shapes.iter().map(TableChanges::none).collect();
        let sorted = self.parents_first(&changes)?;
        Ok(sorted
            .iter()
            .filter_map(|(_, table)| shapes.iter().position(|shape| shape == table.shape))
            .collect())
    }

    /// The expression by which keys of the shape, as text, are compared; none where their text will do.
    pub(crate) fn loose_key_type(&self, shape: &Shape) -> Result<Option<&str>> {
        self.table(shape).map(Table::loose_key_type)
    }

    fn table(&self, shape: &Shape) -> Result<&Table> {
        self.by_shape.get(shape).with_context(|| format!("{} was not looked up", shape.name()))
    }

    fn parents_first<'a>(
        &'a self,
        changes: &'a [TableChanges<'a>],
    ) -> Result<Vec<(&'a Table, &'a TableChanges<'a>)>> {
        let mut sorted = changes
            .iter()
            .map(|changes| Ok((self.table(changes.shape)?, changes)))
            .collect::<Result<Vec<_>>>()?;
        sorted.sort_by(|(one, _), (other, _)| one.order().cmp(&other.order()));
        Ok(sorted)
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
