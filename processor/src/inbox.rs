//! All SQL on the inbox, the position and `processed_events`.

use crate::large_tick::is_large;
use crate::position::{TargetPosition, from_ordinal};
use crate::tables::Drift;
use anyhow::{Context, Result, anyhow, bail, ensure};
use postgres::types::ToSql;
use postgres::{Client, GenericClient, Statement, Transaction};
use shared::fault::Fault;
use shared::wire::{Batch, Position, TickRef};
use std::collections::HashSet;
use std::sync::Arc;
use uuid::Uuid;

const POSITION: &str = "
    select source, timeline, received_tick, received_id, received_ordinal, received_total, applied_tick, applied_id
    from replication.position";

/// The position as committed.
pub(crate) fn read_position(client: &mut impl GenericClient) -> Result<Option<TargetPosition>> {
    let row = client.query_opt(POSITION, &[]).context("read the position")?;
    Ok(row.as_ref().map(target_position))
}

fn target_position(row: &postgres::Row) -> TargetPosition {
    let applied: Option<i64> = row.get(6);
    let applied_id: Option<Uuid> = row.get(7);
    TargetPosition {
        source: row.get(0),
        timeline: row.get(1),
        received: Position {
            tick: TickRef { number: row.get(2), id: row.get(3) },
            ordinal: row.get(4),
            total: row.get(5),
        },
        applied: applied.zip(applied_id).map(|(tick, id)| TickRef { number: tick, id }),
    }
}

/// A batch to be stored: its new events, and the message as received.
pub(crate) struct Stored<'a> {
    /// Without the events that are stored already.
    pub(crate) batch: Arc<Batch>,
    pub(crate) payload: &'a str,
}

/// What one transaction writes down about itself.
pub(crate) struct Entry<'a> {
    /// The position that the transaction starts from, as this session knows it.
    pub(crate) before: Option<&'a TargetPosition>,
    pub(crate) after: &'a TargetPosition,
    /// Why the target cannot take what is complete, if it cannot.
    pub(crate) held: Option<&'a str>,
    /// Batches that arrived.
    pub(crate) stored: &'a [Stored<'a>],
    /// Batches of the ticks that are applied.
    pub(crate) applied: &'a [Arc<Batch>],
    /// The events of `applied` are to be recorded as processed. Not where that is done already.
    pub(crate) record_events: bool,
}

/// Writes entries: the position (moved only from where this session knows it to be, which also locks
/// it), the batches that arrived, the events and ticks that are applied. One statement, one round trip.
pub(crate) struct Bookkeeping(Statement);

const BOOKKEEPING: &str = "
    with moved as (
        insert into replication.position as p (source, timeline, received_tick, received_id, received_ordinal,
            received_total, applied_tick, applied_id, held_since, held_error)
        values ($1, $2, $3, $4, $5, $6, $7, $8, case when $9::text is not null then clock_timestamp() end, $9)
        on conflict (only_row) do update set timeline = excluded.timeline,
            received_tick = excluded.received_tick, received_id = excluded.received_id,
            received_ordinal = excluded.received_ordinal, received_total = excluded.received_total,
            applied_tick = excluded.applied_tick, applied_id = excluded.applied_id,
            held_since = case when excluded.held_error is not null
                              then coalesce(p.held_since, excluded.held_since) end,
            held_error = excluded.held_error
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
        let stored = StoredColumns::of(entry.stored);
        let events =
            if entry.record_events { EventColumns::of(entry.applied) } else { EventColumns::default() };
        let ticks = TickColumns::of(entry.applied);
        let applied = entry.before.and_then(|before| before.applied);
        require_consecutive(applied, &ticks.ticks)?;
        require_complete(applied, &ticks.ticks, after.applied)?;
        let parameters: [&(dyn ToSql + Sync); 24] = [
            &after.source,
            &after.timeline,
            &after.received.tick.number,
            &after.received.tick.id,
            &after.received.ordinal,
            &after.received.total,
            &after.applied.map(|applied| applied.number),
            &after.applied.map(|applied| applied.id),
            &entry.held,
            &before.map(|before| before.tick.number),
            &before.map(|before| before.tick.id),
            &before.map(|before| before.ordinal),
            &entry.before.and_then(|before| before.applied).map(|applied| applied.number),
            &stored.ticks,
            &stored.first,
            &stored.last,
            &stored.tick_ids,
            &stored.payloads,
            &events.ids,
            &events.ticks,
            &ticks.ticks,
            &ticks.ids,
            &ticks.totals,
            &ticks.taken_us,
        ];
        let moved: i64 = transaction.query_one(&self.0, &parameters).context("move the position")?.get(0);
        if moved != 1 {
            bail!("the position is not where this session left it; looking at it anew");
        }
        Ok(())
    }
}

