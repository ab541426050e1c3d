//! All SQL on the outbox, its ticks and its marks.

use crate::cursor::Place;
use crate::leadership::Marks;
use anyhow::{Context, Result, bail};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{FromSql, ToSql, Type};
use postgres::{Client, Row, Statement};
use shared::fault::Fault;
use shared::wire::{Event, Operation, Shape, Source, TickRef};
use std::error::Error;
use uuid::Uuid;

/// The moment between two snapshots of the source, and what is needed to read its events.
#[derive(Clone, Debug)]
pub(crate) struct Tick {
    pub(crate) at: TickRef,
    pub(crate) previous_id: Uuid,
    pub(crate) taken_at_us: i64,
    /// The snapshot of the tick before.
    since: String,
    /// The snapshot of this tick.
    until: String,
}

/// One event with its place in the tick.
pub(crate) struct OutboxEvent {
    pub(crate) ordinal: i64,
    pub(crate) total: i64,
    pub(crate) event: Event,
}

/// Lets NOTIFY wake this session. Not where transactions can be prepared: one that has
/// notified cannot be. Returns whether notifications will come.
pub(crate) fn listen(client: &mut Client) -> Result<bool> {
    let prepared: i32 = client
        .query_one("select current_setting('max_prepared_transactions')::int", &[])
        .context("read max_prepared_transactions")?
        .get(0);
    if prepared > 0 {
        return Ok(false);
    }
    client.batch_execute("listen replication_wake").context("listen")?;
    Ok(true)
}

/// Asks the capture triggers for a NOTIFY, or tells them that none is wanted.
pub(crate) fn want_wake(client: &mut Client, wanted: bool) -> Result<()> {
    let value = if wanted { 2_i64 } else { 1 };
    client.execute("select setval('replication.wake_wanted', $1)", &[&value]).context("set the wake flag")?;
    Ok(())
}

/// What a publisher finds at the beginning of its term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TermStart {
    pub(crate) number: i64,
    /// As the last publisher left them.
    pub(crate) marks: Marks,
    /// The timeline on which the target last showed that its history is this one; the present one where
    /// there is nothing yet to be compared.
    pub(crate) matched_timeline: i64,
    /// The timeline that the source writes.
    pub(crate) timeline: i64,
}

/// Begins a term as the publisher. Only the holder of the publisher's lock may.
pub(crate) fn begin_term(client: &mut Client) -> Result<TermStart> {
    let row = client
        .query_one(
            "update replication.progress
             set term = term + 1, timeline = coalesce(timeline, replication.wal_timeline())
             returning term, published_tick, confirmed_tick, timeline, replication.wal_timeline()",
            &[],
        )
        .context("begin a term")?;
    Ok(TermStart {
        number: row.get(0),
        marks: Marks { published_tick: row.get(1), confirmed_tick: row.get(2) },
        matched_timeline: row.get(3),
        timeline: row.get(4),
    })
}

/// The timeline that the server of this connection writes.
pub(crate) fn wal_timeline(client: &mut Client) -> Result<i64> {
    let row =
        client.query_one("select replication.wal_timeline()", &[]).context("read the source's timeline")?;
    row.get::<_, Option<i64>>(0).context("the source is a standby")
}

/// Stores that the target's history is this one on `timeline`. False when another publisher has begun a
/// later term.
pub(crate) fn store_matched_timeline(client: &mut Client, term: i64, timeline: i64) -> Result<bool> {
    let stored = client
        .execute("update replication.progress set timeline = $2 where term = $1", &[&term, &timeline])
        .context("store the timeline that the target is known on")?;
    Ok(stored > 0)
}

/// Stores the marks without waiting for the disk: losing them costs a resend. A target that went back behind the oldest
/// tick that is left (it still has the events to apply) needs none before that. Returns whether they were
/// taken; not when another publisher has begun a later term.
pub(crate) fn write_marks(client: &mut Client, term: i64, marks: Marks) -> Result<bool> {
    let written = client
        .execute(
            "with fast as (select set_config('synchronous_commit', 'off', true))
             update replication.progress
             set published_tick = $2,
                 confirmed_tick = coalesce((select tick from replication.tick where tick = $3),
                                           (select min(tick) from replication.tick))
             from fast where term = $1",
            &[&term, &marks.published_tick, &marks.confirmed_tick],
        )
        .context("store the marks")?;
    Ok(written > 0)
}

