//! Applies one tick of any size from the inbox, in the transaction that it is given: its events go
//! into a temporary table, the database finds the last state of each key, and these are written part
//! by part. Memory stays flat, and no order of rows can collide.

use crate::changes::TableChanges;
use crate::inbox::{record_drift, record_processed, stored_batches};
use crate::operator;
use crate::refusal::{is_refusal, may_be_replaced};
use crate::tables::{Drift, Tables, Way};
use anyhow::{Context, Result, ensure};
use postgres::{Row, Transaction};
use shared::wire::{Batch, Event, Operation, Shape, TickRef};
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
    let skipped = operator::skipped(transaction)?;
    let mut last: Option<Arc<Batch>> = None;
    loop {
        let behind = last.as_ref().map_or(0, |batch| batch.last());
        let batches = stored_batches(transaction, tick.number, behind, BATCHES_PER_READ)?;
        let Some(batch) = batches.last() else { break };
        last = Some(batch.clone());
        let batches = operator::leave_out(transaction, &batches, &skipped)?;
        tables.learn(transaction, batches.iter().flat_map(|batch| &batch.shapes))?;
        staged.add(transaction, &batches)?;
    }
    let last = last.with_context(|| format!("tick {tick} is not in the inbox"))?;
    ensure!(last.end().is_complete(), "tick {tick} is not in the inbox to its end");
    staged.find_last_states(transaction, tables)?;
    let mut attempt = transaction.savepoint("stored_tick").context("set a savepoint")?;
    match staged.write(&mut attempt, tables, Way::Upsert) {
        Ok(drift) => {
            attempt.commit().context("release the savepoint")?;
            record_drift(transaction, drift)?;
        }
        Err(error) if may_be_replaced(&error) => {
            attempt.rollback().context("roll back to the savepoint")?;
            let drift = staged.write(transaction, tables, Way::Replace)?;
            record_drift(transaction, drift)?;
        }
        Err(error) => return Err(error),
    }
    let written = staged.shapes.iter().map(TableChanges::none).collect();
    tables.require_unaltered(transaction, &[written])?;
    transaction
        .batch_execute("drop table pg_temp.staged, pg_temp.last_state")
        .context("drop what was staged")?;
    Ok(last)
}

/// The events of a tick in a temporary table, which has a number for each shape and stretch of events.
#[derive(Default)]
struct Staged {
    /// By number.
    shapes: Vec<Shape>,
    /// Those that were truncated.
    emptied: Vec<bool>,
    /// Where the last stretch of events begins within which each table has one shape (as in [`crate::changes`]), and
    /// those before it.
    stretches: Vec<usize>,
    events: i64,
}

