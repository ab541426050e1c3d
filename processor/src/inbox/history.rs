//! Whose history this target follows: what is of another one is set aside, what is of an abandoned source is
//! dropped.

use anyhow::{Context, Result};
use inbox_processor::rules::position::TargetPosition;
use postgres::{Client, GenericClient};
use shared::wire::{Batch, TickRef};
use std::collections::HashSet;
use uuid::Uuid;

/// Those of the ticks that were applied here under another id: they are of another history.
pub(crate) fn forked_ticks(client: &mut impl GenericClient, ticks: &[TickRef]) -> Result<HashSet<TickRef>> {
    if ticks.is_empty() {
        return Ok(HashSet::new());
    }
    let numbers: Vec<i64> = ticks.iter().map(|tick| tick.number).collect();
    let ids: Vec<Uuid> = ticks.iter().map(|tick| tick.id).collect();
    let forks = client
        .query(
            "select k.tick, k.tick_id
             from unnest($1::bigint[], $2::uuid[]) as k (tick, tick_id)
             join replication.applied_tick a using (tick)
             where a.tick_id <> k.tick_id",
            &[&numbers, &ids],
        )
        .context("compare with the ticks applied here")?;
    Ok(forks.iter().map(|row| TickRef { number: row.get(0), id: row.get(1) }).collect())
}

/// What to do about the publisher of a source that this target does not follow.
pub(crate) fn other_source(batch: &Batch, position: &TargetPosition) -> String {
    let (other, own) = (&batch.source.id, &position.source);
    format!(
        "setting aside what the source {other} sends: this target follows {own}. Stop the publisher of {other}, or give it a \
         NATS_SUBJECT_PREFIX of its own. If that is the source to follow from now on: select replication.start_over() \
         there, and here select replication.adopt_source(…) with what that returns (docs/operations.md)"
    )
}

/// Why a batch may name the right source and be of another history.
pub(crate) fn other_history(batch: &Batch) -> String {
    format!(
        "setting aside batches that name the source {} and do not continue its history (tick {}): a copy of its server \
         publishes too, or an old or forged message came. Or it was restored, or failed over, and lost ticks: then \
         outbox-publisher ends and says what to do (docs/operations.md)",
        batch.source.id, batch.tick.number
    )
}

/// The names under which nothing is expected any more: those that this target followed before it adopted another
/// source, and the one that an adopted source had before it started over. What its publisher sent until then is
/// still in the stream.
pub(crate) fn abandoned_sources(client: &mut Client) -> Result<HashSet<String>> {
    let rows = client
        .query(
            "select distinct a.name
             from replication.adoption,
                  unnest(array[from_source, substring(to_source from '^(.+)/[0-9a-f]{8}$')]) as a (name)
             where a.name is not null and a.name not in (select source from replication.position)",
            &[],
        )
        .context("read which sources are abandoned")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
