//! The application's tables in the target: how the last states of their keys are written, set by set.
//!
//! Rows come in the text form that the source gave them. They are cast to a composite type made of
//! the source's column list and the target's column types, so each value is read by its own type.

mod changes;
mod comparing;
mod definition;
mod emptying;
mod keeping;
mod keys;
mod lacking;
mod own_columns;
mod refusal;
mod session;
mod statements;
mod table;
mod write_mode;

pub(crate) use changes::{EqualKeys, SchemaSegment, TableChanges, ends_before};
pub(crate) use comparing::{Comparable, comparable};
pub(crate) use lacking::hold;
pub(crate) use refusal::{RefusedRow, row_for_people};
pub(crate) use session::{encoding, prepare_session};
pub(crate) use write_mode::{Drift, WriteMode};

use anyhow::{Context, Error, Result, anyhow};
use definition::Look;
use postgres::{GenericClient, Transaction};
use shared::fault::{Fault, fault_of};
use shared::wire::{Batch, Event, Operation, Shape};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use table::Table;

/// The tables met so far in this session.
pub(crate) struct Tables {
    by_shape: HashMap<Shape, Table>,
    /// Why rows of some shapes cannot be written. That matters where a key's last state has such a shape.
    misfits: HashMap<Shape, String>,
    /// Look-ups begun, successful or not: each creates row types under names of its own.
    lookups: usize,
    definitions: Look,
    code: Look,
}

impl Default for Tables {
    fn default() -> Tables {
        Tables {
            by_shape: HashMap::new(),
            misfits: HashMap::new(),
            lookups: 0,
            definitions: Look::at_definitions(),
            code: Look::at_code(),
        }
    }
}

