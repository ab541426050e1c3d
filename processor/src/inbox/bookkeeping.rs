//! The bookkeeping of one transaction: the position, the batches that arrived, what is applied.

use super::position::TargetPosition;
use super::processed::EventColumns;
use super::refusal::Refusal;
use anyhow::{Context, Result, ensure};
use postgres::types::ToSql;
use postgres::{Client, Statement, Transaction};
use shared::wire::{Batch, TickRef};
use std::sync::Arc;
use uuid::Uuid;

/// A batch to be stored: its new events, and the message as received.
pub(crate) struct Stored<'a> {
    /// Without the events that are stored already.
    pub(crate) batch: Arc<Batch>,
    pub(crate) payload: &'a str,
}

/// A tick that is applied in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppliedTick {
    pub(crate) tick: TickRef,
    events: i64,
    taken_at_us: i64,
}

impl AppliedTick {
    /// The tick of which the batch is the last one, if it is.
    pub(crate) fn ended_by(batch: &Batch) -> Option<AppliedTick> {
        batch.end().is_complete().then_some(AppliedTick {
            tick: batch.tick,
            events: batch.total,
            taken_at_us: batch.taken_at_us,
        })
    }
}

/// What one transaction records about itself.
pub(crate) struct Entry<'a> {
    /// The position that the transaction starts from, as this session knows it.
    pub(crate) before: Option<&'a TargetPosition>,
    pub(crate) after: &'a TargetPosition,
    /// Why apply is blocked, where that is found only now.
    pub(crate) held: Option<&'a Refusal>,
    /// Batches that arrived.
    pub(crate) stored: &'a [Stored<'a>],
    /// The ticks that are applied, in order.
    pub(crate) applied: &'a [AppliedTick],
    /// Batches whose events are to be recorded as processed. None where they are recorded already.
    pub(crate) processed: &'a [Arc<Batch>],
}

impl<'a> Entry<'a> {
    /// Moves the position, and nothing else.
    pub(crate) fn between(before: Option<&'a TargetPosition>, after: &'a TargetPosition) -> Entry<'a> {
        Entry { before, after, held: None, stored: &[], applied: &[], processed: &[] }
    }
}

/// Writes entries: the position (moved only from where this session knows it to be, which also locks it), the
/// batches that arrived, the events and ticks that are applied. One statement, one round trip. What blocks
/// apply stays recorded until a tick is applied.
pub(crate) struct Bookkeeping(Statement);

const BOOKKEEPING: &str = "
    with moved as (
        insert into replication.position as p (source, timeline, received_tick, received_id, received_ordinal,
            received_total, applied_tick, applied_id, held_since, held_error, held_txid)
        values ($1, $2, $3, $4, $5, $6, $7, $8, case when $9::text is not null then clock_timestamp() end, $9, $25)
        on conflict (only_row) do update set timeline = excluded.timeline,
            received_tick = excluded.received_tick, received_id = excluded.received_id,
            received_ordinal = excluded.received_ordinal, received_total = excluded.received_total,
            applied_tick = excluded.applied_tick, applied_id = excluded.applied_id,
            held_since = case when excluded.applied_tick is not distinct from p.applied_tick
                              then coalesce(p.held_since, excluded.held_since) end,
            held_error = case when excluded.applied_tick is not distinct from p.applied_tick
                              then coalesce(excluded.held_error, p.held_error) end,
            held_txid = case when excluded.applied_tick is not distinct from p.applied_tick
                             then case when excluded.held_error is null then p.held_txid else excluded.held_txid end end
        where p.source = $1 and p.received_tick = $10 and p.received_id = $11 and p.received_ordinal = $12
          and p.applied_tick is not distinct from $13
        returning 1
    ), stored as (
        insert into replication.inbox_batch (tick, first_ordinal, last_ordinal, tick_id, payload)
        select * from unnest($14::bigint[], $15::bigint[], $16::bigint[], $17::uuid[], $18::text[])
    ), processed as (
        insert into replication.processed_events (event_id, tick)
        select * from unnest($19::uuid[], $20::bigint[])
    ), applied as (
        insert into replication.applied_tick (tick, tick_id, events, taken_at)
        select tick, tick_id, events, timestamptz 'epoch' + taken_us * interval '1 microsecond'
        from unnest($21::bigint[], $22::uuid[], $23::bigint[], $24::bigint[]) as t (tick, tick_id, events, taken_us)
    )
    select count(*) from moved";

impl Bookkeeping {
    pub(crate) fn prepare(client: &mut Client) -> Result<Bookkeeping> {
        client.prepare(BOOKKEEPING).context("prepare to move the position").map(Bookkeeping)
    }

