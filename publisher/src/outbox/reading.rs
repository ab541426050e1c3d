//! Reading ticks and their events.

use super::events::{Next, OutboxEvent, outbox_event};
use super::plan_once;
use super::source::{source_id, wal_timeline};
use super::ticks::ticks_are_gone;
use crate::cursor::CursorPosition;
use anyhow::{Context, Result};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, Row, Statement};
use shared::wire::{Source, TickRef};
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

/// Reads ticks and their events; the same ones however often it is asked.
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

    /// Up to `limit` ticks from number `first` on; none if that was not taken yet. Fails when it was pruned.
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

    /// Passes the events of `tick` from `position` on to `each`, in order, as they come from the server.
    /// There are none where the tick was pruned since it was looked up, wholly or in part.
    pub(crate) fn read(
        &self,
        client: &mut Client,
        tick: &Tick,
        position: CursorPosition,
        mut each: impl FnMut(OutboxEvent) -> Result<Next>,
    ) -> Result<()> {
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&tick.since, &tick.until, &position.ordinal, &(tick.at.number - 1)];
        let mut rows =
            client.query_raw(&self.events, parameters).with_context(|| format!("read tick {}", tick.at))?;
        while let Some(row) = rows.next().with_context(|| format!("read the events of tick {}", tick.at))? {
            match each(outbox_event(&row, self.source_bits)?)? {
                Next::Continue => {}
                Next::Stop => break,
            }
        }
        Ok(())
    }
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

/// The events visible in snapshot $2 and not in $1, by PgQ's rule: two ranges of the index, never one
/// condition with OR. Transactions in the order of their highest id, so that one that waited for another
/// comes after it; events of a transaction by id. Nothing where tick $4, the one before, is gone: pruning
/// deletes it together with the first of these events. (A snapshot in a subquery is read once, not for each
/// row.) Of the transactions that were in progress at $1, only those that had ended at $2 are looked up: the
/// events of the others would all be read, at each tick, only to be found invisible.
///
/// First the transactions alone, from the index, in their order ("offset 0" keeps it); then, with the plan
/// that [`TickReader::new`] pins, the rows of one after the other, as they are asked for. The transactions
/// are sorted, and the rows of each transaction: the first row of a tick comes once the ids of the whole
/// tick, and the rows of its first transaction, were read.
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