impl Tables {
    /// Looks up the tables of `shapes` that are not known yet, and creates the row types for them. A shape
    /// that the target cannot take fails where a row of it is written, with an error that carries
    /// [`Fault::Hold`] and names what the target lacks, and what to run.
    pub(crate) fn learn<'a>(
        &mut self,
        client: &mut impl GenericClient,
        shapes: impl Iterator<Item = &'a Shape>,
    ) -> Result<()> {
        let mut tried: HashSet<&Shape> = HashSet::new();
        for shape in shapes {
            if self.by_shape.contains_key(shape) || !tried.insert(shape) {
                continue;
            }
            self.lookups += 1;
            self.misfits.remove(shape);
            match definition::look_up(client, shape, self.lookups) {
                Ok(table) => {
                    self.by_shape.insert(shape.clone(), table);
                }
                Err(error) if is_misfit(&error) => {
                    self.misfits.insert(shape.clone(), format!("{error:#}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Forgets what was looked up: tables may have changed since, and row types may have been rolled back.
    pub(crate) fn forget(&mut self) {
        self.by_shape.clear();
        self.misfits.clear();
    }

    /// Forgets the tables that were altered since they were looked up.
    pub(crate) fn forget_altered(&mut self, client: &mut impl GenericClient) -> Result<()> {
        self.misfits.clear();
        let relations: Vec<u32> = self.by_shape.values().map(|table| table.relation).collect();
        let current = self.definitions.take(client, &relations)?;
        self.by_shape.retain(|_, table| current.get(&table.relation) == Some(&table.definition));
        let guarded: Vec<u32> = self.guarded().map(|table| table.relation).collect();
        let code = self.code.take(client, &guarded)?;
        self.by_shape
            .retain(|_, table| table.code.is_none() || code.get(&table.relation) == table.code.as_ref());
        Ok(())
    }

    /// Fails, so that it is retried, where one of the tables was altered before it was written: rows were
    /// cast to types that its columns do not have any more. From the writes to the end of the transaction
    /// nobody can.
    pub(crate) fn require_unaltered<'a>(
        &mut self,
        transaction: &mut Transaction<'_>,
        shapes: impl Iterator<Item = &'a Shape>,
    ) -> Result<()> {
        let known: HashSet<(u32, String)> = shapes
            .filter_map(|shape| self.by_shape.get(shape))
            .map(|table| (table.relation, table.definition.clone()))
            .collect();
        let number = known.len();
        let expected: HashMap<u32, String> = known.into_iter().collect();
        let relations: Vec<u32> = expected.keys().copied().collect();
        // Two shapes of one table may have been looked up before and after it was altered.
        if expected.len() == number && self.definitions.take(transaction, &relations)? == expected {
            return Ok(());
        }
        Err(altered())
    }

    /// Call this before any value is read by the types of these tables, or one of them is written. Locks those whose owners
    /// could put code into them, which would run with the rights of this session, and fails, so that it is retried, where
    /// one was altered since it was looked up.
    pub(crate) fn guard<'a>(
        &mut self,
        transaction: &mut Transaction<'_>,
        shapes: impl Iterator<Item = &'a Shape>,
    ) -> Result<()> {
        let known: HashMap<u32, &Table> = shapes
            .filter_map(|shape| self.by_shape.get(shape))
            .filter(|table| table.code.is_some())
            .map(|table| (table.relation, table))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = known.values().map(|table| table.name.as_str()).collect();
        transaction
            .batch_execute(&format!("lock table {} in row exclusive mode", names.join(", ")))
            .context("lock the tables that are to be written")?;
        let relations: Vec<u32> = known.keys().copied().collect();
        let code = self.code.take(transaction, &relations)?;
        if known.values().all(|table| code.get(&table.relation) == table.code.as_ref()) {
            return Ok(());
        }
        Err(altered())
    }

    /// The tables whose owners could put code into them.
    fn guarded(&self) -> impl Iterator<Item = &Table> {
        self.by_shape.values().filter(|table| table.code.is_some())
    }

    /// Keys that are equal although their text differs (1.0 and 1.00), in the tables that can have such;
    /// usually there are none, and the target is not asked.
    pub(crate) fn equal_keys<'a>(
        &self,
        client: &mut impl GenericClient,
        batches: &'a [Arc<Batch>],
    ) -> Result<EqualKeys<'a>> {
        let mut tables: Vec<(&Shape, &Table, Vec<&str>)> = Vec::new();
        for batch in batches {
            for shape in &batch.shapes {
                let Some(table) = self.with_keys_of(shape).filter(|table| table.has_key_variants()) else {
                    continue;
                };
                let number = tables.iter().position(|(known, ..)| known.has_keys_of(shape));
                let number = number.unwrap_or_else(|| {
                    tables.push((shape, table, Vec::new()));
                    tables.len() - 1
                });
                let events = batch.events.iter().filter(|event| event.shape == shape.id);
                tables[number].2.extend(events.filter_map(|event| event.key.as_deref()));
            }
        }
        let mut equal = EqualKeys::default();
        for (shape, table, mut keys) in tables {
            keys.sort_unstable();
            keys.dedup();
            equal.insert(shape, table.representatives(client, &keys)?);
        }
        Ok(equal)
    }

    /// Fails, so that the careful way applies the ticks, where a key is gone by an UPDATE that may only have
    /// spelt it otherwise, or by one that gave the row another key while the target has values of its own of
    /// it: another part may have the row.
    pub(crate) fn require_whole_keys(&self, batches: &[Arc<Batch>]) -> Result<()> {
        for batch in batches {
            let is_gone = |event: &&Event| event.operation == Operation::Update && event.row.is_none();
            for event in batch.events.iter().filter(is_gone) {
                let Some(table) = self.with_keys_of(batch.shape_of(event)?) else { continue };
                if table.has_key_variants() || table.has_own_columns() && event.moved_to.is_some() {
                    let error = anyhow!("a key of {} is gone, and the row may not be", table.name);
                    return Err(error.context(Fault::Conflict));
                }
            }
        }
        Ok(())
    }

    /// Fails, so that the careful way applies the ticks, where changes of a part of a tick cannot be written
    /// before the rest is known.
    pub(crate) fn require_writable_in_parts(&self, segments: &[SchemaSegment<'_>]) -> Result<()> {
        for changes in segments.iter().flatten().filter(|changes| changes.emptied) {
            let table = self.table(changes.shape)?;
            if table.replaces_by_difference(WriteMode::Insert) {
                let name = &table.name;
                let error =
                    anyhow!("{name} has columns that only the target has, and all of its rows are replaced");
                return Err(error.context(Fault::Conflict));
            }
        }
        Ok(())
    }

    /// Writes the changes, one segment after the other: first deletes, children before parents, then rows,
    /// parents before children. Fails, so that it is retried, where a table was altered before.
    pub(crate) fn write(
        &mut self,
        transaction: &mut Transaction<'_>,
        segments: &[SchemaSegment<'_>],
        mode: WriteMode,
    ) -> Result<Drift> {
        let mut drift = Drift::default();
        for segment in segments {
            let written: Vec<_> = segment.iter().filter(|changes| !changes.is_empty()).collect();
            let order = self.parents_before_children(written.iter().map(|changes| changes.shape))?;
            for changes in order.iter().rev().map(|number| written[*number]) {
                let table = self.table(changes.shape)?;
                table.begin(transaction, mode, &changes.moved)?;
                drift += table.remove(transaction, changes, mode)?;
            }
            for changes in order.iter().map(|number| written[*number]) {
                self.table(changes.shape)?.put(transaction, changes, mode)?;
            }
        }
        self.require_unaltered(transaction, segments.iter().flatten().map(|changes| changes.shape))?;
        Ok(drift)
    }

    /// The numbers of the shapes, in the order in which rows are to be put into their tables.
    pub(crate) fn parents_before_children<'a>(
        &self,
        shapes: impl Iterator<Item = &'a Shape>,
    ) -> Result<Vec<usize>> {
        let tables = shapes.map(|shape| self.table(shape)).collect::<Result<Vec<_>>>()?;
        let mut order: Vec<usize> = (0..tables.len()).collect();
        order.sort_by(|one, other| tables[*one].order().cmp(&tables[*other].order()));
        Ok(order)
    }

    /// The table of a shape that was looked up. Fails where the target cannot take rows of it.
    pub(crate) fn table(&self, shape: &Shape) -> Result<&Table> {
        if let Some(misfit) = self.misfits.get(shape) {
            return Err(hold(misfit.clone()));
        }
        self.by_shape.get(shape).with_context(|| format!("{} was not looked up", shape.name()))
    }

    /// The table of a shape, or of another one that has its keys; none where the target can take neither.
    fn with_keys_of(&self, shape: &Shape) -> Option<&Table> {
        let of_others = || self.by_shape.iter().find(|(known, _)| known.has_keys_of(shape));
        self.by_shape.get(shape).or_else(|| of_others().map(|(_, table)| table))
    }

    /// The type by which the keys of a shape, as text, are compared; none where equal keys have equal text,
    /// or where no shape with these keys can be written.
    pub(crate) fn key_variants_type(&self, shape: &Shape) -> Option<&str> {
        self.with_keys_of(shape)?.key_variants_type()
    }

    /// Whether the table has columns that the source does not know.
    pub(crate) fn has_own_columns(&self, shape: &Shape) -> bool {
        self.with_keys_of(shape).is_some_and(Table::has_own_columns)
    }

    /// Whether equal keys of a shape certainly have equal text.
    pub(crate) fn has_textual_keys(&self, shape: &Shape) -> bool {
        self.with_keys_of(shape).is_some_and(|table| !table.has_key_variants())
    }
}

/// What makes the ticks be tried again, with what the tables are now.
fn altered() -> Error {
    anyhow!("a table of the target was altered while it was written; retrying").context(Fault::Hold)
}

/// Whether the target lacks something. PostgreSQL has not refused anything, so the transaction can continue.
fn is_misfit(error: &Error) -> bool {
    fault_of(error) == Fault::Hold
        && error.chain().all(|cause| cause.downcast_ref::<postgres::Error>().is_none())
}
