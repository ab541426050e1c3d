//! The table `replication.progress`: terms, how far ticks are published and confirmed, and the bound target.

use crate::cannot_travel::CannotTravel;
use anyhow::{Context, Result};
use postgres::Client;
use shared::wire::Status;

/// How far ticks are published and confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The last tick of which the stream has acknowledged every batch.
    pub(crate) published_tick: i64,
    /// The last tick that the target has committed.
    pub(crate) confirmed_tick: i64,
}

/// What a publisher finds at the beginning of its term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TermStart {
    pub(crate) number: i64,
    /// As the last publisher stored it.
    pub(crate) progress: Progress,
    /// The timeline on which the target last showed that its history is this one; the present one where
    /// there is nothing to compare yet.
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
        progress: Progress { published_tick: row.get(1), confirmed_tick: row.get(2) },
        matched_timeline: row.get(3),
        timeline: row.get(4),
    })
}

/// Stores that the target's history is this one on `timeline`. False when another publisher has begun a
/// later term.
pub(crate) fn store_matched_timeline(client: &mut Client, term: i64, timeline: i64) -> Result<bool> {
    let stored = client
        .execute("update replication.progress set timeline = $2 where term = $1", &[&term, &timeline])
        .context("store the timeline that the target is known on")?;
    Ok(stored > 0)
}

/// Stores the progress without waiting for the disk: losing it costs a resend. False when another publisher
/// has begun a later term, or the server writes another `timeline` than the one on which the term began: a
/// standby that was promoted may give the number of this term again, and has other ticks.
///
/// What is `held` cannot be sent, and holds up what comes later.
///
/// A target that was set back behind the oldest tick that is left still has the events to apply: then the
/// oldest tick is stored as confirmed.
pub(crate) fn store_progress(
    client: &mut Client,
    (term, timeline): (i64, i64),
    progress: Progress,
    held: Option<&CannotTravel>,
) -> Result<bool> {
    let stored = client
        .execute(
            "with fast as (select set_config('synchronous_commit', 'off', true))
             update replication.progress
             set published_tick = $2,
                 confirmed_tick = coalesce((select tick from replication.tick where tick = $3),
                                           (select min(tick) from replication.tick)),
                 held_since = case when $4::text is not null then coalesce(held_since, clock_timestamp()) end,
                 held_error = $4, held_event = $5, held_txid = $6::bigint::text::xid8
             from fast where term = $1 and replication.wal_timeline() = $7",
            &[
                &term,
                &progress.published_tick,
                &progress.confirmed_tick,
                &held.map(CannotTravel::to_string),
                &held.map(|held| held.event_id),
                &held.map(|held| held.txid),
                &timeline,
            ],
        )
        .context("store the progress")?;
    Ok(stored > 0)
}

/// Stores what the target has told of itself, for people.
pub(crate) fn store_report(client: &mut Client, target: &str, status: &Status) -> Result<()> {
    let Status { version, trouble, events } = status;
    client
        .execute(
            "with fast as (select set_config('synchronous_commit', 'off', true))
             insert into replication.heard_target as h (target, version, trouble, events)
             select $1, $2, $3, $4 from fast
             on conflict (only_row) do update set target = excluded.target, heard_at = clock_timestamp(),
                 version = excluded.version, trouble = excluded.trouble, events = excluded.events",
            &[&target, version, trouble, &i64::try_from(*events)?],
        )
        .context("store what the target tells of itself")?;
    Ok(())
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
