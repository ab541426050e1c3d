//! Applies whole ticks in the transaction that it is given: all of it, or nothing and the reason.

use crate::changes::reduce;
use crate::inbox;
use crate::tables::{Tables, Way};
use anyhow::{Context, Result};
use postgres::Transaction;
use postgres::error::{DbError, SqlState};
use shared::wire::Batch;
use std::collections::HashSet;

/// Applies whole ticks. Returns why the target cannot take them, if it cannot; then nothing of
/// them is done.
pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    batches: &[Batch],
) -> Result<Option<String>> {
    let mut attempt = transaction.savepoint("apply").context("set a savepoint")?;
    let result = apply_ticks(&mut attempt, tables, batches);
    match result {
        Ok(()) => attempt.commit().context("release the savepoint").map(|()| None),
        Err(error) if target_refuses(&error) => {
            attempt.rollback().context("roll back to the savepoint")?;
            let ticks = describe_ticks(batches);
            Ok(Some(format!("{ticks}: {error:#}{}", detail(&error))))
        }
        Err(error) => Err(error),
    }
}

fn apply_ticks(transaction: &mut Transaction<'_>, tables: &Tables, batches: &[Batch]) -> Result<()> {
    let done: HashSet<_> = inbox::record_processed(transaction, batches)?;
    if !done.is_empty() {
        log::error!(
            "{} events of {} were processed before although the position did not say so; they have no effect again",
            done.len(),
            describe_ticks(batches)
        );
    }
    let changes = reduce(batches, &done);
    let mut attempt = transaction.savepoint("upsert").context("set a savepoint")?;
    match tables.write(&mut attempt, &changes, Way::Upsert) {
        Ok(()) => attempt.commit().context("release the savepoint")?,
        Err(error) if order_matters(&error) => {
            attempt.rollback().context("roll back to the savepoint")?;
            tables.write(transaction, &changes, Way::Replace)?;
        }
        Err(error) => return Err(error),
    }
    inbox::record_applied(transaction, batches)
}

fn describe_ticks(batches: &[Batch]) -> String {
    match batches {
        [] => "no tick".to_owned(),
        [first, .., last] if first.tick != last.tick => {
            format!("ticks {} to {}", first.tick.number, last.tick.number)
        }
        [first, ..] => format!("tick {}", first.tick),
    }
}

fn database_error(error: &anyhow::Error) -> Option<&DbError> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<postgres::Error>())
        .and_then(postgres::Error::as_db_error)
}

/// A unique value may be on its way from one row to another, or the key cannot be an arbiter.
fn order_matters(error: &anyhow::Error) -> bool {
    database_error(error).is_some_and(|error| {
        [
            SqlState::UNIQUE_VIOLATION,
            SqlState::EXCLUSION_VIOLATION,
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        ]
        .contains(error.code())
    })
}

/// Whether the server rejected the data, rather than being in trouble itself.
fn target_refuses(error: &anyhow::Error) -> bool {
    const DATA_AND_SCHEMA: [&str; 9] = ["0A", "21", "22", "23", "42", "44", "2F", "38", "P0"];
    const OWN_STATE: [&str; 1] = ["55000"];
    database_error(error).is_some_and(|error| {
        let code = error.code().code();
        DATA_AND_SCHEMA.iter().any(|class| code.starts_with(class)) || OWN_STATE.contains(&code)
    })
}

fn detail(error: &anyhow::Error) -> String {
    let detail = database_error(error).and_then(DbError::detail);
    detail.map(|detail| format!(" ({detail})")).unwrap_or_default()
}
