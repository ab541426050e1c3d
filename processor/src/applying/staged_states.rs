//! The last state of each key, as PostgreSQL finds it among the [staged events](super::staging), and how
//! these are written, part by part.
//!
//! It finds what [`super::last_states`] finds in memory. A property test compares the two.

use super::staging::{Staged, StagedShape};
use crate::tables::{Drift, TableChanges, Tables, WriteMode};
use anyhow::{Context, Error, Result, ensure};
use postgres::{Row, Transaction};
use shared::fault::{Fault, fault_of};
use shared::supervisor::Stop;
use shared::wire::Shape;
use std::collections::{HashMap, HashSet};

const STATES_PER_WRITE: i32 = 5000;

impl Staged {
    /// A key has one last state in a segment, whatever shape the states before had.
    pub(super) fn find_last_states(
        &mut self,
        transaction: &mut Transaction<'_>,
        tables: &Tables,
    ) -> Result<()> {
        for (number, staged) in (0_i32..).zip(&self.shapes) {
            let key_type = tables.key_variants_type(&staged.shape).filter(|_| number == staged.keyed_like);
            if let Some(key_type) = key_type {
                drop_other_keys(transaction, number, key_type)?;
                unite_equal_keys(transaction, number, key_type)?;
            }
        }
        transaction
            .batch_execute(
                "create temporary table last_state on commit drop as
                     select distinct on (keyed_like, key_text) shape, key_text, row_text,
                            pg_catalog.first_value(operation = 'I') over (this_key order by n) as born,
                            not pg_catalog.bool_or(operation = 'I') over this_key
                            and pg_catalog.first_value(row_text is null) over (this_key order by n) as existed
                     from pg_temp.staged
                     window this_key as (partition by keyed_like, key_text)
                     order by keyed_like, key_text, n desc;
                 analyze pg_temp.last_state",
            )
            .context("find the last state of each key")?;
        self.find_written(transaction)?;
        for number in 0..self.shapes.len() {
            self.shapes[number].moved = self.find_moved(transaction, number)?;
        }
        Ok(())
    }

    /// Finds the shapes of which something is written.
    fn find_written(&mut self, transaction: &mut Transaction<'_>) -> Result<()> {
        let rows = transaction
            .query("select distinct shape from pg_temp.last_state", &[])
            .context("look up the shapes of last states")?;
        for staged in &mut self.shapes {
            staged.is_written = staged.is_emptied;
        }
        for row in rows {
            self.shapes[usize::try_from(row.get::<_, i32>(0))?].is_written = true;
        }
        Ok(())
    }

    /// Writes the last states, as [`Tables::write`] does with changes in memory.
    pub(super) fn write(
        &self,
        transaction: &mut Transaction<'_>,
        tables: &Tables,
        mode: WriteMode,
        stop: &Stop,
    ) -> Result<Drift> {
        let mut drift = Drift::default();
        for segment in self.segments() {
            let written: Vec<usize> = segment.filter(|number| self.shapes[*number].is_written).collect();
            let order =
                tables.parents_before_children(written.iter().map(|number| &self.shapes[*number].shape))?;
            for number in order.iter().rev() {
                drift += self.remove(transaction, tables, written[*number], mode, stop)?;
            }
            for number in order {
                self.put(transaction, tables, written[number], mode, stop)?;
            }
        }
        Ok(drift)
    }

    fn remove(
        &self,
        transaction: &mut Transaction<'_>,
        tables: &Tables,
        number: usize,
        mode: WriteMode,
        stop: &Stop,
    ) -> Result<Drift> {
        let StagedShape { shape, is_emptied, .. } = &self.shapes[number];
        let mut drift = Drift::default();
        let table = tables.table(shape)?;
        let moved = self.moved(number);
        table.begin(transaction, mode, &moved)?;
        if *is_emptied {
            if table.keeps(mode) {
                Self::in_parts(transaction, number, stop, |transaction, part| {
                    table.keep(transaction, &part.changes(shape, true, &moved), mode)
                })?;
            }
            if table.replaces_by_difference(mode) {
                const PRESENT: &str =
                    "select key_text from pg_temp.last_state where shape = $1 and row_text is not null";
                table.delete_others(transaction, PRESENT, &i32::try_from(number)?)?;
                return Ok(drift);
            }
            let all = TableChanges { emptied: true, ..TableChanges::none(shape) };
            return table.remove(transaction, &all, mode);
        }
        Self::in_parts(transaction, number, stop, |transaction, part| {
            table.remove(transaction, &part.changes(shape, false, &moved), mode).map(|part| drift += part)
        })?;
        Ok(drift)
    }