/// The one target whose confirms count: the first that ever confirmed, which is `candidate` if there
/// was none before.
pub(crate) fn bind_target(client: &mut Client, candidate: &str) -> Result<String> {
    let row = client
        .query_one(
            "update replication.progress set target = coalesce(target, $1) returning target",
            &[&candidate],
        )
        .context("bind the target")?;
    Ok(row.get(0))
}

/// Who this source is: the database, and the history that its ticks belong to.
pub(crate) fn source_id(client: &mut Client) -> Result<String> {
    let row =
        client.query_one("select replication.source_id()", &[]).context("read the identity of the source")?;
    Ok(row.get(0))
}

/// What is wrong with the capture of attached tables; nothing, usually.
pub(crate) fn capture_problems(client: &mut Client) -> Result<Vec<String>> {
    let rows = client
        .query("select table_name || ': ' || problem from replication.capture_problem order by 1", &[])
        .context("audit the capture")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The number of the first tick that is left: the events of those after it can be read.
pub(crate) fn oldest_tick(client: &mut Client) -> Result<i64> {
    let row =
        client.query_one("select min(tick) from replication.tick", &[]).context("look up the oldest tick")?;
    Ok(row.get(0))
}

/// The id of a tick; none where this source has no such tick.
pub(crate) fn tick_id(client: &mut Client, tick: i64) -> Result<Option<Uuid>> {
    let row = client
        .query_opt("select tick_id from replication.tick where tick = $1", &[&tick])
        .with_context(|| format!("look up tick {tick}"))?;
    Ok(row.map(|row| row.get(0)))
}

/// Statements that are prepared from now on are planned once, for any parameters and however small the outbox is at
/// the time: planning costs more than a small tick.
fn plan_once(client: &mut Client) -> Result<()> {
    client
        .batch_execute("set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off")
        .context("pin the plans")
}

/// Takes ticks. Only the holder of the publisher's lock may.
pub(crate) struct TickTaker {
    last_tick: i64,
    last_snapshot: String,
    take: Statement,
}

impl TickTaker {
    /// Goes on after the last tick that was ever taken.
    pub(crate) fn new(client: &mut Client) -> Result<TickTaker> {
        let row = client
            .query_one("select tick, snapshot::text from replication.tick order by tick desc limit 1", &[])
            .context("read the last tick")?;
        plan_once(client)?;
        // One statement, and so one snapshot: it looks for work and stores itself as the tick. The
        // snapshot of the last tick is a parameter, for the planner to use the index. The events of transactions that go
        // on, however many, would each be read to be found invisible: so of the transactions that went on at the last tick
        // only those are looked for that have ended, and of the later ones those between two that go on. Two takers
        // would collide on the primary key.
        let take = client
            .prepare(
                "insert into replication.tick (tick, previous_id, snapshot)
                 select last.tick + 1, last.tick_id, pg_current_snapshot()
                 from replication.tick last
                 where last.tick = $1
                   and (exists (select
                                from (select bound as after, lead(bound) over (order by bound) as before
                                      from (select (pg_snapshot_xmax($2::text::pg_snapshot)::text::bigint - 1)::text::xid8
                                            union all
                                            select open from pg_snapshot_xip(pg_current_snapshot()) open
                                            where open >= pg_snapshot_xmax($2::text::pg_snapshot)
                                            union all
                                            select pg_snapshot_xmax(pg_current_snapshot())) bounds (bound)) gap
                                cross join lateral (select from replication.outbox_event e
                                                    where e.txid > gap.after and e.txid < gap.before limit 1) found)
                     or exists (select from replication.outbox_event e
                                where e.txid = any (array(
                                    select ended from pg_snapshot_xip($2::text::pg_snapshot) ended
                                    where pg_visible_in_snapshot(ended, pg_current_snapshot())))))
                 returning tick, snapshot::text",
            )
            .context("prepare to take ticks")?;
        Ok(TickTaker { last_tick: row.get(0), last_snapshot: row.get(1), take })
    }

    pub(crate) fn last_tick(&self) -> i64 {
        self.last_tick
    }

    /// Takes a tick if there is anything new; returns whether it did. The tick is durable then.
    pub(crate) fn take(&mut self, client: &mut Client) -> Result<bool> {
        let taken = client
            .query_opt(&self.take, &[&self.last_tick, &self.last_snapshot])
            .with_context(|| format!("take tick {}", self.last_tick + 1))?;
        let Some(row) = taken else { return Ok(false) };
        self.last_tick = row.get(0);
        self.last_snapshot = row.get(1);
        Ok(true)
    }
}

/// Reads ticks and their events, as often as needed and always the same.
pub(crate) struct TickReader {
    source: Source,
    /// The source's part of every event id.
    source_bits: u64,
    ticks: Statement,
    events: Statement,
}

impl TickReader {
    pub(crate) fn new(client: &mut Client) -> Result<TickReader> {
        plan_once(client)?;
        let id = source_id(client)?;
        let timeline = wal_timeline(client)?;
        let row = client
            .query_one("select replication.source_digits()", &[])
            .context("read the source's digits")?;
        let ticks = client
            .prepare(
                "select t.tick, t.tick_id, t.previous_id, (extract(epoch from t.taken_at) * 1e6)::bigint,
                        previous.snapshot::text, t.snapshot::text
                 from replication.tick t join replication.tick previous on previous.tick = t.tick - 1
                 where t.tick >= $1 order by t.tick limit $2",
            )
            .context("prepare to read ticks")?;
        client
            .batch_execute(
                "set enable_hashjoin = off; set enable_mergejoin = off; set enable_material = off; set enable_sort = off",
            )
            .context("pin the plan that reads events")?;
        let events = client.prepare(EVENTS_OF_A_TICK).context("prepare to read events")?;
        Ok(TickReader {
            source: Source { id, timeline },
            source_bits: u64::from_str_radix(row.get(0), 16).context("read the source's digits")?,
            ticks,
            events,
        })
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Up to `limit` ticks from number `first` on; none if it was not yet taken.
    pub(crate) fn ticks(&self, client: &mut Client, first: i64, limit: i64) -> Result<Vec<Tick>> {
        let rows = client
            .query(&self.ticks, &[&first, &limit])
            .with_context(|| format!("read the ticks from {first} on"))?;
        let ticks: Vec<Tick> = rows.iter().map(tick).collect();
        match ticks.first() {
            Some(tick) if tick.at.number != first => Err(ticks_are_gone(first, tick.at.number - 1)),
            _ => Ok(ticks),
        }
    }

    /// Hands the events of `tick` after `place` to `each`, in order, as they come from the server. None where
    /// the tick was pruned since it was looked up, wholly or in part.
    pub(crate) fn read(
        &self,
        client: &mut Client,
        tick: &Tick,
        place: Place,
        mut each: impl FnMut(OutboxEvent) -> Result<Next>,
    ) -> Result<()> {
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&tick.since, &tick.until, &place.ordinal, &(tick.at.number - 1)];
        let mut rows =
            client.query_raw(&self.events, parameters).with_context(|| format!("read tick {}", tick.at))?;
        while let Some(row) = rows.next().with_context(|| format!("read the events of tick {}", tick.at))? {
            match each(self.outbox_event(&row)?)? {
                Next::GoOn => {}
                Next::Stop => break,
            }
        }
        Ok(())
    }
}

impl TickReader {
    fn outbox_event(&self, row: &Row) -> Result<OutboxEvent> {
        let operation: i8 = row.get(5);
        let event = Event {
            event_id: event_id(row.get(2), self.source_bits),
            txid: row.get::<_, Xid8>(3).0,
            shape: row.get(4),
            operation: match u8::try_from(operation) {
                Ok(b'I') => Operation::Insert,
                Ok(b'U') => Operation::Update,
                Ok(b'D') => Operation::Delete,
                Ok(b'T') => Operation::Truncate,
                _ => bail!("the outbox holds the unknown operation {operation}"),
            },
            key: row.get(6),
            row: row.get(7),
        };
        Ok(OutboxEvent { ordinal: row.get(0), total: row.get(1), event })
    }
}

/// Whether the caller of [`TickReader::read`] wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    Stop,
}

