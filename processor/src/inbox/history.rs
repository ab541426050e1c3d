//! Whose history this target follows: another one is refused, an abandoned one is dropped.

use anyhow::{Context, Result, anyhow};
use postgres::{Client, GenericClient};
use shared::fault::Fault;
use shared::wire::Batch;
use std::collections::HashSet;
use std::sync::Arc;
use uuid::Uuid;

/// Fails when ticks that were applied here come with other ids: then they are of another history.
pub(crate) fn check_known(client: &mut impl GenericClient, known: &[Arc<Batch>]) -> Result<()> {
    let ticks: Vec<i64> = known.iter().map(|batch| batch.tick.number).collect();
    let ids: Vec<Uuid> = known.iter().map(|batch| batch.tick.id).collect();
    let fork = client
        .query_opt(
            "select a.tick, a.tick_id, k.tick_id
             from unnest($1::bigint[], $2::uuid[]) as k (tick, tick_id)
             join replication.applied_tick a using (tick)
             where a.tick_id <> k.tick_id limit 1",
            &[&ticks, &ids],
        )
        .context("compare with the ticks applied here")?;
    let Some(row) = fork else { return Ok(()) };
    let (tick, applied, received): (i64, Uuid, Uuid) = (row.get(0), row.get(1), row.get(2));
    Err(anyhow!(
        "tick {tick} was applied here as {applied} and now comes as {received}: was the source restored, or did it fail \
         over and lose ticks? Applying nothing. To start over: at the source select replication.start_over(), \
         here select replication.adopt_source(…) with what that returns"
    )
    .context(Fault::Fatal))
}

/// The sources that this target followed before another was adopted.
pub(crate) fn abandoned_sources(client: &mut Client) -> Result<HashSet<String>> {
    let rows = client
        .query(
            "select distinct from_source from replication.adoption
             where from_source not in (select source from replication.position)",
            &[],
        )
        .context("read which sources are abandoned")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
