//! The quick way to apply: in memory, group by group, rows inserted where they are new in the source. A few
//! round trips for each group. Where PostgreSQL refuses, nothing is done, and the ticks are applied [from the
//! inbox](super::from_inbox).

use super::attempt::Applied;
use super::judged::Judged;
use super::last_states::reduce;
use super::operator;
use super::target::{Target, describe_ticks};
use crate::inbox::{
    self, Bookkeeping, Entry, StoredBatches, lock_position, record_all_processed, record_drift,
};
use crate::metrics::METRICS;
use crate::tables::{Drift, SchemaSegment, Tables, WriteMode};
use anyhow::{Context, Error, Result, ensure};
use inbox_processor::rules::applied::{AppliedTick, position_after};
use inbox_processor::rules::position::TargetPosition;
use postgres::Transaction;
use shared::fault::{Fault, fault_of};
use shared::supervisor::Stop;
use shared::wire::Batch;
use std::sync::Arc;
use std::time::Instant;

impl Target {
    /// Stores a group of messages and applies the `complete` ticks, of which all batches are given. False
    /// where PostgreSQL refuses.
    pub(super) fn apply_from_memory(&mut self, judged: &Judged<'_>, complete: &[Arc<Batch>]) -> Result<bool> {
        match self.tables.learn(&mut self.client, complete.iter().flat_map(|batch| &batch.shapes)) {
            Ok(()) => {}
            Err(error) if needs_care(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        let Some(position) = &judged.reception.position else {
            // Nothing has ever arrived: there is no position to move.
            return Ok(judged.set_aside.messages.is_empty());
        };
        let applied: Vec<AppliedTick> =
            complete.iter().filter_map(|batch| AppliedTick::ended_by(batch)).collect();
        let after = position_after(position, &applied);
        let entry = Entry {
            stored: &judged.stored,
            applied: &applied,
            processed: complete,
            ..Entry::between(self.position.as_ref(), &after)
        };
        let begun = Instant::now();
        let mut transaction = self.client.transaction().context("begin a transaction")?;
        let written = inbox::quarantine(&mut transaction, &judged.set_aside.messages)
            .and_then(|()| self.bookkeeping.write(&mut transaction, &entry))
            .and_then(|()| {
                shared::kill_point::reached("inbox_written");
                let states = last_states(&mut transaction, &mut self.tables, complete)?;
                let drift = self.tables.write(&mut transaction, &states, WriteMode::Insert)?;
                shared::kill_point::reached("applied");
                record_drift(&mut transaction, drift)
            });
        match end(transaction, written) {
            Ok(()) => {
                METRICS.applied(&applied, inbox::transactions_in(complete), begun.elapsed());
                self.position = Some(after);
                Ok(true)
            }
            Err(error) if needs_care(&error) => {
                let ticks = describe_ticks(position.last_applied() + 1, after.last_applied());
                log::debug!("{ticks}: the quick apply was refused: {error:#}");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Applies complete ticks that are in the inbox, as many as belong into one transaction. False where PostgreSQL refuses.
    pub(super) fn apply_from_inbox_quickly(&mut self, stop: &Stop) -> Result<bool> {
        let Some(before) = &self.position else { return Ok(true) };
        let begun = Instant::now();
        let mut transaction = self.client.transaction().context("begin a transaction")?;
        lock_position(&mut transaction, before)?;
        // While the position is locked, no order comes.
        if operator::skips_are_open(&mut transaction)? {
            transaction.rollback().context("roll back")?;
            return Ok(false);
        }
        let written = write_groups(&mut transaction, &mut self.tables, &self.bookkeeping, before, stop);
        match end(transaction, written) {
            Ok((after, applied)) => {
                METRICS.applied(&applied.ticks, applied.transactions, begun.elapsed());
                self.position = Some(after);
                Ok(true)
            }
            Err(error) if needs_care(&error) => {
                // Row types that were created are rolled back.
                self.tables.forget();
                let (first, last) = (before.last_applied() + 1, before.last_complete());
                log::warn!(
                    tick = (first == last).then_some(first),
                    error = super::attempt::in_one_line(&error).as_str();
                    "{}: the quick apply was refused; applying from the inbox by staging",
                    describe_ticks(first, last)
                );
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

fn write_groups(
    transaction: &mut Transaction<'_>,
    tables: &mut Tables,
    bookkeeping: &Bookkeeping,
    before: &TargetPosition,
    stop: &Stop,
) -> Result<(TargetPosition, Applied)> {
    let mut stored = StoredBatches::of_one_transaction(transaction, before)?;
    let mut drift = Drift::default();
    loop {
        ensure!(!stop.requested(), "a stop is requested");
        let group = stored.next(transaction)?;
        if group.is_empty() {
            break;
        }
        tables.learn(transaction, group.iter().flat_map(|batch| &batch.shapes))?;
        record_all_processed(transaction, &group)?;
        tables.require_whole_keys(&group)?;
        let states = last_states(transaction, tables, &group)?;
        tables.require_writable_in_parts(&states)?;
        drift += tables.write(transaction, &states, WriteMode::Insert)?;
        shared::kill_point::reached("large_tick_half_applied");
    }
    let applied = Applied { transactions: stored.transactions(), ticks: stored.complete_ticks()? };
    let after = position_after(before, &applied.ticks);
    bookkeeping
        .write(transaction, &Entry { applied: &applied.ticks, ..Entry::between(Some(before), &after) })?;
    record_drift(transaction, drift)?;
    Ok((after, applied))
}

fn last_states<'a>(
    transaction: &mut Transaction<'_>,
    tables: &mut Tables,
    batches: &'a [Arc<Batch>],
) -> Result<Vec<SchemaSegment<'a>>> {
    tables.guard(transaction, batches.iter().flat_map(|batch| &batch.shapes))?;
    let equal = tables.equal_keys(transaction, batches)?;
    Ok(reduce(batches, &equal))
}

fn end<T>(transaction: Transaction<'_>, written: Result<T>) -> Result<T> {
    match written {
        Ok(value) => transaction.commit().context("commit").map(|()| value),
        Err(error) => transaction.rollback().context("roll back").and(Err(error)),
    }
}

/// Whether the careful way may get on: it writes in smaller parts, and other rows first where these are in
/// the way.
fn needs_care(error: &Error) -> bool {
    let fault = fault_of(error);
    fault.is_refusal() || fault == Fault::OutOfTime
}
