//! Which events are applied, and how often the target had drifted.

use crate::tables::Drift;
use anyhow::{Context, Result};
use postgres::Transaction;
use shared::wire::Batch;
use std::collections::HashSet;
use std::sync::Arc;
use uuid::Uuid;

/// The ids of some events, each with its tick.
#[derive(Default)]
pub(super) struct EventColumns {
    pub(super) ids: Vec<Uuid>,
    pub(super) ticks: Vec<i64>,
}

impl EventColumns {
    pub(super) fn of(batches: &[Arc<Batch>]) -> EventColumns {
        let mut columns = EventColumns::default();
        for batch in batches {
            columns.ids.extend(batch.events.iter().map(|event| event.event_id));
            columns.ticks.resize(columns.ids.len(), batch.tick.number);
        }
        columns
    }
}

/// Records events as processed; returns those that were recorded before, which must have no effect
/// again. The second line of defence behind the position.
pub(crate) fn record_processed(
    transaction: &mut Transaction<'_>,
    batches: &[Arc<Batch>],
) -> Result<HashSet<Uuid>> {
    let EventColumns { ids, ticks } = EventColumns::of(batches);
    let recorded = transaction
        .query(
            "insert into replication.processed_events (event_id, tick)
             select * from unnest($1::uuid[], $2::bigint[])
             on conflict (event_id) do nothing returning event_id",
            &[&ids, &ticks],
        )
        .context("record processed events")?;
    if recorded.len() == ids.len() {
        return Ok(HashSet::new());
    }
    let new: HashSet<Uuid> = recorded.iter().map(|row| row.get(0)).collect();
    Ok(ids.into_iter().filter(|id| !new.contains(id)).collect())
}

/// Records events as processed. Fails where one of them is recorded already.
pub(crate) fn record_all_processed(transaction: &mut Transaction<'_>, batches: &[Arc<Batch>]) -> Result<()> {
    let EventColumns { ids, ticks } = EventColumns::of(batches);
    transaction
        .execute(
            "insert into replication.processed_events (event_id, tick)
             select * from unnest($1::uuid[], $2::bigint[])",
            &[&ids, &ticks],
        )
        .context("record processed events")?;
    Ok(())
}

/// Counts and logs what shows that somebody else writes to the target.
pub(crate) fn record_drift(transaction: &mut Transaction<'_>, drift: Drift) -> Result<()> {
    if drift == Drift::default() {
        return Ok(());
    }
    let Drift { deletes_missing, inserts_overwritten } = drift;
    log::warn!(
        "somebody else writes to the target: {deletes_missing} rows to be deleted did not exist, {inserts_overwritten} \
         new rows existed already; the source has won (replication.target_drift counts them)"
    );
    transaction
        .execute(
            "update replication.position set deletes_missing = deletes_missing + $1,
                 inserts_overwritten = inserts_overwritten + $2",
            &[&i64::try_from(deletes_missing)?, &i64::try_from(inserts_overwritten)?],
        )
        .context("count the drift")?;
    Ok(())
}