/// The events visible in snapshot $2 and not in $1, by PgQ's rule: two ranges of the index, never one
/// condition with OR. Transactions in the order of their highest id, so that one that waited for
/// another comes after it; events of a transaction by id. Nothing where tick $4, the one before, is gone:
/// pruning deletes it together with the first of these events. (A snapshot in a subquery is read once, not for each row.)
/// Of the transactions that went on at $1, only those that had ended at $2 are looked for: the events of the others would
/// all be read, at each tick, to be found invisible.
///
/// First the transactions alone, from the index, in their order ("offset 0" keeps it); then, with the plan that
/// [`TickReader::new`] pins, the rows of one after the other, as they are asked for. Sorted are the transactions, and the
/// rows of one transaction as a whole: the first row of a tick comes once the ids of all of it, and the rows of its first
/// transaction, were read.
const EVENTS_OF_A_TICK: &str = "
    select n, total, id, txid, shape_id, operation, key_text, row_text
    from (select e.*, of_tick.last_id, of_tick.total, row_number() over (order by of_tick.last_id, e.id) as n
          from (select txid, max(id) as last_id, (sum(count(*)) over ())::bigint as total
                from (select txid, id from replication.outbox_event
                      where txid >= pg_snapshot_xmax($1::text::pg_snapshot)
                        and txid < pg_snapshot_xmax($2::text::pg_snapshot)
                        and pg_visible_in_snapshot(txid, (select $2::text::pg_snapshot))
                      union all
                      select txid, id from replication.outbox_event
                      where txid = any (array(
                          select ended from pg_snapshot_xip($1::text::pg_snapshot) ended
                          where pg_visible_in_snapshot(ended, $2::text::pg_snapshot)))
                        and txid < pg_snapshot_xmax($1::text::pg_snapshot)
                        and pg_visible_in_snapshot(txid, (select $2::text::pg_snapshot))) ids
                group by txid order by last_id offset 0) of_tick
          join replication.outbox_event e on e.txid = of_tick.txid) numbered
    where n > $3 and (select exists (select from replication.tick where tick = $4))
    order by last_id, id";

