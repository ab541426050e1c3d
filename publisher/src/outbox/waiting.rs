//! How far the stages of replication are behind.

use super::progress::Progress;
use anyhow::{Context, Result};
use postgres::Client;
use shared::metrics::exact;

/// Ages are by the source's clock, of the oldest tick that waits; 0 when nothing does.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) taken_tick: i64,
    /// As the target says in its confirms.
    pub(crate) received_tick: f64,
    pub(crate) unpublished_seconds: f64,
    pub(crate) unreceived_seconds: f64,
    /// Until the target has confirmed.
    pub(crate) total_seconds: f64,
    pub(crate) unpublished_ticks: f64,
    pub(crate) unreceived_ticks: f64,
    pub(crate) unconfirmed_ticks: f64,
    /// Since 1970.
    pub(crate) oldest_unconfirmed_seconds: f64,
    /// The number of the oldest running transaction that has one; none where there is none.
    pub(crate) oldest_running: Option<String>,
    /// About the highest number of an event; none where the outbox is empty.
    pub(crate) last_event: Option<i64>,
    /// When the last tick was taken, in microseconds since 1970; none before the first.
    pub(crate) last_tick_at_us: Option<i64>,
    /// Since when publishing is paused, in microseconds since 1970, and why; none while it is not.
    pub(crate) paused: Option<(i64, String)>,
}

/// Looks up the oldest tick of each stage.
pub(crate) fn look(client: &mut Client, progress: Progress, received_tick: i64) -> Result<Waiting> {
    let Progress { published_tick, confirmed_tick } = progress;
    let row = client
        .query_one(
            "with now as (select clock_timestamp() as at, pg_current_snapshot() as snapshot), age as (
                 select extract(epoch from now.at - (select t.taken_at from replication.tick t where t.tick > $1
                            order by t.tick limit 1))::float8 as unpublished,
                        extract(epoch from now.at - (select t.taken_at from replication.tick t where t.tick > $2 and t.tick <= $1
                            order by t.tick limit 1))::float8 as unreceived,
                        extract(epoch from now.at - (select t.taken_at from replication.tick t where t.tick > $3
                            order by t.tick limit 1))::float8 as unconfirmed,
                        case when pg_snapshot_xmin(now.snapshot) < pg_snapshot_xmax(now.snapshot)
                            then pg_snapshot_xmin(now.snapshot)::text end as oldest_running,
                        extract(epoch from now.at)::float8 as at
                 from now)
             select (select max(t.tick) from replication.tick t), greatest(unpublished, 0), greatest(unreceived, 0),
                    greatest(unconfirmed, 0), oldest_running, at,
                    -- Events of transactions that ran at the same time are not in the order of their numbers.
                    (select max(e.id) from (select o.id from replication.outbox_event o order by o.txid desc, o.id desc limit 100) e),
                    (select (extract(epoch from t.taken_at) * 1e6)::bigint from replication.tick t where t.tick > 0 order by t.tick desc limit 1),
                    (extract(epoch from p.paused_at) * 1e6)::bigint, p.reason
             from age left join replication.paused p on p.what = 'publishing'",
            &[&published_tick, &received_tick, &confirmed_tick],
        )
        .context("look how far replication is")?;
    let age = |column: usize| row.get::<_, Option<f64>>(column).unwrap_or(0.0);
    let (taken_tick, total_seconds): (i64, f64) = (row.get(0), age(3));
    Ok(Waiting {
        taken_tick,
        received_tick: number(received_tick),
        unpublished_seconds: age(1),
        unreceived_seconds: age(2),
        total_seconds,
        unpublished_ticks: number(taken_tick - published_tick),
        unreceived_ticks: number(published_tick - received_tick),
        unconfirmed_ticks: number(taken_tick - confirmed_tick),
        oldest_unconfirmed_seconds: row.get::<_, f64>(5) - total_seconds,
        oldest_running: row.get(4),
        last_event: row.get(6),
        last_tick_at_us: row.get(7),
        paused: row.get::<_, Option<i64>>(8).zip(row.get(9)),
    })
}

/// Not below 0: positions and ticks are looked up one after the other.
fn number(ticks: i64) -> f64 {
    exact(ticks.max(0))
}
