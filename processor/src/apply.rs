//! Applies whole ticks that are in memory, in the transaction that it is given, where the quick way
//! has failed: step by step, to find out whether other rows were in the way for the moment, whether
//! events were processed before, or whether the target cannot take them.

use crate::changes::{Stretch, reduce};
use crate::inbox;
use crate::refusal::{describe, is_refusal, may_be_replaced};
use crate::tables::{Drift, Tables, Way};
use anyhow::{Context, Result};
use postgres::Transaction;
use shared::wire::Batch;
use std::sync::Arc;

/// Runs `apply` within a savepoint. Returns why the target cannot take what it applies, if it cannot;
/// then nothing of it is done.
pub(crate) fn or_reason<T>(
    transaction: &mut Transaction<'_>,
    what: impl std::fmt::Display,
    apply: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
) -> Result<std::result::Result<T, String>> {
    let mut attempt = transaction.savepoint("apply").context("set a savepoint")?;
    let result = apply(&mut attempt).and_then(|applied| {
        // Whatever would complain at the commit complains here.
        attempt.batch_execute("set constraints all immediate").context("check deferred constraints")?;
        Ok(applied)
    });
    match result {
        Ok(applied) => attempt.commit().context("release the savepoint").map(|()| Ok(applied)),
        Err(error) if is_refusal(&error) => {
            attempt.rollback().context("roll back to the savepoint")?;
            Ok(Err(format!("{what}: {}", describe(&error))))
        }
        Err(error) => Err(error),
    }
}

/// Applies ticks, of which `batches` has all events, and records these as processed.
pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    tables: &mut Tables,
    batches: &[Arc<Batch>],
) -> Result<()> {
    tables.learn(transaction, batches.iter().flat_map(|batch| &batch.shapes))?;
    let done = inbox::record_processed(transaction, batches)?;
    if !done.is_empty() {
        log::error!(
            "{} events of {} were processed before although the position did not say so; they have no effect again",
            done.len(),
            describe_ticks(batches)
        );
    }
    let equal = tables.equal_keys(transaction, batches)?;
    let changes = reduce(batches, &done, &equal);
    let mut attempt = transaction.savepoint("write").context("set a savepoint")?;
    match write(&mut attempt, tables, &changes) {
        Ok(drift) => {
            attempt.commit().context("release the savepoint")?;
            inbox::record_drift(transaction, drift)
        }
        Err(error) if is_refusal(&error) => {
            attempt.rollback().context("roll back to the savepoint")?;
            Err(match tables.find_refused(transaction, &changes)? {
                Some(row) => error.context(row),
                None => error,
            })
        }
        Err(error) => Err(error),
    }
}

fn write(transaction: &mut Transaction<'_>, tables: &mut Tables, changes: &[Stretch<'_>]) -> Result<Drift> {
    let mut attempt = transaction.savepoint("upsert").context("set a savepoint")?;
    match tables.write(&mut attempt, changes, Way::Upsert) {
        Ok(drift) => attempt.commit().context("release the savepoint").map(|()| drift),
        Err(error) if may_be_replaced(&error) => {
            attempt.rollback().context("roll back to the savepoint")?;
            tables.write(transaction, changes, Way::Replace)
        }
        Err(error) => Err(error),
    }
}

/// "tick 7 (…)", or the first and the last number.
pub(crate) fn describe_ticks(batches: &[Arc<Batch>]) -> String {
    match batches {
        [] => "no tick".to_owned(),
        [first, .., last] if first.tick != last.tick => {
            format!("ticks {} to {}", first.tick.number, last.tick.number)
        }
        [first, ..] => format!("tick {}", first.tick),
    }
}
