//! The application's tables in the target: how the last states of their keys are written, set by set.
//!
//! Rows come in the text form that the source gave them. They are cast to a composite type made of
//! the source's column list and the target's column types, so each value is read by its own type.

mod changes;
mod definition;
mod emptying;
mod keys;
mod lacking;
mod own_columns;
mod refusal;
mod session;
mod statements;
mod table;
mod write_mode;

pub(crate) use changes::{EqualKeys, SchemaSegment, TableChanges};
pub(crate) use session::prepare_session;
pub(crate) use write_mode::{Drift, WriteMode};

use anyhow::{Context, Result, anyhow};
use definition::definitions;
use postgres::{GenericClient, Statement, Transaction};
use shared::fault::Fault;
use shared::wire::{Batch, Event, Operation, Shape};
use std::collections::HashMap;
use std::sync::Arc;
use table::Table;

/// The tables met so far in this session.
#[derive(Default)]
pub(crate) struct Tables {
    by_shape: HashMap<Shape, Table>,
    /// Look-ups begun, successful or not: each creates row types under names of its own.
    lookups: usize,
    /// Reads the definitions of some tables.
    definitions: Option<Statement>,
}

impl Tables {
    /// Looks up the tables of `shapes` that are not known yet, and creates the row types for them.
    /// An error that carries [`Fault::Hold`] names what the target lacks, and what to run.
    pub(crate) fn learn<'a>(
        &mut self,
        client: &mut impl GenericClient,
        shapes: impl Iterator<Item = &'a Shape>,
    ) -> Result<()> {
        for shape in shapes {
            if !self.by_shape.contains_key(shape) {
                self.lookups += 1;
                let table = definition::look_up(client, shape, self.lookups)?;
                self.by_shape.insert(shape.clone(), table);
            }
        }
        Ok(())
    }

    /// Forgets what was looked up: tables may have changed since, and row types may have been rolled back.
    pub(crate) fn forget(&mut self) {
        self.by_shape.clear();
    }

    /// Forgets the tables that were altered since they were looked up.
    pub(crate) fn forget_altered(&mut self, client: &mut impl GenericClient) -> Result<()> {
        let relations: Vec<u32> = self.by_shape.values().map(|table| table.relation).collect();
        let current = definitions(client, &mut self.definitions, &relations)?;
        self.by_shape.retain(|_, table| current.get(&table.relation) == Some(&table.definition));
        Ok(())
    }

    /// Fails, so that it is retried, where one of the tables was altered before it was written: rows were
    /// cast to types that its columns do not have any more. From the writes to the end of the transaction
    /// nobody can.
    pub(crate) fn require_unaltered<'a>(
        &mut self,
        transaction: &mut Transaction<'_>,
        written: impl Iterator<Item = &'a Shape>,
    ) -> Result<()> {
        let expected: HashMap<u32, String> = written
            .map(|shape| self.table(shape).map(|table| (table.relation, table.definition.clone())))
            .collect::<Result<_>>()?;
        let relations: Vec<u32> = expected.keys().copied().collect();
        if definitions(transaction, &mut self.definitions, &relations)? == expected {
            return Ok(());
        }
        Err(anyhow!("a table of the target was altered while it was written; retrying").context(Fault::Hold))
    }

    /// Keys that are equal although their text differs (1.0 and 1.00), in the tables that can have such;
    /// usually there are none, and the target is not asked.
    pub(crate) fn equal_keys<'a>(
        &self,
        client: &mut impl GenericClient,
        batches: &'a [Arc<Batch>],
    ) -> Result<EqualKeys<'a>> {
        let mut keys: HashMap<&Shape, Vec<&str>> = HashMap::new();
        for batch in batches {
            let has_variants = |shape: &&Shape| self.by_shape.get(shape).is_some_and(Table::has_key_variants);
            for shape in batch.shapes.iter().filter(has_variants) {
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

    /// Fails, so that the careful way applies the ticks, where a key is gone by an UPDATE that may only have spelt it
    /// otherwise: another part may have the row.
    pub(crate) fn require_whole_keys(&self, batches: &[Arc<Batch>]) -> Result<()> {
        for batch in batches {
            let is_gone = |event: &&Event| event.operation == Operation::Update && event.row.is_none();
            for event in batch.events.iter().filter(is_gone) {
                let table = self.table(batch.shape_of(event)?)?;
                if table.has_key_variants() {
                    let error =
                        anyhow!("a key of {} is gone, and one that is equal to it may not be", table.name);
                    return Err(error.context(Fault::Conflict));
                }
            }
        }
        Ok(())
    }

    /// Fails, so that the careful way applies the ticks, where changes of a part of a tick cannot be written before
    /// the rest is known.
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
            let order = self.parents_before_children(segment.iter().map(|changes| changes.shape))?;
            for changes in order.iter().rev().map(|number| &segment[*number]) {
                let table = self.table(changes.shape)?;
                table.begin(transaction, mode)?;
                drift += table.remove(transaction, changes, mode)?;
            }
            for changes in order.iter().map(|number| &segment[*number]) {
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

    /// The table of a shape that was looked up.
    pub(crate) fn table(&self, shape: &Shape) -> Result<&Table> {
        self.by_shape.get(shape).with_context(|| format!("{} was not looked up", shape.name()))
    }
}
