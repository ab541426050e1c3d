//! Reading ticks and their events.

use super::events::{Next, OutboxEvent, Xid8, event_id, outbox_event};
use super::plan_once;
use super::source::{source_id, wal_timeline};
use anyhow::{Context, Error, Result};
use outbox_publisher::rules::cursor::CursorPosition;
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, Row, Statement};
use shared::wire::{Source, TickRef, UNPACKED_MAX};
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
    pub(crate) until: String,
}

/// Reads ticks and their events; the same ones however often it is asked.
pub(crate) struct TickReader {
    source: Source,
    /// The source's part of every event id.
    source_bits: u64,
    ticks: Statement,
    events: Statement,
    /// What is not to be sent, by the outbox's id.
    skipped: Vec<i64>,
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
        let events = client.prepare(&format!("{EVENTS} {OF_A_TICK}")).context("prepare to read events")?;
        Ok(TickReader {
            source: Source { id, timeline },
            source_bits: u64::from_str_radix(row.get(0), 16).context("read the source's digits")?,
            ticks,
            events,
            skipped: skipped_events(client)?,
        })
    }

    /// Reads again which events are to be skipped.
    pub(crate) fn look_for_skips(&mut self, client: &mut Client) -> Result<()> {
        self.skipped = skipped_events(client)?;
        Ok(())
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Up to `limit` ticks from number `first` on; none if that was not taken yet. A later one comes first where
    /// that was pruned.
    pub(crate) fn ticks(&self, client: &mut Client, first: i64, limit: i64) -> Result<Vec<Tick>> {
        let rows = client
            .query(&self.ticks, &[&first, &limit])
            .with_context(|| format!("read the ticks from {first} on"))?;
        Ok(rows.iter().map(tick).collect())
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
        let row_bytes_max = i32::try_from(UNPACKED_MAX)?;
        let parameters: [&(dyn ToSql + Sync); 6] = [
            &tick.since,
            &tick.until,
            &position.ordinal,
            &(tick.at.number - 1),
            &row_bytes_max,
            &self.skipped,
        ];
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

    /// The event of `tick` behind `position`, of which PostgreSQL [cannot send the text](is_untranslatable).
    pub(crate) fn untranslatable(
        &self,
        client: &mut Client,
        tick: &Tick,
        position: CursorPosition,
    ) -> Result<Option<Untranslatable>> {
        let row = client
            .query_opt(
                &format!("{WITHOUT_TEXTS} {OF_A_TICK} limit 1"),
                &[&tick.since, &tick.until, &position.ordinal, &(tick.at.number - 1)],
            )
            .context("look for the event that cannot be read")?;
        Ok(row.map(|row| Untranslatable {
            event_id: event_id(row.get(0), self.source_bits),
            txid: row.get::<_, Xid8>(1).0,
            shape: row.get(2),
            key: row.get(3),
        }))
    }
}

/// Whether PostgreSQL cannot send a text: it is none in the encoding that the source claims, or has no
/// equivalent in ours.
pub(crate) fn is_untranslatable(error: &Error) -> bool {
    let database = error.chain().find_map(|cause| cause.downcast_ref::<postgres::Error>());
    let code = database.and_then(postgres::Error::code);
    code.is_some_and(|code| {
        [SqlState::CHARACTER_NOT_IN_REPERTOIRE, SqlState::UNTRANSLATABLE_CHARACTER].contains(code)
    })
}

/// An event whose text cannot be read.
pub(crate) struct Untranslatable {
    pub(crate) event_id: Uuid,
    pub(crate) txid: i64,
    pub(crate) shape: i32,
    /// With the bytes that are no text escaped.
    pub(crate) key: Option<String>,
}

/// The events that are to be skipped and still there.
fn skipped_events(client: &mut Client) -> Result<Vec<i64>> {
    let row = client
        .query_one(
            "select array(select s.id from replication.skipped_event s
                          join replication.outbox_event e on (e.txid, e.id) = (s.txid, s.id))",
            &[],
        )
        .context("read which events are to be skipped")?;
    Ok(row.get(0))
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

/// Without what is to be skipped ($6), and without rows that are too large ($5) to be read at all.
const EVENTS: &str = "
    select n, total, id, txid, shape_id, operation, case when id <> all ($6::bigint[]) then key_text end,
           case when octet_length(row_text) <= $5::int and id <> all ($6::bigint[]) then row_text end,
           octet_length(row_text), id = any ($6::bigint[]),
           case when id <> all ($6::bigint[]) and (
               -- Usually nothing: then no event is looked up.
               select exists (select from replication.moved_key
                              where txid >= pg_snapshot_xmin($1::text::pg_snapshot)
                                and txid < pg_snapshot_xmax($2::text::pg_snapshot))) then
               (select m.new_key from replication.moved_key m where (m.txid, m.id) = (numbered.txid, numbered.id))
           end";

/// The same, whatever their texts are.
const WITHOUT_TEXTS: &str = "
    select id, txid, shape_id, encode(convert_to(key_text, current_setting('server_encoding')), 'escape')";

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
const OF_A_TICK: &str = "
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
