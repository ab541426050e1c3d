//! The last state of each key, as PostgreSQL finds it among the [staged events](super::staging), and how
//! these are written, part by part.
//!
//! It finds what [`super::last_states`] finds in memory. A property test compares the two.

use super::staging::Staged;
use crate::tables::{Drift, TableChanges, Tables, WriteMode};
use anyhow::{Context, Error, Result, ensure};
use postgres::{Row, Transaction};
use shared::fault::{Fault, fault_of};
use shared::supervisor::Stop;
use shared::wire::Shape;

const STATES_PER_WRITE: i32 = 5000;

impl Staged {
    pub(super) fn find_last_states(&self, transaction: &mut Transaction<'_>, tables: &Tables) -> Result<()> {
        for (number, shape) in (0_i32..).zip(&self.shapes) {
            let Some(key_type) = tables.table(shape)?.key_variants_type() else { continue };
            // Of keys that are equal although their text differs, one represents all.
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
                .context("compare the staged keys")?;
        }
        transaction
            .batch_execute(
                "create temporary table last_state on commit drop as
                     select distinct on (shape, key_text) shape, key_text, row_text,
                            pg_catalog.first_value(operation = 'I') over (this_key order by n) as born,
                            not pg_catalog.bool_or(operation = 'I') over this_key
                            and pg_catalog.first_value(row_text is null) over (this_key order by n) as existed
                     from pg_temp.staged
                     window this_key as (partition by shape, key_text)
                     order by shape, key_text, n desc;
                 analyze pg_temp.last_state",
            )
            .context("find the last state of each key")
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
            let order = tables.parents_before_children(self.shapes[segment.clone()].iter())?;
            for number in order.iter().rev() {
                drift += self.remove(transaction, tables, segment.start + number, mode, stop)?;
            }
            for number in order {
                self.put(transaction, tables, segment.start + number, mode, stop)?;
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
        let shape = &self.shapes[number];
        let mut drift = Drift::default();
        let table = tables.table(shape)?;
        table.begin(transaction, mode)?;
        if self.emptied[number] {
            if table.keeps(mode) {
                Self::in_parts(transaction, number, stop, |transaction, part| {
                    table.keep(transaction, &part.changes(shape, true), mode)
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
            table.remove(transaction, &part.changes(shape, false), mode).map(|part| drift += part)
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
        let shape = &self.shapes[number];
        let table = tables.table(shape)?;
        Self::in_parts(transaction, number, stop, |transaction, part| {
            let changes = part.changes(shape, self.emptied[number]);
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
    /// No key of an emptied table existed before.
    fn changes<'a>(&'a self, shape: &'a Shape, emptied: bool) -> TableChanges<'a> {
        let mut changes = TableChanges::none(shape);
        for row in &self.0 {
            let (key, state): (&str, Option<&str>) = (row.get("key_text"), row.get("row_text"));
            match state {
                Some(state) if emptied || row.get("born") => changes.born.push((key, state)),
                Some(state) => changes.changed.push((key, state)),
                None if !emptied && row.get("existed") => changes.deleted.push(key),
                None => changes.passing.push(key),
            }
        }
        changes
    }
}
