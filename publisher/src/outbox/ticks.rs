//! Taking ticks, and looking them up.

use super::plan_once;
use anyhow::{Context, Result};
use outbox_publisher::rules::history::{Ticks, of_another_server};
use postgres::{Client, Row, Statement};
use uuid::Uuid;

/// So many recorded snapshots become ticks in one transaction.
const RECORDED_PER_TRANSACTION: i32 = 64;

/// Takes ticks. Only the holder of the publisher's lock may.
pub(crate) struct TickTaker {
    last_tick: i64,
    last_snapshot: String,
    /// With the snapshot of now.
    take: Statement,
    /// With a snapshot of the past.
    take_recorded: Statement,
}

impl TickTaker {
    /// Continues after the last tick that was ever taken. Fails, and finally, where that was at another server.
    pub(crate) fn new(client: &mut Client) -> Result<TickTaker> {
        let row = client
            .query_one(
                "select tick, snapshot::text, pg_snapshot_xmax(snapshot) > pg_snapshot_xmax(pg_current_snapshot())
                 from replication.tick order by tick desc limit 1",
                &[],
            )
            .context("read the last tick")?;
        if row.get(2) {
            return Err(of_another_server(row.get(0)));
        }
        plan_once(client)?;
        let take =
            client.prepare(&take_a_tick("pg_current_snapshot()", "")).context("prepare to take ticks")?;
        let take_recorded = client
            .prepare(&take_a_tick(
                "$3::text::pg_snapshot",
                "and replication.is_later($2::text::pg_snapshot, $3::text::pg_snapshot)
                 and replication.is_later($3::text::pg_snapshot, pg_current_snapshot())",
            ))
            .context("prepare to take ticks of the past")?;
        Ok(TickTaker { last_tick: row.get(0), last_snapshot: row.get(1), take, take_recorded })
    }

    pub(crate) fn last_tick(&self) -> i64 {
        self.last_tick
    }

    /// Takes a tick if there are new events; returns whether it did. The tick is durable then.
    pub(crate) fn take(&mut self, client: &mut Client) -> Result<bool> {
        let taken = client
            .query_opt(&self.take, &[&self.last_tick, &self.last_snapshot])
            .with_context(|| format!("take tick {}", self.last_tick + 1))?;
        Ok(self.follow(taken))
    }

    /// Takes ticks with the snapshots that captures recorded since the last one, so that what was written
    /// during a pause is not one large tick. Calls `taken` whenever some are durable, with the last of them.
    pub(crate) fn take_recorded(&mut self, client: &mut Client, mut taken: impl FnMut(i64)) -> Result<()> {
        let row = client
            .query_one("select pg_snapshot_xmax($1::text::pg_snapshot)::text", &[&self.last_snapshot])
            .context("read the last tick's snapshot")?;
        let mut after: (String, i64) = (row.get(0), 0);
        loop {
            let mut transaction = client.transaction().context("begin a transaction")?;
            let recorded = transaction
                .query(
                    "select snapshot_xmax::text, id, snapshot::text
                     from replication.recorded_snapshots($1::text::xid8, $2, $3)",
                    &[&after.0, &after.1, &RECORDED_PER_TRANSACTION],
                )
                .context("read the recorded snapshots")?;
            let Some(last) = recorded.last() else { return Ok(()) };
            after = (last.get(0), last.get(1));
            let before = self.last_tick;
            for row in &recorded {
                let snapshot: &str = row.get(2);
                let tick = transaction
                    .query_opt(&self.take_recorded, &[&self.last_tick, &self.last_snapshot, &snapshot])
                    .with_context(|| format!("take tick {} of the past", self.last_tick + 1))?;
                self.follow(tick);
            }
            transaction.commit().context("commit ticks")?;
            if self.last_tick > before {
                taken(self.last_tick);
            }
        }
    }

    fn follow(&mut self, taken: Option<Row>) -> bool {
        let Some(row) = taken else { return false };
        self.last_tick = row.get(0);
        self.last_snapshot = row.get(1);
        true
    }
}

/// The statement that takes a tick after tick $1, which has the snapshot $2.
///
/// One statement, and so one snapshot: it checks for events and stores its snapshot as the tick. Two takers would
/// collide on the primary key.
fn take_a_tick(snapshot: &str, condition: &str) -> String {
    format!(
        "insert into replication.tick (tick, previous_id, snapshot)
         select last.tick + 1, last.tick_id, {snapshot}
         from replication.tick last
         where last.tick = $1 {condition} and {}
         returning tick, snapshot::text",
        is_captured_between("$2::text::pg_snapshot", snapshot)
    )
}

/// Whether there are events that `snapshot` sees and `last` does not.
///
/// `last` is to be a parameter, so that the planner uses the index. Events of transactions in progress, however many,
/// would each be read only to be found invisible: so of the transactions in progress at the last tick, only those that
/// have ended are looked up, and of the later ones those between two in progress.
pub(super) fn is_captured_between(last: &str, snapshot: &str) -> String {
    format!(
        "(exists (select
                from (select bound as after, lead(bound) over (order by bound) as before
                      from (select (pg_snapshot_xmax({last})::text::bigint - 1)::text::xid8
                            union all
                            select open from pg_snapshot_xip({snapshot}) open
                            where open >= pg_snapshot_xmax({last})
                            union all
                            select pg_snapshot_xmax({snapshot})) bounds (bound)) gap
                cross join lateral (select from replication.outbox_event e
                                    where e.txid > gap.after and e.txid < gap.before limit 1) found)
          or exists (select from replication.outbox_event e
                     where e.txid = any (array(
                         select ended from pg_snapshot_xip({last}) ended
                         where pg_visible_in_snapshot(ended, {snapshot})))))"
    )
}

/// The number of the first tick that is left: the events of those after it can be read.
pub(crate) fn oldest_tick(client: &mut Client) -> Result<i64> {
    let row =
        client.query_one("select min(tick) from replication.tick", &[]).context("look up the oldest tick")?;
    Ok(row.get(0))
}

/// The ticks of the source that a connection is to.
pub(crate) struct TicksOf<'a>(pub(crate) &'a mut Client);

impl Ticks for TicksOf<'_> {
    fn oldest(&mut self) -> Result<i64> {
        oldest_tick(self.0)
    }

    fn id(&mut self, tick: i64) -> Result<Option<Uuid>> {
        let row = self
            .0
            .query_opt("select tick_id from replication.tick where tick = $1", &[&tick])
            .with_context(|| format!("look up tick {tick}"))?;
        Ok(row.map(|row| row.get(0)))
    }
}
