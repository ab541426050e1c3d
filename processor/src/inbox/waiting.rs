//! What is stored and not applied yet.

use super::bookkeeping::AppliedTick;
use super::position::{TargetPosition, from_ordinal};
use anyhow::{Context, Result, ensure};
use postgres::{Client, GenericClient};
use shared::wire::Batch;
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
                    coalesce(sum(octet_length(payload)), 0)::bigint as bytes
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
    /// The last event that was read or applied.
    tick: i64,
    ordinal: i64,
    /// Whether that is the last one of its tick.
    at_end_of_tick: bool,
    last_tick: i64,
    complete: Vec<AppliedTick>,
}

impl StoredBatches {
    /// Those of every complete tick.
    pub(crate) fn of_complete_ticks(position: &TargetPosition) -> StoredBatches {
        StoredBatches::up_to(position, position.last_complete())
    }

    /// Those of the ticks up to this one.
    pub(crate) fn up_to(position: &TargetPosition, last_tick: i64) -> StoredBatches {
        StoredBatches {
            tick: position.last_applied(),
            ordinal: 0,
            at_end_of_tick: true,
            last_tick,
            complete: Vec::new(),
        }
    }

    /// The next batches, without the events that an earlier one has; none at the end.
    pub(crate) fn next(&mut self, client: &mut impl GenericClient) -> Result<Vec<Arc<Batch>>> {
        // From the tick that was begun, or else from the next one.
        let (tick, behind) = if self.at_end_of_tick { (self.tick + 1, 0) } else { (self.tick, self.ordinal) };
        let rows = client
            .query(
                "select payload, first_ordinal from (
                     select tick, first_ordinal, payload,
                            sum(last_ordinal - first_ordinal + 1) over before as events, sum(octet_length(payload)) over before as bytes
                     from (select tick, first_ordinal, last_ordinal, payload from replication.inbox_batch
                           where (tick, first_ordinal) > ($1, $2) and tick <= $3
                           order by tick, first_ordinal limit $4) as next
                     window before as (order by tick, first_ordinal rows between unbounded preceding and 1 preceding)
                 ) as measured
                 where coalesce(events, 0) < $5::bigint and coalesce(bytes, 0) < $6::bigint
                 order by tick, first_ordinal",
                &[&tick, &behind, &self.last_tick, &BATCHES_PER_READ, &EVENTS_PER_READ, &BYTES_PER_READ],
            )
            .context("read what is not applied yet")?;
        rows.iter()
            .map(|row| {
                let payload: &str = row.get("payload");
                let batch =
                    from_ordinal(Arc::new(Batch::decode(payload.as_bytes())?), row.get("first_ordinal"));
                self.follow(&batch)?;
                Ok(batch)
            })
            .collect()
    }

    /// The ticks that were read. Fails where that was not everything, to the end of the last tick.
    pub(crate) fn complete_ticks(self) -> Result<Vec<AppliedTick>> {
        ensure!(
            self.tick == self.last_tick && self.at_end_of_tick,
            "the inbox ends at event {} of tick {}, but tick {} is recorded as complete",
            self.ordinal,
            self.tick,
            self.last_tick
        );
        Ok(self.complete)
    }

    fn follow(&mut self, batch: &Batch) -> Result<()> {
        let (tick, first) =
            if self.at_end_of_tick { (self.tick + 1, 1) } else { (self.tick, self.ordinal + 1) };
        ensure!(
            (batch.tick.number, batch.first) == (tick, first),
            "event {first} of tick {tick} is not in the inbox: event {} of tick {} follows",
            batch.first,
            batch.tick.number
        );
        self.tick = tick;
        self.ordinal = batch.last();
        let complete = AppliedTick::ended_by(batch);
        self.at_end_of_tick = complete.is_some();
        self.complete.extend(complete);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::position::tests::batch;

    fn read(batches: &[Batch]) -> Result<Vec<AppliedTick>> {
        let mut stored =
            StoredBatches { tick: 6, ordinal: 0, at_end_of_tick: true, last_tick: 8, complete: Vec::new() };
        for batch in batches {
            stored.follow(batch)?;
        }
        stored.complete_ticks()
    }

    #[test]
    fn ticks_are_read_to_the_end_of_the_last_one() {
        let (begun, ended, next) = (batch(7, 1, 4, 6), batch(7, 5, 6, 6), batch(8, 1, 1, 1));
        let ticks = read(&[begun.clone(), ended.clone(), next.clone()]).unwrap();
        assert_eq!(ticks.iter().map(|applied| applied.tick.number).collect::<Vec<_>>(), [7, 8]);
        assert!(read(&[begun.clone(), ended.clone()]).is_err(), "the last tick is missing");
        assert!(read(&[begun.clone(), ended, batch(8, 1, 1, 2)]).is_err(), "its end is missing");
        assert!(read(&[begun, next.clone()]).is_err(), "the end of a tick before it is missing");
        assert!(read(&[next]).is_err(), "a whole tick is missing");
    }
}
