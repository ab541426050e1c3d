//! All SQL on the inbox, the position and `processed_events`, and the rule by which the position
//! decides what becomes of a batch.

use anyhow::{Context, Result, anyhow};
use postgres::{Client, Transaction};
use shared::fault::Fault;
use shared::wire::{Batch, Position, TickRef};
use std::collections::HashSet;
use uuid::Uuid;

/// How far the target is with the one source that it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetPosition {
    pub(crate) source: String,
    pub(crate) timeline: i64,
    /// Batches up to here are stored.
    pub(crate) received: Position,
    /// Everything up to and including this tick is committed in the tables.
    pub(crate) applied: Option<TickRef>,
}

impl TargetPosition {
    /// The last tick of which every batch is stored; none before the first.
    pub(crate) fn last_complete(&self) -> i64 {
        let received = &self.received;
        if received.is_complete() { received.tick.number } else { received.tick.number - 1 }
    }
}

/// What the position says of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It follows: store its events from this ordinal on (earlier ones are known).
    Next { from: i64 },
    /// All of it is stored already.
    Known,
    /// Something before it is missing.
    Gap,
}

/// Judges a batch by the position. An error means that it belongs to another history, and that
/// nothing may be applied until a person has looked.
pub(crate) fn judge(position: Option<&TargetPosition>, batch: &Batch) -> Result<Verdict> {
    let Some(position) = position else {
        return Ok(if batch.tick.number == 1 && batch.first == 1 {
            Verdict::Next { from: 1 }
        } else {
            Verdict::Gap
        });
    };
    if position.source != batch.source.id {
        return Err(anyhow!(
            "a batch of tick {} comes from the source {}, this target follows {}: applying nothing",
            batch.tick,
            batch.source.id,
            position.source
        )
        .context(Fault::Fatal));
    }
    let received = &position.received;
    if batch.tick.number == received.tick.number {
        require_same(batch.tick.id, received.tick.id, batch)?;
        return Ok(if batch.last() <= received.ordinal {
            Verdict::Known
        } else if batch.first <= received.ordinal + 1 {
            Verdict::Next { from: received.ordinal + 1 }
        } else {
            Verdict::Gap
        });
    }
    if batch.tick.number < received.tick.number {
        return Ok(Verdict::Known);
    }
    if batch.tick.number > received.tick.number + 1 {
        return Ok(Verdict::Gap);
    }
    require_same(batch.previous_id, received.tick.id, batch)?;
    Ok(if received.is_complete() && batch.first == 1 { Verdict::Next { from: 1 } } else { Verdict::Gap })
}

fn require_same(claimed: Uuid, known: Uuid, batch: &Batch) -> Result<()> {
    if claimed == known {
        return Ok(());
    }
    Err(anyhow!(
        "tick {} does not continue the history that this target has (it knows {known}, the batch says {claimed}): \
         was the source restored, or did it fail over and lose ticks? Applying nothing",
        batch.tick
    )
    .context(Fault::Fatal))
}

const POSITION: &str = "
    select source, timeline, received_tick, received_id, received_ordinal, received_total, applied_tick, applied_id
    from replication.position";

/// The position, locked against any other transaction that would move it.
pub(crate) fn lock_position(transaction: &mut Transaction<'_>) -> Result<Option<TargetPosition>> {
    let row = transaction.query_opt(&format!("{POSITION} for update"), &[]).context("lock the position")?;
    Ok(row.as_ref().map(target_position))
}

/// The position as committed.
pub(crate) fn read_position(client: &mut Client) -> Result<Option<TargetPosition>> {
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

/// Stores the position, and what holds it, if anything does.
pub(crate) fn save_position(
    transaction: &mut Transaction<'_>,
    position: &TargetPosition,
    held: Option<&str>,
) -> Result<()> {
    transaction
        .execute(
            "insert into replication.position as p (source, timeline, received_tick, received_id, received_ordinal,
                 received_total, applied_tick, applied_id, held_since, held_error)
             values ($1, $2, $3, $4, $5, $6, $7, $8, case when $9::text is not null then clock_timestamp() end, $9)
             on conflict (only_row) do update set timeline = excluded.timeline,
                 received_tick = excluded.received_tick, received_id = excluded.received_id,
                 received_ordinal = excluded.received_ordinal, received_total = excluded.received_total,
                 applied_tick = excluded.applied_tick, applied_id = excluded.applied_id,
                 held_since = case when excluded.held_error is not null
                                   then coalesce(p.held_since, excluded.held_since) end,
                 held_error = excluded.held_error",
            &[
                &position.source,
                &position.timeline,
                &position.received.tick.number,
                &position.received.tick.id,
                &position.received.ordinal,
                &position.received.total,
                &position.applied.map(|applied| applied.number),
                &position.applied.map(|applied| applied.id),
                &held,
            ],
        )
        .context("store the position")?;
    Ok(())
}

