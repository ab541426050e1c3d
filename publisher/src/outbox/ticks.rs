//! Taking ticks, and looking them up.

use super::plan_once;
use anyhow::{Context, Result};
use postgres::{Client, Statement};
use shared::fault::Fault;
use uuid::Uuid;

/// Takes ticks. Only the holder of the publisher's lock may.
pub(crate) struct TickTaker {
    last_tick: i64,
    last_snapshot: String,
    take: Statement,
}

impl TickTaker {
    /// Continues after the last tick that was ever taken.
    pub(crate) fn new(client: &mut Client) -> Result<TickTaker> {
        let row = client
            .query_one("select tick, snapshot::text from replication.tick order by tick desc limit 1", &[])
            .context("read the last tick")?;
        plan_once(client)?;
        // One statement, and so one snapshot: it checks for events and stores its snapshot as the tick. The
        // snapshot of the last tick is a parameter, so that the planner uses the index. Events of
        // transactions in progress, however many, would each be read only to be found invisible: so of the
        // transactions in progress at the last tick, only those that have ended are looked up, and of the
        // later ones those between two in progress. Two takers would collide on the primary key.
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

    /// Takes a tick if there are new events; returns whether it did. The tick is durable then.
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

/// The error when the target needs ticks from `first` on, and those up to `last` were pruned.
pub(crate) fn ticks_are_gone(first: i64, last: i64) -> anyhow::Error {
    anyhow::anyhow!(
        "the target needs ticks {first} to {last}, which have left the outbox (OUTBOX_RETENTION): it was restored from a \
         backup that is too old, or is new. Nothing is published or applied. Restore a newer backup of the target, or \
         start over: in the source select replication.start_over(), in the target select replication.adopt_source(…) \
         with what that returns (docs/operations.md)"
    )
    .context(Fault::Fatal)
}