/// Why there is nothing to go on with: the target needs ticks from `first` on, and those up to `last` are gone.
pub(crate) fn ticks_are_gone(first: i64, last: i64) -> anyhow::Error {
    anyhow::anyhow!(
        "the target needs ticks {first} to {last}, which have left the outbox (OUTBOX_RETENTION): it was restored from a \
         backup that is too old, or is a new one. Nothing is published or applied. Restore a newer backup of the target, \
         or start over: at the source select replication.start_over(), in the target select \
         replication.adopt_source(…) with what that returns (docs/operations.md)"
    )
    .context(Fault::Fatal)
}

fn tick(row: &Row) -> Tick {
    Tick {
        at: TickRef { number: row.get(0), id: row.get(1) },
        previous_id: row.get(2),
        taken_at_us: row.get(3),
        since: row.get(4),
        until: row.get(5),
    }
}

/// An xid8: PostgreSQL's 64 bits of a transaction id.
struct Xid8(i64);

impl<'a> FromSql<'a> for Xid8 {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Xid8, Box<dyn Error + Sync + Send>> {
        i64::from_sql(ty, raw).map(Xid8)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::XID8
    }
}

/// The uuid (version 8) of an event, as `replication.event_id` makes it: the outbox id, ordered, around the
/// bits that a uuid must have, and the source's 56.
fn event_id(id: i64, source: u64) -> Uuid {
    let id = id.unsigned_abs();
    let high = (id >> 16) << 16 | 0x8000 | (id >> 4 & 0xfff);
    let low = 0x8 << 60 | (id & 0xf) << 56 | source;
    Uuid::from_u64_pair(high, low)
}

/// All shapes that were ever captured.
pub(crate) fn shapes(client: &mut Client) -> Result<Vec<Shape>> {
    let rows = client
        .query("select id, schema_name, table_name, columns, key_columns, types, generated from replication.shape", &[])
        .context("read the shapes of tables")?;
    Ok(rows
        .iter()
        .map(|row| Shape {
            id: row.get(0),
            schema: row.get(1),
            table: row.get(2),
            columns: row.get(3),
            key: row.get(4),
            types: row.get(5),
            generated: row.get(6),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_grow_with_the_outbox_id_and_carry_the_source() {
        // As select replication.event_id(…, '0123456789abcd') gives them.
        let source = 0x01_2345_6789_abcd;
        assert_eq!(event_id(1, source).to_string(), "00000000-0000-8000-8101-23456789abcd");
        assert_eq!(event_id(0x12_3456_789a, source).to_string(), "00000012-3456-8789-8a01-23456789abcd");
        assert!(
            event_id(15, source) < event_id(16, source) && event_id(4095, source) < event_id(4096, source)
        );
    }
}