/// A batch to be stored: its events from `from` on, and the message as received.
pub(crate) struct Stored<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) from: i64,
    pub(crate) payload: &'a str,
}

/// Stores batches, one row for each.
pub(crate) fn store(transaction: &mut Transaction<'_>, batches: &[Stored<'_>]) -> Result<()> {
    let column = |value: fn(&Stored<'_>) -> i64| batches.iter().map(value).collect::<Vec<i64>>();
    let ids: Vec<Uuid> = batches.iter().map(|stored| stored.batch.tick.id).collect();
    let payloads: Vec<&str> = batches.iter().map(|stored| stored.payload).collect();
    transaction
        .execute(
            "insert into replication.inbox_batch (tick, first_ordinal, last_ordinal, tick_id, payload)
             select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[], $5::text[])",
            &[
                &column(|stored| stored.batch.tick.number),
                &column(|stored| stored.from),
                &column(|stored| stored.batch.last()),
                &ids,
                &payloads,
            ],
        )
        .context("store batches in the inbox")?;
    Ok(())
}

/// Fails when ticks that were applied here come with other ids: then it is another history.
pub(crate) fn check_known(transaction: &mut Transaction<'_>, known: &[&Batch]) -> Result<()> {
    let ticks: Vec<i64> = known.iter().map(|batch| batch.tick.number).collect();
    let ids: Vec<Uuid> = known.iter().map(|batch| batch.tick.id).collect();
    let fork = transaction
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
         over and lose ticks? Applying nothing"
    )
    .context(Fault::Fatal))
}

/// Sets a message aside that cannot be one of ours.
pub(crate) fn quarantine(transaction: &mut Transaction<'_>, reason: &str, payload: &[u8]) -> Result<()> {
    transaction
        .execute("insert into replication.quarantine (reason, payload) values ($1, $2)", &[&reason, &payload])
        .context("set a message aside")?;
    Ok(())
}

/// The batches that are stored and not yet applied, in order, without the events that an earlier
/// one has.
pub(crate) fn load_unapplied(client: &mut Client) -> Result<Vec<Batch>> {
    let rows = client
        .query(
            "select payload, first_ordinal from replication.inbox_batch
             where tick > coalesce((select applied_tick from replication.position), 0)
             order by tick, first_ordinal",
            &[],
        )
        .context("read what is not yet applied")?;
    rows.iter()
        .map(|row| {
            let payload: &str = row.get(0);
            Ok(from_ordinal(Batch::decode(payload.as_bytes())?, row.get(1)))
        })
        .collect()
}

/// The batch without the events before ordinal `from`.
pub(crate) fn from_ordinal(mut batch: Batch, from: i64) -> Batch {
    let known = usize::try_from(from - batch.first).unwrap_or(0);
    batch.events.drain(..known);
    batch.first = batch.first.max(from);
    batch
}

