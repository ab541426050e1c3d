//! Applies one tick of any size from the inbox, in the transaction that it is given: its events go
//! into a temporary table, the database finds the last state of each key, and these are written part
//! by part. Memory stays flat, and no order of rows can collide.

use crate::changes::TableChanges;
use crate::inbox::{record_processed, stored_batches};
use crate::refusal::is_order_problem;
use crate::tables::{Tables, Way};
use anyhow::{Context, Result};
use postgres::Transaction;
use shared::wire::{Batch, Operation, Shape, TickRef};
use std::collections::HashMap;
use std::sync::Arc;

/// Batches read at once, and states written at once.
const BATCHES_PER_READ: i64 = 8;
const STATES_PER_WRITE: i32 = 5000;

/// Applies the tick; all of it must be stored. Returns its last batch.
pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    tables: &mut Tables,
    tick: TickRef,
) -> Result<Arc<Batch>> {
    let mut staged = Staged::create(transaction)?;
    let mut last: Option<Arc<Batch>> = None;
    loop {
        let behind = last.as_ref().map_or(0, |batch| batch.last());
        let batches = stored_batches(transaction, tick.number, behind, BATCHES_PER_READ)?;
        let Some(batch) = batches.last() else { break };
        last = Some(batch.clone());
        tables.learn(transaction, batches.iter().flat_map(|batch| &batch.shapes))?;
        staged.add(transaction, &batches)?;
    }
    let last = last.with_context(|| format!("tick {tick} is not in the inbox"))?;
    Staged::find_last_states(transaction)?;
    let mut attempt = transaction.savepoint("stored_tick").context("set a savepoint")?;
    match staged.write(&mut attempt, tables, Way::Upsert) {
        Ok(()) => attempt.commit().context("release the savepoint")?,
        Err(error) if is_order_problem(&error) => {
            attempt.rollback().context("roll back to the savepoint")?;
            staged.write(transaction, tables, Way::Replace)?;
        }
        Err(error) => return Err(error),
    }
    transaction
        .batch_execute("drop table pg_temp.staged, pg_temp.last_state")
        .context("drop what was staged")?;
    Ok(last)
}

/// The events of a tick in a temporary table, which has a number for each shape.
#[derive(Default)]
struct Staged {
    shapes: Vec<Shape>,
    /// Shapes that were truncated.
    emptied: Vec<bool>,
    events: i64,
}

impl Staged {
    fn create(transaction: &mut Transaction<'_>) -> Result<Staged> {
        transaction
            .batch_execute(
                "create temporary table staged (shape int, n bigint, key_text text, row_text text) on commit drop",
            )
            .context("make room for the events of a tick")?;
        Ok(Staged::default())
    }

    fn add(&mut self, transaction: &mut Transaction<'_>, batches: &[Arc<Batch>]) -> Result<()> {
        let done = record_processed(transaction, batches)?;
        let mut columns = Columns::default();
        for batch in batches {
            let numbers: HashMap<i32, i32> = batch
                .shapes
                .iter()
                .map(|shape| Ok((shape.id, self.number(shape)?)))
                .collect::<Result<_>>()?;
            for event in batch.events.iter().filter(|event| !done.contains(&event.event_id)) {
                let Some(shape) = numbers.get(&event.shape) else { continue };
                self.events += 1;
                if event.operation == Operation::Truncate {
                    columns.insert(transaction)?;
                    columns = Columns::default();
                    self.empty(transaction, *shape)?;
                } else {
                    columns.add(*shape, self.events, event.key.as_deref(), event.row.as_deref());
                }
            }
        }
        columns.insert(transaction)
    }

    fn number(&mut self, shape: &Shape) -> Result<i32> {
        let number = self.shapes.iter().position(|known| known == shape).unwrap_or_else(|| {
            self.shapes.push(shape.clone());
            self.emptied.push(false);
            self.shapes.len() - 1
        });
        Ok(i32::try_from(number)?)
    }

