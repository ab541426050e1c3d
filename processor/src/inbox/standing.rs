//! How the target stands, for people.

use anyhow::{Context, Result};
use postgres::Client;

/// Times are in seconds since 1970, by the target's clock unless stated otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Age of the oldest message that is stored and not applied; 0 where there is none.
    pub(crate) unapplied_seconds: f64,
    pub(crate) unapplied_events: f64,
    pub(crate) held_since_seconds: Option<f64>,
    pub(crate) deletes_missing: f64,
    pub(crate) inserts_overwritten: f64,
    pub(crate) skipped_transactions: f64,
    pub(crate) quarantined_messages: f64,
    pub(crate) quarantine_unseen: f64,
    pub(crate) inbox_bytes: f64,
    /// As of when readers see the source, by the source's clock.
    pub(crate) source_time_seconds: Option<f64>,
    /// How long ago that was.
    pub(crate) behind_seconds: Option<f64>,
    /// Since when applying is paused, and why; none while it is not.
    pub(crate) paused: Option<(f64, String)>,
}

/// Looks; that may take long where much waits in the inbox.
pub(crate) fn look(client: &mut Client) -> Result<Standing> {
    let row = client
        .query_one(
            "select greatest(extract(epoch from clock_timestamp() - (
                        select b.received_at from replication.inbox_batch b where b.tick > coalesce(p.applied_tick, 0)
                        order by b.tick, b.first_ordinal limit 1)), 0)::float8 as unapplied_seconds,
                    (select coalesce(sum(b.last_ordinal - b.first_ordinal + 1), 0) from replication.inbox_batch b
                     where b.tick > coalesce(p.applied_tick, 0))::float8 as unapplied_events,
                    extract(epoch from p.held_since)::float8 as held_since,
                    coalesce(p.deletes_missing, 0)::float8 as deletes_missing,
                    coalesce(p.inserts_overwritten, 0)::float8 as inserts_overwritten,
                    (select count(*) from replication.skipped_transaction where applied_tick is not null)::float8 as skipped,
                    q.messages::float8 as quarantined, q.unseen::float8 as unseen,
                    pg_total_relation_size('replication.inbox_batch')::float8 as inbox_bytes,
                    extract(epoch from a.source_time)::float8 as source_time, extract(epoch from a.behind)::float8 as behind,
                    extract(epoch from s.paused_at)::float8 as paused_at, s.reason as paused_why
             from replication.quarantine_status q
             left join replication.position p on true left join replication.as_of a on true
             left join replication.paused s on s.what = 'applying'",
            &[],
        )
        .context("look how the target stands")?;
    Ok(Standing {
        unapplied_seconds: row.get::<_, Option<f64>>("unapplied_seconds").unwrap_or(0.0),
        unapplied_events: row.get("unapplied_events"),
        held_since_seconds: row.get("held_since"),
        deletes_missing: row.get("deletes_missing"),
        inserts_overwritten: row.get("inserts_overwritten"),
        skipped_transactions: row.get("skipped"),
        quarantined_messages: row.get("quarantined"),
        quarantine_unseen: row.get("unseen"),
        inbox_bytes: row.get("inbox_bytes"),
        source_time_seconds: row.get("source_time"),
        behind_seconds: row.get("behind"),
        paused: row.get::<_, Option<f64>>("paused_at").zip(row.get("paused_why")),
    })
}