/// Records events as processed; returns those that were recorded before, which must have no effect
/// again. The second line of defence behind the position.
pub(crate) fn record_processed(
    transaction: &mut Transaction<'_>,
    batches: &[Batch],
) -> Result<HashSet<Uuid>> {
    let mut ids = Vec::new();
    let mut ticks = Vec::new();
    for batch in batches {
        ids.extend(batch.events.iter().map(|event| event.event_id));
        ticks.resize(ids.len(), batch.tick.number);
    }
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

/// Records ticks as applied.
pub(crate) fn record_applied(transaction: &mut Transaction<'_>, batches: &[Batch]) -> Result<()> {
    let last: Vec<&Batch> = batches.iter().filter(|batch| batch.end().is_complete()).collect();
    let ticks: Vec<i64> = last.iter().map(|batch| batch.tick.number).collect();
    let ids: Vec<Uuid> = last.iter().map(|batch| batch.tick.id).collect();
    let totals: Vec<i64> = last.iter().map(|batch| batch.total).collect();
    let taken: Vec<i64> = last.iter().map(|batch| batch.taken_at_us).collect();
    transaction
        .execute(
            "insert into replication.applied_tick (tick, tick_id, events, taken_at)
             select tick, tick_id, events, timestamptz 'epoch' + taken_us * interval '1 microsecond'
             from unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::bigint[]) as t (tick, tick_id, events, taken_us)",
            &[&ticks, &ids, &totals, &taken],
        )
        .context("record applied ticks")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::fault::fault_of;
    use shared::wire::{Event, FORMAT, Operation, Source};

    fn id(tick: i64) -> Uuid {
        Uuid::from_u64_pair(1, tick.unsigned_abs())
    }

    fn batch(tick: i64, first: i64, last: i64, total: i64) -> Batch {
        let event = |ordinal: i64| Event {
            event_id: Uuid::from_u64_pair(tick.unsigned_abs(), ordinal.unsigned_abs()),
            txid: 1,
            shape: 1,
            operation: Operation::Insert,
            key: Some(String::new()),
            row: None,
        };
        Batch {
            format: FORMAT,
            source: Source { id: "1/a".to_owned(), timeline: 1 },
            tick: TickRef { number: tick, id: id(tick) },
            previous_id: id(tick - 1),
            first,
            total,
            taken_at_us: 0,
            shapes: vec![],
            events: (first..=last).map(event).collect(),
        }
    }

    fn at(tick: i64, ordinal: i64, total: i64) -> TargetPosition {
        TargetPosition {
            source: "1/a".to_owned(),
            timeline: 1,
            received: Position { tick: TickRef { number: tick, id: id(tick) }, ordinal, total },
            applied: None,
        }
    }

    #[test]
    fn a_fresh_target_begins_with_the_first_event_of_the_first_tick() {
        assert_eq!(judge(None, &batch(1, 1, 3, 3)).unwrap(), Verdict::Next { from: 1 });
        assert_eq!(judge(None, &batch(1, 2, 3, 3)).unwrap(), Verdict::Gap);
        assert_eq!(judge(None, &batch(2, 1, 3, 3)).unwrap(), Verdict::Gap);
    }

    #[test]
    fn what_follows_is_taken_what_is_known_is_not_and_a_gap_is_seen() {
        let position = at(5, 4, 10);
        let verdict = |batch| judge(Some(&position), &batch).unwrap();
        assert_eq!(verdict(batch(5, 5, 8, 10)), Verdict::Next { from: 5 });
        assert_eq!(verdict(batch(5, 3, 8, 10)), Verdict::Next { from: 5 });
        assert_eq!(verdict(batch(5, 1, 4, 10)), Verdict::Known);
        assert_eq!(verdict(batch(4, 1, 9, 9)), Verdict::Known);
        assert_eq!(verdict(batch(5, 6, 8, 10)), Verdict::Gap);
        assert_eq!(verdict(batch(6, 1, 2, 2)), Verdict::Gap);
        assert_eq!(judge(Some(&at(5, 10, 10)), &batch(6, 1, 2, 2)).unwrap(), Verdict::Next { from: 1 });
        assert_eq!(judge(Some(&at(5, 10, 10)), &batch(7, 1, 2, 2)).unwrap(), Verdict::Gap);
    }

    #[test]
    fn another_history_is_refused_even_where_the_numbers_fit() {
        let mut forked = batch(6, 1, 2, 2);
        forked.previous_id = Uuid::nil();
        assert_eq!(fault_of(&judge(Some(&at(5, 10, 10)), &forked).unwrap_err()), Fault::Fatal);
        let mut same_number = batch(5, 5, 6, 10);
        same_number.tick.id = Uuid::nil();
        assert_eq!(fault_of(&judge(Some(&at(5, 4, 10)), &same_number).unwrap_err()), Fault::Fatal);
        let mut elsewhere = batch(6, 1, 2, 2);
        elsewhere.source.id = "2/a".to_owned();
        assert_eq!(fault_of(&judge(Some(&at(5, 10, 10)), &elsewhere).unwrap_err()), Fault::Fatal);
    }

    #[test]
    fn an_overlap_is_trimmed_by_ordinal() {
        let trimmed = from_ordinal(batch(5, 3, 8, 10), 6);
        assert_eq!((trimmed.first, trimmed.last(), trimmed.events.len()), (6, 8, 3));
        assert_eq!(from_ordinal(batch(5, 3, 8, 10), 3), batch(5, 3, 8, 10));
    }
}