impl Staged {
    fn create(transaction: &mut Transaction<'_>) -> Result<Staged> {
        transaction
            .batch_execute(
                "create temporary table staged
                     (shape int, n bigint, operation \"char\", key_text text, row_text text) on commit drop",
            )
            .context("make room for the events of a tick")?;
        Ok(Staged { stretches: vec![0], ..Staged::default() })
    }

    fn add(&mut self, transaction: &mut Transaction<'_>, batches: &[Arc<Batch>]) -> Result<()> {
        let done = record_processed(transaction, batches)?;
        let mut columns = Columns::default();
        for batch in batches {
            // Within the stretch.
            let mut numbers: HashMap<i32, i32> = HashMap::new();
            for event in batch.events.iter().filter(|event| !done.contains(&event.event_id)) {
                let number = if let Some(number) = numbers.get(&event.shape) {
                    *number
                } else {
                    let Some(shape) = batch.shapes.iter().find(|shape| shape.id == event.shape) else {
                        continue;
                    };
                    if self.shapes[self.stretch()..].iter().any(|known| known.is_another_form_of(shape)) {
                        self.stretches.push(self.shapes.len());
                        numbers.clear();
                    }
                    *numbers.entry(shape.id).or_insert(self.number(shape)?)
                };
                self.events += 1;
                if event.operation == Operation::Truncate {
                    columns.insert(transaction)?;
                    columns = Columns::default();
                    self.empty(transaction, number)?;
                } else {
                    columns.add(number, self.events, event);
                }
            }
        }
        columns.insert(transaction)
    }

    /// Where the last stretch begins.
    fn stretch(&self) -> usize {
        self.stretches.last().copied().unwrap_or(0)
    }

    fn number(&mut self, shape: &Shape) -> Result<i32> {
        let begin = self.stretch();
        let known = self.shapes[begin..].iter().position(|known| known == shape);
        let number = known.map_or(self.shapes.len(), |known| begin + known);
        if known.is_none() {
            self.shapes.push(shape.clone());
            self.emptied.push(false);
        }
        Ok(i32::try_from(number)?)
    }

    fn empty(&mut self, transaction: &mut Transaction<'_>, shape: i32) -> Result<()> {
        self.emptied[usize::try_from(shape)?] = true;
        transaction
            .execute("delete from pg_temp.staged where shape = $1", &[&shape])
            .context("drop what came before a TRUNCATE")?;
        Ok(())
    }

    fn find_last_states(&self, transaction: &mut Transaction<'_>, tables: &Tables) -> Result<()> {
        for (number, shape) in (0_i32..).zip(&self.shapes) {
            let Some(key_type) = tables.loose_key_type(shape)? else { continue };
            // Of keys that are equal though their text differs, one stands for all.
            transaction
                .execute(
                    &format!(
                        "update pg_temp.staged s set key_text = same.representative
                         from (select key_text, pg_catalog.first_value(key_text)
                                      over (partition by key_text::{key_type} order by key_text) as representative
                               from (select distinct key_text from pg_temp.staged where shape = $1) as keys) as same
                         where s.shape = $1 and s.key_text = same.key_text and s.key_text <> same.representative"
                    ),
                    &[&number],
                )
                .context("compare the keys of a tick")?;
        }
        transaction
            .batch_execute(
                "create temporary table last_state on commit drop as
                     select distinct on (shape, key_text) shape, key_text, row_text,
                            not pg_catalog.bool_or(operation = 'I') over this_key
                            and pg_catalog.first_value(row_text is null) over (this_key order by n) as existed
                     from pg_temp.staged
                     window this_key as (partition by shape, key_text)
                     order by shape, key_text, n desc;
                 analyze pg_temp.last_state",
            )
            .context("find the last state of each key")
    }

    fn write(&self, transaction: &mut Transaction<'_>, tables: &Tables, way: Way) -> Result<Drift> {
        let mut drift = Drift::default();
        for (stretch, begin) in self.stretches.iter().enumerate() {
            let end = self.stretches.get(stretch + 1).copied().unwrap_or(self.shapes.len());
            let order = tables.parents_before_children(&self.shapes[*begin..end])?;
            for number in order.iter().rev() {
                drift += self.remove(transaction, tables, begin + number, way)?;
            }
            for number in &order {
                self.put(transaction, tables, begin + number, way)?;
            }
        }
        Ok(drift)
    }

    fn remove(
        &self,
        transaction: &mut Transaction<'_>,
        tables: &Tables,
        number: usize,
        way: Way,
    ) -> Result<Drift> {
        let shape = &self.shapes[number];
        let mut drift = Drift::default();
        tables.begin(transaction, shape, way)?;
        if self.emptied[number] {
            let changes = TableChanges { emptied: true, ..TableChanges::none(shape) };
            drift += tables.remove(transaction, &changes, way)?;
        }
        Self::in_parts(transaction, number, |transaction, part| {
            let changes = part.changes(shape, self.emptied[number]);
            tables.remove(transaction, &changes, way).map(|part| drift += part)
        })?;
        Ok(drift)
    }

    fn put(&self, transaction: &mut Transaction<'_>, tables: &Tables, number: usize, way: Way) -> Result<()> {
        let shape = &self.shapes[number];
        Self::in_parts(transaction, number, |transaction, part| {
            let changes = part.changes(shape, self.emptied[number]);
            let mut attempt = transaction.savepoint("part").context("set a savepoint")?;
            match tables.put(&mut attempt, &changes, way) {
                Ok(()) => attempt.commit().context("release the savepoint"),
                Err(error) if is_refusal(&error) && !(way == Way::Upsert && may_be_replaced(&error)) => {
                    attempt.rollback().context("roll back to the savepoint")?;
                    let row = tables.find_refused(transaction, &[vec![changes]])?;
                    Err(match row {
                        Some(row) => error.context(row),
                        None => error,
                    })
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Hands the last states of one shape to `each`, a bounded number at a time.
    fn in_parts(
        transaction: &mut Transaction<'_>,
        number: usize,
        mut each: impl FnMut(&mut Transaction<'_>, &Part) -> Result<()>,
    ) -> Result<()> {
        let portal = transaction
            .bind(
                "select key_text, row_text, existed from pg_temp.last_state where shape = $1",
                &[&i32::try_from(number)?],
            )
            .context("read the last states of a tick")?;
        loop {
            let part = transaction
                .query_portal(&portal, STATES_PER_WRITE)
                .context("read the last states of a tick")?;
            if part.is_empty() {
                return Ok(());
            }
            each(transaction, &Part(part))?;
        }
    }
}

/// Some last states, as the database found them.
struct Part(Vec<Row>);

impl Part {
    /// None of an emptied table existed before.
    fn changes<'a>(&'a self, shape: &'a Shape, emptied: bool) -> TableChanges<'a> {
        let mut changes = TableChanges::none(shape);
        for row in &self.0 {
            let (key, state, existed): (&str, Option<&str>, bool) = (row.get(0), row.get(1), row.get(2));
            match state {
                Some(state) if emptied => changes.born.push((key, state)),
                Some(state) => changes.changed.push((key, state)),
                None if existed && !emptied => changes.deleted.push(key),
                None => changes.passing.push(key),
            }
        }
        changes
    }
}

#[derive(Default)]
struct Columns<'a> {
    shapes: Vec<i32>,
    numbers: Vec<i64>,
    operations: Vec<i8>,
    keys: Vec<Option<&'a str>>,
    rows: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn add(&mut self, shape: i32, number: i64, event: &'a Event) {
        self.shapes.push(shape);
        self.numbers.push(number);
        self.operations.push(if event.operation == Operation::Insert { b'I' } else { b'U' }.cast_signed());
        self.keys.push(event.key.as_deref());
        self.rows.push(event.row.as_deref());
    }

    fn insert(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        transaction
            .execute(
                "insert into pg_temp.staged select * from unnest(
                     $1::int[], $2::bigint[], $3::\"char\"[], $4::text[], $5::text[])",
                &[&self.shapes, &self.numbers, &self.operations, &self.keys, &self.rows],
            )
            .context("stage the events of a tick")?;
        Ok(())
    }
}