    fn empty(&mut self, transaction: &mut Transaction<'_>, shape: i32) -> Result<()> {
        self.emptied[usize::try_from(shape)?] = true;
        transaction
            .execute("delete from pg_temp.staged where shape = $1", &[&shape])
            .context("drop what came before a TRUNCATE")?;
        Ok(())
    }

    fn find_last_states(transaction: &mut Transaction<'_>) -> Result<()> {
        transaction
            .batch_execute(
                "create temporary table last_state on commit drop as
                     select distinct on (shape, key_text) shape, key_text, row_text
                     from pg_temp.staged order by shape, key_text, n desc;
                 analyze pg_temp.last_state",
            )
            .context("find the last state of each key")
    }

    fn write(&self, transaction: &mut Transaction<'_>, tables: &Tables, way: Way) -> Result<()> {
        let order = tables.parents_before_children(&self.shapes)?;
        for number in order.iter().rev() {
            self.remove(transaction, tables, *number, way)?;
        }
        for number in &order {
            self.put(transaction, tables, *number, way)?;
        }
        Ok(())
    }

    fn remove(
        &self,
        transaction: &mut Transaction<'_>,
        tables: &Tables,
        number: usize,
        way: Way,
    ) -> Result<()> {
        let shape = &self.shapes[number];
        if self.emptied[number] {
            let changes = TableChanges { emptied: true, ..TableChanges::none(shape) };
            return tables.write(transaction, &[changes], way);
        }
        let only_gone = if way == Way::Replace { "" } else { "and row_text is null" };
        Self::in_parts(transaction, number, only_gone, |transaction, keys, _| {
            let changes = TableChanges { deleted: keys, ..TableChanges::none(shape) };
            tables.write(transaction, &[changes], Way::AsInTheSource)
        })
    }

    fn put(&self, transaction: &mut Transaction<'_>, tables: &Tables, number: usize, way: Way) -> Result<()> {
        let shape = &self.shapes[number];
        Self::in_parts(transaction, number, "and row_text is not null", |transaction, keys, rows| {
            let states: Vec<_> = keys.into_iter().zip(rows.into_iter().flatten()).collect();
            let changes = match way {
                // Every key of these is gone by now.
                Way::Replace => TableChanges { born: states, ..TableChanges::none(shape) },
                _ => TableChanges { changed: states, ..TableChanges::none(shape) },
            };
            tables.write(transaction, &[changes], Way::AsInTheSource)
        })
    }

    /// Hands the last states of one shape to `each`, keys and rows, a bounded number at a time.
    fn in_parts(
        transaction: &mut Transaction<'_>,
        number: usize,
        condition: &str,
        mut each: impl FnMut(&mut Transaction<'_>, Vec<&str>, Vec<Option<&str>>) -> Result<()>,
    ) -> Result<()> {
        let states =
            format!("select key_text, row_text from pg_temp.last_state where shape = $1 {condition}");
        let portal = transaction
            .bind(&states, &[&i32::try_from(number)?])
            .context("read the last states of a tick")?;
        loop {
            let part = transaction
                .query_portal(&portal, STATES_PER_WRITE)
                .context("read the last states of a tick")?;
            if part.is_empty() {
                return Ok(());
            }
            let keys = part.iter().map(|row| row.get(0)).collect();
            let rows = part.iter().map(|row| row.get(1)).collect();
            each(transaction, keys, rows)?;
        }
    }
}

#[derive(Default)]
struct Columns<'a> {
    shapes: Vec<i32>,
    numbers: Vec<i64>,
    keys: Vec<Option<&'a str>>,
    rows: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn add(&mut self, shape: i32, number: i64, key: Option<&'a str>, row: Option<&'a str>) {
        self.shapes.push(shape);
        self.numbers.push(number);
        self.keys.push(key);
        self.rows.push(row);
    }

    fn insert(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        transaction
            .execute(
                "insert into pg_temp.staged select * from unnest($1::int[], $2::bigint[], $3::text[], $4::text[])",
                &[&self.shapes, &self.numbers, &self.keys, &self.rows],
            )
            .context("stage the events of a tick")?;
        Ok(())
    }
}
