//! What is stored and not applied yet.

use anyhow::{Context, Result};
use inbox_processor::rules::applied::AppliedTick;
use inbox_processor::rules::position::{TargetPosition, from_ordinal};
use inbox_processor::rules::reading::InOrder;
use postgres::{Client, GenericClient};
use shared::wire::Batch;
use std::collections::HashSet;
use std::sync::Arc;

/// A tick with more events is not kept in memory until it is complete.
const LARGE_TICK_EVENTS: i64 = 10_000;
/// Nor is one of which so many bytes of rows wait.
const LARGE_TICK_BYTES: usize = 32 * 1024 * 1024;
/// Batches are read until these have so many events…
const EVENTS_PER_READ: i64 = 4000;
/// …or bytes, and no more of them at once.
const BYTES_PER_READ: i64 = 8 * 1024 * 1024;
const BATCHES_PER_READ: i64 = 64;
/// What waits in the inbox is applied in transactions of about so many events, and at most so many ticks: what a stop
/// interrupts is not lost, and a pause is obeyed in between.
const EVENTS_PER_TRANSACTION: i64 = 200_000;
const TICKS_PER_TRANSACTION: i64 = 10_000;

/// Whether a tick, or what waits of it, is too much to be kept in memory.
fn is_large(events: i64, bytes: usize) -> bool {
    events > LARGE_TICK_EVENTS || bytes > LARGE_TICK_BYTES
}

/// Whether the batches are too much to be kept in memory until their last tick is complete.
pub(crate) fn is_too_much(waiting: &[Arc<Batch>]) -> bool {
    let rows = waiting.iter().flat_map(|batch| &batch.events).filter_map(|event| event.row.as_ref());
    waiting.last().is_some_and(|batch| is_large(batch.total, rows.map(String::len).sum()))
}

/// The batches that wait in the inbox, where they can be kept in memory; none where they are too much.
pub(crate) fn waiting_in_memory(
    client: &mut Client,
    position: &TargetPosition,
) -> Result<Option<Vec<Arc<Batch>>>> {
    let row = client
        .query_one(
            "select coalesce(sum(last_ordinal - first_ordinal + 1), 0)::bigint as events,
                    coalesce(sum(coalesce(octet_length(payload_utf8), octet_length(payload))), 0)::bigint as bytes
             from replication.inbox_batch where tick > $1",
            &[&position.last_applied()],
        )
        .context("measure what is not applied yet")?;
    if is_large(row.get("events"), usize::try_from(row.get::<_, i64>("bytes"))?) {
        return Ok(None);
    }
    let mut stored = StoredBatches::up_to(position, position.received.tick.number);
    let mut waiting = Vec::new();
    loop {
        let batches = stored.next(client)?;
        if batches.is_empty() {
            return Ok((!is_too_much(&waiting)).then_some(waiting));
        }
        waiting.extend(batches);
    }
}

/// Reads the batches that wait in the inbox, a bounded number at a time. Refuses a gap.
pub(crate) struct StoredBatches {
    order: InOrder,
    transactions: u64,
}

impl StoredBatches {
    /// Those of the complete ticks that are applied together: up to about [`EVENTS_PER_TRANSACTION`], and one tick at
    /// least.
    pub(crate) fn of_one_transaction(
        client: &mut impl GenericClient,
        position: &TargetPosition,
    ) -> Result<StoredBatches> {
        let row = client
            .query_one(
                "select coalesce(max(tick) filter (where events_before < $3::bigint), $1 + 1)
                 from (select tick, sum(events) over (order by tick) - events as events_before
                       from (select tick, sum(last_ordinal - first_ordinal + 1) as events from replication.inbox_batch
                             where tick > $1 and tick <= $2 group by tick order by tick limit $4) as next) as measured",
                &[
                    &position.last_applied(),
                    &position.last_complete(),
                    &EVENTS_PER_TRANSACTION,
                    &TICKS_PER_TRANSACTION,
                ],
            )
            .context("measure what waits in the inbox")?;
        Ok(StoredBatches::up_to(position, row.get(0)))
    }

    /// Those of the ticks up to this one.
    pub(crate) fn up_to(position: &TargetPosition, last_tick: i64) -> StoredBatches {
        StoredBatches { order: InOrder::after(position.last_applied(), last_tick), transactions: 0 }
    }

    /// The next batches, without the events that an earlier one has; none at the end.
    pub(crate) fn next(&mut self, client: &mut impl GenericClient) -> Result<Vec<Arc<Batch>>> {
        let (tick, behind) = self.order.read_up_to();
        let rows = client
            .query(
                "select payload, payload_utf8, first_ordinal from (
                     select tick, first_ordinal, payload, payload_utf8,
                            sum(last_ordinal - first_ordinal + 1) over before as events,
                            sum(coalesce(octet_length(payload_utf8), octet_length(payload))) over before as bytes
                     from (select tick, first_ordinal, last_ordinal, payload, payload_utf8 from replication.inbox_batch
                           where (tick, first_ordinal) > ($1, $2) and tick <= $3
                           order by tick, first_ordinal limit $4) as next
                     window before as (order by tick, first_ordinal rows between unbounded preceding and 1 preceding)
                 ) as measured
                 where coalesce(events, 0) < $5::bigint and coalesce(bytes, 0) < $6::bigint
                 order by tick, first_ordinal",
                &[&tick, &behind, &self.order.last_tick(), &BATCHES_PER_READ, &EVENTS_PER_READ, &BYTES_PER_READ],
            )
            .context("read what is not applied yet")?;
        let batches: Vec<Arc<Batch>> = rows
            .iter()
            .map(|row| {
                let payload: Option<&str> = row.get("payload");
                let payload = payload.map_or_else(|| row.get("payload_utf8"), str::as_bytes);
                let batch = from_ordinal(Arc::new(Batch::decode(payload)?), row.get("first_ordinal"));
                self.order.follow(&batch)?;
                Ok(batch)
            })
            .collect::<Result<_>>()?;
        self.transactions += transactions_in(&batches);
        Ok(batches)
    }

    /// Source transactions in what was read; one that spans several reads counts in each.
    pub(crate) fn transactions(&self) -> u64 {
        self.transactions
    }

    /// The ticks that were read. Fails where that was not everything, to the end of the last tick.
    pub(crate) fn complete_ticks(self) -> Result<Vec<AppliedTick>> {
        self.order.complete_ticks()
    }
}

/// How many source transactions the events are of.
pub(crate) fn transactions_in(batches: &[Arc<Batch>]) -> u64 {
    let events = batches.iter().flat_map(|batch| &batch.events);
    events.map(|event| event.txid).collect::<HashSet<i64>>().len() as u64
}
