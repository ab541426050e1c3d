//! What operators decide while apply is blocked: retry now, or leave a source transaction out, on record.

use anyhow::{Context, Result};
use postgres::{Client, GenericClient, Transaction};
use shared::wire::{Batch, Event};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A number that changes whenever `replication.retry_hold` is called.
pub(super) fn retry_requests(client: &mut Client) -> Result<i64> {
    let row = client
        .query_one("select last_value + is_called::int from replication.retry_wanted", &[])
        .context("check for a retry request")?;
    Ok(row.get(0))
}

/// The source transactions that are to be skipped. Read them once for each attempt: an order that comes in
/// the middle of one would leave out only a part of the transaction.
pub(super) fn skipped(transaction: &mut Transaction<'_>) -> Result<HashSet<i64>> {
    let rows = transaction
        .query(
            "select s.txid from replication.skipped_transaction s join replication.position p using (source)
             where s.applied_tick is null or s.applied_tick > coalesce(p.applied_tick, 0)",
            &[],
        )
        .context("read which transactions are to be skipped")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether an order to skip a transaction is pending.
pub(super) fn skips_are_open(client: &mut impl GenericClient) -> Result<bool> {
    let row = client
        .query_one(
            "select exists (select from replication.skipped_transaction s join replication.position p using (source)
                            where s.applied_tick is null)",
            &[],
        )
        .context("check for orders to skip a transaction")?;
    Ok(row.get(0))
}

/// The batches without the events of the transactions `skipped`. Records what is left out, in the transaction
/// that applies the rest. A batch of which nothing is left stays, empty.
pub(super) fn leave_out(
    transaction: &mut Transaction<'_>,
    batches: &[Arc<Batch>],
    skipped: &HashSet<i64>,
) -> Result<Vec<Arc<Batch>>> {
    if skipped.is_empty() {
        return Ok(batches.to_vec());
    }
    let mut left_out: HashMap<i64, (i64, Vec<Event>)> = HashMap::new();
    let rest = batches
        .iter()
        .map(|batch| {
            rest_of(batch, |event| {
                let keep = !skipped.contains(&event.txid);
                if !keep {
                    left_out
                        .entry(event.txid)
                        .or_insert((batch.tick.number, Vec::new()))
                        .1
                        .push(event.clone());
                }
                keep
            })
        })
        .collect();
    for (txid, (tick, events)) in left_out {
        let count = events.len();
        log::error!(tick, txid; "skipped {count} events of transaction {txid} in tick {tick}, as ordered");
        transaction
            .execute(
                "update replication.skipped_transaction s
                 set applied_tick = $2, events = coalesce(s.events, '[]') || replication.text_for_people($3)::jsonb
                 from replication.position p where s.source = p.source and s.txid = $1",
                &[&txid, &tick, &serde_json::to_vec(&events)?],
            )
            .context("record what is left out")?;
    }
    Ok(rest)
}

/// The batches with the events of the transactions `only`.
pub(super) fn keep_only(batches: &[Arc<Batch>], only: &HashSet<i64>) -> Vec<Arc<Batch>> {
    batches.iter().map(|batch| rest_of(batch, |event| only.contains(&event.txid))).collect()
}

fn rest_of(batch: &Arc<Batch>, keep: impl FnMut(&Event) -> bool) -> Arc<Batch> {
    let mut rest = Batch::clone(batch);
    rest.events.retain(keep);
    if rest.events.len() == batch.events.len() {
        return batch.clone();
    }
    // What the target lacks only for events that are left out does not block.
    rest.shapes.retain(|shape| rest.events.iter().any(|event| event.shape == shape.id));
    Arc::new(rest)
}
