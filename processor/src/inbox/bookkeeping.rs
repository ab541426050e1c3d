//! The bookkeeping of one transaction: the position, the batches that arrived, what is applied.

use super::processed::EventColumns;
use super::refusal::Refusal;
use crate::tables::encoding;
use anyhow::{Context, Result, ensure};
use inbox_processor::rules::applied::{AppliedTick, require_applied};
use inbox_processor::rules::position::TargetPosition;
use postgres::types::ToSql;
use postgres::{Client, Statement, Transaction};
use shared::wire::{Batch, Snapshot};
use std::sync::Arc;
use uuid::Uuid;

/// A batch to be stored: its new events, and the message as received.
pub(crate) struct Stored<'a> {
    /// Without the events that are stored already.
    pub(crate) batch: Arc<Batch>,
    pub(crate) payload: &'a str,
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
pub(crate) struct Bookkeeping {
    statement: Statement,
    /// The target can store every text.
    is_utf8: bool,
}

const BOOKKEEPING: &str = "
    with moved as (
        insert into replication.position as p (source, timeline, received_tick, received_id, received_ordinal,
            received_total, applied_tick, applied_id, held_since, held_error, held_txid, snapshot, snapshot_id)
        values ($1, $2, $3, $4, $5, $6, $7, $8, case when $9::bytea is not null then clock_timestamp() end,
            replication.text_for_people($9), $25, $27::text::pg_snapshot, $8)
        on conflict (only_row) do update set timeline = excluded.timeline,
            received_tick = excluded.received_tick, received_id = excluded.received_id,
            received_ordinal = excluded.received_ordinal, received_total = excluded.received_total,
            applied_tick = excluded.applied_tick, applied_id = excluded.applied_id,
            snapshot = case when excluded.applied_tick is not distinct from p.applied_tick
                            then p.snapshot else excluded.snapshot end,
            snapshot_id = case when excluded.applied_tick is not distinct from p.applied_tick
                               then p.snapshot_id else excluded.snapshot_id end,
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
        insert into replication.inbox_batch (tick, first_ordinal, last_ordinal, tick_id, payload, payload_utf8)
        select * from unnest($14::bigint[], $15::bigint[], $16::bigint[], $17::uuid[], $18::text[], $26::bytea[])
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
        Ok(Bookkeeping {
            is_utf8: encoding(client)? == "UTF8",
            statement: client.prepare(BOOKKEEPING).context("prepare to move the position")?,
        })
    }

    /// Fails when the position is not where this session left it: then somebody else has moved it,
    /// and nothing of this transaction may be committed.
    pub(crate) fn write(&self, transaction: &mut Transaction<'_>, entry: &Entry<'_>) -> Result<()> {
        let after = entry.after;
        let before = entry.before.map(|before| before.received);
        let applied_before = entry.before.and_then(|before| before.applied);
        let stored = StoredColumns::of(entry.stored, self.is_utf8);
        let events = EventColumns::of(entry.processed);
        let ticks = TickColumns::of(entry.applied);
        require_applied(applied_before, &ticks.ticks, after.applied)?;
        let snapshot = entry.applied.last().and_then(|applied| applied.snapshot.as_ref());
        let parameters: [&(dyn ToSql + Sync); 27] = [
            &after.source,
            &after.timeline,
            &after.received.tick.number,
            &after.received.tick.id,
            &after.received.ordinal,
            &after.received.total,
            &after.applied.map(|applied| applied.number),
            &after.applied.map(|applied| applied.id),
            &entry.held.map(|held| held.to_string().into_bytes()),
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
            &stored.payloads_utf8,
            &snapshot.map(Snapshot::as_str),
        ];
        let moved: i64 =
            transaction.query_one(&self.statement, &parameters).context("move the position")?.get(0);
        ensure!(moved == 1, "the position is not where this session left it; reading it again");
        Ok(())
    }
}

struct StoredColumns<'a> {
    ticks: Vec<i64>,
    first: Vec<i64>,
    last: Vec<i64>,
    tick_ids: Vec<Uuid>,
    /// Each message is either here…
    payloads: Vec<Option<&'a str>>,
    /// …or here.
    payloads_utf8: Vec<Option<&'a [u8]>>,
}

impl<'a> StoredColumns<'a> {
    fn of(stored: &[Stored<'a>], as_text: bool) -> StoredColumns<'a> {
        let batches = || stored.iter().map(|stored| &stored.batch);
        StoredColumns {
            ticks: batches().map(|batch| batch.tick.number).collect(),
            first: batches().map(|batch| batch.first).collect(),
            last: batches().map(|batch| batch.last()).collect(),
            tick_ids: batches().map(|batch| batch.tick.id).collect(),
            payloads: stored.iter().map(|stored| as_text.then_some(stored.payload)).collect(),
            payloads_utf8: stored
                .iter()
                .map(|stored| (!as_text).then_some(stored.payload.as_bytes()))
                .collect(),
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
