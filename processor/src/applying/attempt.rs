//! One attempt to apply ticks from the inbox, within a savepoint.

use super::operator;
use super::staging::Staged;
use crate::inbox::{StoredBatches, record_drift, record_processed};
use crate::tables::{Drift, RefusedRow, Tables, WriteMode};
use anyhow::{Context, Error, Result, ensure};
use inbox_processor::rules::applied::AppliedTick;
use inbox_processor::rules::position::TargetPosition;
use postgres::Transaction;
use shared::fault::{Fault, fault_of};
use shared::supervisor::Stop;
use std::collections::HashSet;

/// What follows when a statement runs into its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutOfTime {
    /// The session ends, and the statements of the next one have more time.
    EndsSession,
    /// It counts as refused: more time did not help.
    Blocks,
}

/// Why PostgreSQL refuses.
pub(super) struct Refused {
    pub(super) error: String,
    /// The row that is refused, where one can be named.
    pub(super) row: Option<RefusedRow>,
}

/// What is to be applied.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    /// The ticks after those that are applied here…
    pub(super) before: &'a TargetPosition,
    /// …up to this one.
    pub(super) up_to: i64,
    /// Only the events of these source transactions, to find out which one is refused; all of them otherwise.
    pub(super) only: Option<&'a HashSet<i64>>,
    pub(super) out_of_time: OutOfTime,
    pub(super) stop: &'a Stop,
}

/// What an attempt has applied.
#[derive(Default)]
pub(super) struct Applied {
    pub(super) ticks: Vec<AppliedTick>,
    /// Source transactions.
    pub(super) transactions: u64,
}

impl Attempt<'_> {
    pub(super) fn is_of_one_tick(&self) -> bool {
        self.up_to == self.before.last_applied() + 1
    }

    /// Applies the ticks. Returns why PostgreSQL refuses, if it does; then nothing of it is done.
    pub(super) fn run(
        &self,
        transaction: &mut Transaction<'_>,
        tables: &mut Tables,
    ) -> Result<Result<Applied, Refused>> {
        let mut attempt = transaction.savepoint("apply").context("set a savepoint")?;
        let result = self.apply(&mut attempt, tables).and_then(|applied| {
            // What would fail at the commit fails here.
            attempt.batch_execute("set constraints all immediate").context("check deferred constraints")?;
            Ok(applied)
        });
        match result {
            Ok(applied) => attempt.commit().context("release the savepoint").map(|()| Ok(applied)),
            Err(error) if self.is_refusal(&error) => {
                attempt.rollback().context("roll back to the savepoint")?;
                // Row types that were created are rolled back.
                tables.forget();
                Ok(Err(Refused {
                    row: error.downcast_ref::<RefusedRow>().cloned(),
                    error: in_one_line(&error),
                }))
            }
            Err(error) => Err(error),
        }
    }

    fn is_refusal(&self, error: &Error) -> bool {
        match fault_of(error) {
            // Fewer ticks take less time.
            Fault::OutOfTime => self.out_of_time == OutOfTime::Blocks || !self.is_of_one_tick(),
            fault => fault.is_refusal(),
        }
    }

    fn apply(&self, transaction: &mut Transaction<'_>, tables: &mut Tables) -> Result<Applied> {
        let mut stored = StoredBatches::up_to(self.before, self.up_to);
        let mut staged = self.stage(transaction, tables, &mut stored)?;
        let applied = Applied { transactions: stored.transactions(), ticks: stored.complete_ticks()? };
        tables.guard(transaction, staged.shapes.iter().map(|staged| &staged.shape))?;
        staged.find_last_states(transaction, tables)?;
        let drift = self.write(transaction, tables, &staged)?;
        record_drift(transaction, drift)?;
        tables.require_unaltered(transaction, staged.shapes.iter().map(|staged| &staged.shape))?;
        Staged::drop(transaction)?;
        Ok(applied)
    }

    /// Puts the events into the temporary table: those that are not skipped, and were not processed before.
    fn stage(
        &self,
        transaction: &mut Transaction<'_>,
        tables: &mut Tables,
        stored: &mut StoredBatches,
    ) -> Result<Staged> {
        let mut staged = Staged::create(transaction)?;
        let skipped = operator::skipped(transaction)?;
        let mut done_before = 0;
        loop {
            ensure!(!self.stop.requested(), "a stop is requested");
            let batches = stored.next(transaction)?;
            if batches.is_empty() {
                break;
            }
            let batches = match self.only {
                None => operator::leave_out(transaction, &batches, &skipped)?,
                Some(only) => operator::keep_only(&batches, only),
            };
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

    fn write(&self, transaction: &mut Transaction<'_>, tables: &Tables, staged: &Staged) -> Result<Drift> {
        let mut attempt = transaction.savepoint("update").context("set a savepoint")?;
        match staged.write(&mut attempt, tables, WriteMode::Update, self.stop) {
            Ok(drift) => attempt.commit().context("release the savepoint").map(|()| drift),
            Err(error) if fault_of(&error) == Fault::Conflict => {
                attempt.rollback().context("roll back to the savepoint")?;
                staged.write(transaction, tables, WriteMode::DeleteInsert, self.stop)
            }
            Err(error) => Err(error),
        }
    }
}

/// The error with all that PostgreSQL says about it.
pub(super) fn in_one_line(error: &Error) -> String {
    format!("{error:#}").replace('\n', "; ")
}
