//! The careful way to apply: from the inbox, any size and any number of ticks, in SQL. Memory stays flat.
//!
//! The events go into a temporary table, PostgreSQL finds the last state of each key, and these are written
//! part by part: by update, and where other rows are in the way, by delete-insert. Events that were processed
//! before have no effect, transactions that are to be skipped are left out, and a row that PostgreSQL refuses
//! is named.

use super::operator;
use super::staging::Staged;
use super::target::{Target, describe_ticks, position_after};
use crate::inbox::{
    AppliedTick, Entry, StoredBatches, TargetPosition, lock_position, record_drift, record_processed,
};
use crate::tables::{Drift, Tables, WriteMode};
use anyhow::{Context, Error, Result, ensure};
use postgres::Transaction;
use shared::fault::{Fault, fault_of};
use shared::supervisor::Stop;

impl Target {
    /// Applies every complete tick that is in the inbox, or records why it cannot, and returns that.
    pub(super) fn apply_from_inbox(&mut self, stop: &Stop) -> Result<Option<String>> {
        let Some(before) = self.position.clone() else { return Ok(None) };
        let mut transaction = self.client.transaction().context("begin a transaction")?;
        lock_position(&mut transaction, &before)?;
        // Where tables were altered, that may be why the quick way was refused.
        self.tables.forget_altered(&mut transaction)?;
        let tables = &mut self.tables;
        let outcome = or_reason(&mut transaction, |attempt| apply_ticks(attempt, tables, &before, stop))?;
        let (applied, refused) = match outcome {
            Ok(applied) => (applied, None),
            Err(reason) => {
                let ticks = describe_ticks(before.last_applied() + 1, before.last_complete());
                (Vec::new(), Some(format!("{ticks}: {reason}")))
            }
        };
        let after = position_after(&before, &applied);
        let entry =
            Entry { held: refused.as_deref(), applied: &applied, ..Entry::between(Some(&before), &after) };
        self.bookkeeping.write(&mut transaction, &entry)?;
        transaction.commit().context("commit")?;
        self.position = Some(after);
        if refused.is_some() {
            // Row types that were created are rolled back.
            self.tables.forget();
        }
        Ok(refused)
    }
}

/// Runs `apply` within a savepoint. Returns why PostgreSQL refuses, if it does; then nothing of it is done.
fn or_reason<T>(
    transaction: &mut Transaction<'_>,
    apply: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
) -> Result<Result<T, String>> {
    let mut attempt = transaction.savepoint("apply").context("set a savepoint")?;
    let result = apply(&mut attempt).and_then(|applied| {
        // What would fail at the commit fails here.
        attempt.batch_execute("set constraints all immediate").context("check deferred constraints")?;
        Ok(applied)
    });
    match result {
        Ok(applied) => attempt.commit().context("release the savepoint").map(|()| Ok(applied)),
        Err(error) if fault_of(&error).is_refusal() => {
            attempt.rollback().context("roll back to the savepoint")?;
            Ok(Err(in_one_line(&error)))
        }
        Err(error) => Err(error),
    }
}

fn apply_ticks(
    transaction: &mut Transaction<'_>,
    tables: &mut Tables,
    position: &TargetPosition,
    stop: &Stop,
) -> Result<Vec<AppliedTick>> {
    let mut stored = StoredBatches::of_complete_ticks(position);
    let staged = stage(transaction, tables, &mut stored, stop)?;
    let applied = stored.complete_ticks()?;
    staged.find_last_states(transaction, tables)?;
    let drift = write(transaction, tables, &staged, stop)?;
    record_drift(transaction, drift)?;
    tables.require_unaltered(transaction, staged.shapes.iter())?;
    Staged::drop(transaction)?;
    Ok(applied)
}

/// Puts the events into the temporary table: those that are not skipped, and were not processed before.
fn stage(
    transaction: &mut Transaction<'_>,
    tables: &mut Tables,
    stored: &mut StoredBatches,
    stop: &Stop,
) -> Result<Staged> {
    let mut staged = Staged::create(transaction)?;
    let skipped = operator::skipped(transaction)?;
    let mut done_before = 0;
    loop {
        ensure!(!stop.requested(), "a stop is requested");
        let batches = stored.next(transaction)?;
        if batches.is_empty() {
            break;
        }
        let batches = operator::leave_out(transaction, &batches, &skipped)?;
        tables.learn(transaction, batches.iter().flat_map(|batch| &batch.shapes))?;
        let done = record_processed(transaction, &batches)?;
        done_before += done.len();
        staged.add(transaction, tables, &batches, &done)?;
    }
    if done_before > 0 {
        log::error!(
            "{done_before} events were processed before although the position did not say so; they have no effect again"
        );
    }
    Ok(staged)
}

fn write(transaction: &mut Transaction<'_>, tables: &Tables, staged: &Staged, stop: &Stop) -> Result<Drift> {
    let mut attempt = transaction.savepoint("update").context("set a savepoint")?;
    match staged.write(&mut attempt, tables, WriteMode::Update, stop) {
        Ok(drift) => attempt.commit().context("release the savepoint").map(|()| drift),
        Err(error) if fault_of(&error) == Fault::Conflict => {
            attempt.rollback().context("roll back to the savepoint")?;
            staged.write(transaction, tables, WriteMode::DeleteInsert, stop)
        }
        Err(error) => Err(error),
    }
}

/// The error with all that PostgreSQL says about it.
pub(super) fn in_one_line(error: &Error) -> String {
    format!("{error:#}").replace('\n', "; ")
}