    /// Fails when the position is not where this session left it: then somebody else has moved it,
    /// and nothing of this transaction may be committed.
    pub(crate) fn write(&self, transaction: &mut Transaction<'_>, entry: &Entry<'_>) -> Result<()> {
        let after = entry.after;
        let before = entry.before.map(|before| before.received);
        let applied_before = entry.before.and_then(|before| before.applied);
        let stored = StoredColumns::of(entry.stored);
        let events = EventColumns::of(entry.processed);
        let ticks = TickColumns::of(entry.applied);
        require_consecutive(applied_before, &ticks.ticks)?;
        require_complete(applied_before, &ticks.ticks, after.applied)?;
        let parameters: [&(dyn ToSql + Sync); 25] = [
            &after.source,
            &after.timeline,
            &after.received.tick.number,
            &after.received.tick.id,
            &after.received.ordinal,
            &after.received.total,
            &after.applied.map(|applied| applied.number),
            &after.applied.map(|applied| applied.id),
            &entry.held.map(Refusal::to_string),
            &before.map(|before| before.tick.number),
            &before.map(|before| before.tick.id),
            &before.map(|before| before.ordinal),
            &applied_before.map(|applied| applied.number),
            &stored.ticks,
            &stored.first,
            &stored.last,
            &stored.tick_ids,
            &stored.payloads,
            &events.ids,
            &events.ticks,
            &ticks.ticks,
            &ticks.ids,
            &ticks.events,
            &ticks.taken_us,
            &entry.held.and_then(|held| held.txid),
        ];
        let moved: i64 = transaction.query_one(&self.0, &parameters).context("move the position")?.get(0);
        ensure!(moved == 1, "the position is not where this session left it; reading it again");
        Ok(())
    }
}

/// Refuses to skip a tick: it would never be applied, and nothing would show it.
fn require_consecutive(applied: Option<TickRef>, ticks: &[i64]) -> Result<()> {
    let mut last = applied.map_or(0, |applied| applied.number);
    for tick in ticks {
        ensure!(
            *tick == last + 1,
            "tick {tick} was to be applied after tick {last}; reading the position again"
        );
        last = *tick;
    }
    Ok(())
}

/// The position moves to the last of the ticks that are applied in full, or stays: everything up to it counts
/// as applied, and is confirmed.
fn require_complete(before: Option<TickRef>, ticks: &[i64], after: Option<TickRef>) -> Result<()> {
    let expected = ticks.last().copied().or(before.map(|before| before.number));
    let claimed = after.map(|after| after.number);
    ensure!(
        claimed == expected,
        "the position was to move to tick {}, but ticks are applied in full up to {}; reading the position again",
        claimed.unwrap_or(0),
        expected.unwrap_or(0)
    );
    Ok(())
}

struct StoredColumns<'a> {
    ticks: Vec<i64>,
    first: Vec<i64>,
    last: Vec<i64>,
    tick_ids: Vec<Uuid>,
    payloads: Vec<&'a str>,
}

impl<'a> StoredColumns<'a> {
    fn of(stored: &[Stored<'a>]) -> StoredColumns<'a> {
        let batches = || stored.iter().map(|stored| &stored.batch);
        StoredColumns {
            ticks: batches().map(|batch| batch.tick.number).collect(),
            first: batches().map(|batch| batch.first).collect(),
            last: batches().map(|batch| batch.last()).collect(),
            tick_ids: batches().map(|batch| batch.tick.id).collect(),
            payloads: stored.iter().map(|stored| stored.payload).collect(),
        }
    }
}

struct TickColumns {
    ticks: Vec<i64>,
    ids: Vec<Uuid>,
    events: Vec<i64>,
    taken_us: Vec<i64>,
}

impl TickColumns {
    fn of(applied: &[AppliedTick]) -> TickColumns {
        TickColumns {
            ticks: applied.iter().map(|applied| applied.tick.number).collect(),
            ids: applied.iter().map(|applied| applied.tick.id).collect(),
            events: applied.iter().map(|applied| applied.events).collect(),
            taken_us: applied.iter().map(|applied| applied.taken_at_us).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_moves_only_to_the_last_tick_that_is_applied_in_full() {
        let tick = |number| Some(TickRef { number, id: Uuid::nil() });
        assert!(require_complete(None, &[], None).is_ok());
        assert!(require_complete(tick(3), &[], tick(3)).is_ok());
        assert!(require_complete(tick(3), &[4, 5], tick(5)).is_ok());
        assert!(require_complete(None, &[1], tick(1)).is_ok());
        // A tick that lacks its last batch is not among those that are applied in full.
        assert!(require_complete(tick(3), &[], tick(4)).is_err());
        assert!(require_complete(tick(3), &[4], tick(5)).is_err());
        assert!(require_complete(tick(3), &[4], tick(3)).is_err());
        assert!(require_complete(tick(3), &[], None).is_err());
    }
}