    fn put(
        &self,
        transaction: &mut Transaction<'_>,
        tables: &Tables,
        number: usize,
        mode: WriteMode,
        stop: &Stop,
    ) -> Result<()> {
        let StagedShape { shape, is_emptied, .. } = &self.shapes[number];
        let table = tables.table(shape)?;
        let moved = self.moved(number);
        Self::in_parts(transaction, number, stop, |transaction, part| {
            let changes = part.changes(shape, *is_emptied, &moved);
            let mut attempt = transaction.savepoint("part").context("set a savepoint")?;
            match table.put(&mut attempt, &changes, mode) {
                Ok(()) => attempt.commit().context("release the savepoint"),
                Err(error) if is_final(&error, mode) => {
                    attempt.rollback().context("roll back to the savepoint")?;
                    Err(tables.with_refused_row(transaction, &changes, mode, error)?)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// The keys that rows of this shape have got, each with the one that the row had at first.
    fn moved(&self, number: usize) -> Vec<(&str, &str)> {
        self.shapes[number].moved.iter().map(|(key, origin)| (key.as_str(), origin.as_str())).collect()
    }

    /// Finds the moved rows of this shape that exist.
    fn find_moved(&self, transaction: &mut Transaction<'_>, number: usize) -> Result<Vec<(String, String)>> {
        let Some(moves) = self.moves(number)?.filter(|_| !self.shapes[number].is_emptied) else {
            return Ok(Vec::new());
        };
        let keys: Vec<&str> = moves.iter().map(|(key, _)| key.as_str()).collect();
        let rows = transaction
            .query(
                "select key_text from pg_temp.last_state where shape = $1 and row_text is not null and key_text = any ($2)",
                &[&i32::try_from(number)?, &keys],
            )
            .context("look up which moved rows exist")?;
        let present: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
        let pairs = moves.iter().filter(|(key, _)| present.contains(key.as_str()));
        Ok(pairs.map(|(key, origin)| (key.clone(), origin.clone())).collect())
    }

    /// Hands the last states of one shape to `each`, a bounded number at a time.
    fn in_parts(
        transaction: &mut Transaction<'_>,
        number: usize,
        stop: &Stop,
        mut each: impl FnMut(&mut Transaction<'_>, &Part) -> Result<()>,
    ) -> Result<()> {
        let portal = transaction
            .bind(
                "select key_text, row_text, born, existed from pg_temp.last_state where shape = $1",
                &[&i32::try_from(number)?],
            )
            .context("read the last states")?;
        loop {
            ensure!(!stop.requested(), "a stop is requested");
            let part = transaction.query_portal(&portal, STATES_PER_WRITE).context("read the last states")?;
            if part.is_empty() {
                return Ok(());
            }
            each(transaction, &Part(part))?;
        }
    }
}

/// For each text of a key, the one that represents all that are equal to it.
fn representatives(key_type: &str) -> String {
    format!(
        "select key_text, pg_catalog.first_value(key_text)
                over (partition by key_text::{key_type} order by key_text) as representative
         from (select distinct key_text from pg_temp.staged where keyed_like = $1) as texts"
    )
}

/// Drops events by which a key is gone that is not the one of the row that is there by then, but equal to it.
fn drop_other_keys(transaction: &mut Transaction<'_>, keyed_like: i32, key_type: &str) -> Result<()> {
    let drop = format!(
        "with keys as ({}),
              event as (select s.n, s.key_text, s.row_text, s.row_key, keys.representative,
                               pg_catalog.count(s.row_text) over (partition by keys.representative order by s.n) as rows
                        from pg_temp.staged s join keys using (key_text) where s.keyed_like = $1),
              judged as (select n, row_text is null and key_text
                                <> pg_catalog.first_value(row_key) over (partition by representative, rows order by n) as is_of_another_key
                         from event)
         delete from pg_temp.staged s using judged where s.n = judged.n and judged.is_of_another_key",
        representatives(key_type)
    );
    transaction.execute(&drop, &[&keyed_like]).context("drop events of other keys")?;
    Ok(())
}

/// Gives all events of equal keys the same text for it.
fn unite_equal_keys(transaction: &mut Transaction<'_>, keyed_like: i32, key_type: &str) -> Result<()> {
    let unite = format!(
        "update pg_temp.staged s set key_text = keys.representative from ({}) as keys
         where s.keyed_like = $1 and s.key_text = keys.key_text and s.key_text <> keys.representative",
        representatives(key_type)
    );
    transaction.execute(&unite, &[&keyed_like]).context("compare the staged keys")?;
    Ok(())
}

/// Whether PostgreSQL refuses the rows, and no other mode may help.
fn is_final(error: &Error, mode: WriteMode) -> bool {
    match fault_of(error) {
        Fault::Conflict => mode == WriteMode::DeleteInsert,
        fault => fault.is_refusal(),
    }
}

/// Some last states, as PostgreSQL found them.
struct Part(Vec<Row>);

impl Part {
    /// No key of an emptied table existed before. `moved` are all moved rows of the shape.
    fn changes<'a>(
        &'a self,
        shape: &'a Shape,
        emptied: bool,
        moved: &[(&'a str, &'a str)],
    ) -> TableChanges<'a> {
        let origins: HashMap<&str, &str> = moved.iter().copied().collect();
        let left: HashSet<&str> = moved.iter().map(|(_, origin)| *origin).collect();
        let mut changes = TableChanges::none(shape);
        for row in &self.0 {
            let (key, state): (&str, Option<&str>) = (row.get("key_text"), row.get("row_text"));
            let origin = origins.get(key).copied();
            match state {
                Some(state) if origin.is_none() && (emptied || row.get("born")) => {
                    changes.born.push((key, state));
                }
                Some(state) => {
                    changes.changed.push((key, state));
                    changes.moved.extend(origin.map(|origin| (key, origin)));
                }
                // The row has another key now, and was taken away already.
                None if left.contains(key) => changes.passing.push(key),
                None if !emptied && row.get("existed") => changes.deleted.push(key),
                None => changes.passing.push(key),
            }
        }
        changes
    }
}