/// Whatever has gone wrong: a tick that is passed over is never applied, and nobody is told.
fn require_consecutive(applied: Option<TickRef>, ticks: &[i64]) -> Result<()> {
    let mut last = applied.map_or(0, |applied| applied.number);
    for tick in ticks {
        if *tick != last + 1 {
            bail!("tick {tick} was to be applied after tick {last}; looking at the position anew");
        }
        last = *tick;
    }
    Ok(())
}

/// The position moves to the last of the ticks that are applied in full, or not at all: what is behind it counts as
/// applied, and is confirmed.
fn require_complete(before: Option<TickRef>, ticks: &[i64], after: Option<TickRef>) -> Result<()> {
    let expected = ticks.last().copied().or(before.map(|before| before.number));
    let claimed = after.map(|after| after.number);
    ensure!(
        claimed == expected,
        "the position was to move to tick {}, and ticks are applied in full up to {}; looking at the position anew",
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

#[derive(Default)]
struct EventColumns {
    ids: Vec<Uuid>,
    ticks: Vec<i64>,
}

impl EventColumns {
    fn of(batches: &[Arc<Batch>]) -> EventColumns {
        let mut columns = EventColumns::default();
        for batch in batches {
            columns.ids.extend(batch.events.iter().map(|event| event.event_id));
            columns.ticks.resize(columns.ids.len(), batch.tick.number);
        }
        columns
    }
}

/// The ticks whose last batch is among some batches.
struct TickColumns {
    ticks: Vec<i64>,
    ids: Vec<Uuid>,
    totals: Vec<i64>,
    taken_us: Vec<i64>,
}

impl TickColumns {
    fn of(batches: &[Arc<Batch>]) -> TickColumns {
        let last = || batches.iter().filter(|batch| batch.end().is_complete());
        TickColumns {
            ticks: last().map(|batch| batch.tick.number).collect(),
            ids: last().map(|batch| batch.tick.id).collect(),
            totals: last().map(|batch| batch.total).collect(),
            taken_us: last().map(|batch| batch.taken_at_us).collect(),
        }
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

/// Records events as processed, which none of them may be yet.
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

/// Counts what showed that somebody else writes to the target, and says so.
pub(crate) fn record_drift(transaction: &mut Transaction<'_>, drift: Drift) -> Result<()> {
    if drift == Drift::default() {
        return Ok(());
    }
    let Drift { deletes_missing, inserts_overwritten } = drift;
    log::warn!(
        "somebody else writes to the target: {deletes_missing} rows to be deleted were gone, {inserts_overwritten} new \
         rows were there already; the source has won (replication.target_drift counts them)"
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

/// Records the tick whose last batch is `last` as applied, and moves the position there from `before`.
pub(crate) fn finish_tick(
    transaction: &mut Transaction<'_>,
    before: Option<TickRef>,
    last: &Batch,
) -> Result<()> {
    require_consecutive(before, &[last.tick.number])?;
    let moved = transaction
        .execute(
            "with applied as (
                 insert into replication.applied_tick (tick, tick_id, events, taken_at)
                 values ($1, $2, $3, timestamptz 'epoch' + $4::bigint * interval '1 microsecond'))
             update replication.position
             set applied_tick = $1, applied_id = $2, held_since = null, held_error = null
             where received_tick >= $1 and applied_tick is not distinct from $5",
            &[
                &last.tick.number,
                &last.tick.id,
                &last.total,
                &last.taken_at_us,
                &before.map(|before| before.number),
            ],
        )
        .context("move the position")?;
    if moved != 1 {
        bail!("the position is not where it was left; looking at it anew");
    }
    Ok(())
}

/// Fails when ticks that were applied here come with other ids: then it is another history.
pub(crate) fn check_known(client: &mut impl GenericClient, known: &[Arc<Batch>]) -> Result<()> {
    let ticks: Vec<i64> = known.iter().map(|batch| batch.tick.number).collect();
    let ids: Vec<Uuid> = known.iter().map(|batch| batch.tick.id).collect();
    let fork = client
        .query_opt(
            "select a.tick, a.tick_id, k.tick_id
             from unnest($1::bigint[], $2::uuid[]) as k (tick, tick_id)
             join replication.applied_tick a using (tick)
             where a.tick_id <> k.tick_id limit 1",
            &[&ticks, &ids],
        )
        .context("compare with the ticks applied here")?;
    let Some(row) = fork else { return Ok(()) };
    let (tick, ours, theirs): (i64, Uuid, Uuid) = (row.get(0), row.get(1), row.get(2));
    Err(anyhow!(
        "tick {tick} was applied here as {ours} and now comes as {theirs}: was the source restored, or did it fail \
         over and lose ticks? Applying nothing. To start over: at the source select replication.start_over(), \
         here select replication.adopt_source(…) with what that returns"
    )
    .context(Fault::Fatal))
}

/// The sources that this target followed before, and follows no more.
pub(crate) fn abandoned_sources(client: &mut Client) -> Result<HashSet<String>> {
    let rows = client
        .query(
            "select distinct from_source from replication.adoption
             where from_source not in (select source from replication.position)",
            &[],
        )
        .context("read which sources are followed no more")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Sets a message aside that cannot be one of ours, in a table that is bounded.
pub(crate) fn quarantine(transaction: &mut Transaction<'_>, reason: &str, payload: &[u8]) -> Result<()> {
    transaction
        .execute("select replication.set_aside($1, $2)", &[&reason, &payload])
        .context("set a message aside")?;
    Ok(())
}

/// A tick that is stored, wholly or in part, and not applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) tick: TickRef,
    /// What is stored of it.
    pub(crate) batches: i64,
    events: i64,
    bytes: i64,
}

impl Waiting {
    pub(crate) fn is_large(&self) -> bool {
        is_large(self.events, usize::try_from(self.bytes).unwrap_or(usize::MAX))
    }
}

/// The ticks that are stored and not applied, in order.
pub(crate) fn waiting(client: &mut Client) -> Result<Vec<Waiting>> {
    let rows = client
        .query(
            "select tick, (array_agg(tick_id))[1], count(*), sum(last_ordinal - first_ordinal + 1)::bigint,
                    sum(octet_length(payload))::bigint
             from replication.inbox_batch
             where tick > coalesce((select applied_tick from replication.position), 0)
             group by tick order by tick",
            &[],
        )
        .context("look for what is not yet applied")?;
    Ok(rows
        .iter()
        .map(|row| Waiting {
            tick: TickRef { number: row.get(0), id: row.get(1) },
            batches: row.get(2),
            events: row.get(3),
            bytes: row.get(4),
        })
        .collect())
}

/// Up to `limit` batches of a stored tick behind ordinal `behind`, in order, without the events that
/// an earlier one has.
pub(crate) fn stored_batches(
    client: &mut impl GenericClient,
    tick: i64,
    behind: i64,
    limit: i64,
) -> Result<Vec<Arc<Batch>>> {
    let rows = client
        .query(
            "select payload, first_ordinal from replication.inbox_batch
             where tick = $1 and first_ordinal > $2 order by first_ordinal limit $3",
            &[&tick, &behind, &limit],
        )
        .context("read what is not yet applied")?;
    rows.iter()
        .map(|row| {
            let payload: &str = row.get(0);
            Ok(from_ordinal(Arc::new(Batch::decode(payload.as_bytes())?), row.get(1)))
        })
        .collect()
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
        // A tick without its last batch is among none of those that are complete.
        assert!(require_complete(tick(3), &[], tick(4)).is_err());
        assert!(require_complete(tick(3), &[4], tick(5)).is_err());
        assert!(require_complete(tick(3), &[4], tick(3)).is_err());
        assert!(require_complete(tick(3), &[], None).is_err());
    }
}
