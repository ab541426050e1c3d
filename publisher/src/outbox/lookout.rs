//! Looking whether anything was captured since the last tick.

use super::plan_once;
use super::ticks::is_captured_between;
use anyhow::{Context, Result};
use postgres::{Client, GenericClient, Statement};
use shared::wire::{Snapshot, TickRef};

/// Looks in one session of its own.
pub(crate) struct Lookout {
    last_tick: Statement,
    look: Statement,
}

/// What was found.
pub(crate) struct Sight {
    /// The last tick.
    pub(crate) tick: TickRef,
    /// Nothing was captured after the tick that this snapshot sees. None where something was.
    pub(crate) as_of: Option<Snapshot>,
    /// In microseconds since 1970, by the server's clock; not after the snapshot was taken.
    pub(crate) looked_at_us: i64,
}

impl Lookout {
    pub(crate) fn prepare(client: &mut Client) -> Result<Lookout> {
        plan_once(client)?;
        let last_tick = client
            .prepare("select tick, tick_id, snapshot::text from replication.tick order by tick desc limit 1")
            .context("prepare to read the last tick")?;
        // One statement, and so one snapshot.
        let look = client
            .prepare(&format!(
                "select pg_current_snapshot()::text, {},
                        (extract(epoch from statement_timestamp()) * 1e6)::bigint",
                is_captured_between("$1::text::pg_snapshot", "pg_current_snapshot()")
            ))
            .context("prepare to look for what was captured")?;
        Ok(Lookout { last_tick, look })
    }

    pub(crate) fn look(&self, client: &mut impl GenericClient) -> Result<Sight> {
        let last = client.query_one(&self.last_tick, &[]).context("read the last tick")?;
        let row = client
            .query_one(&self.look, &[&last.get::<_, &str>(2)])
            .context("look for what was captured since the last tick")?;
        let is_captured: bool = row.get(1);
        Ok(Sight {
            tick: TickRef { number: last.get(0), id: last.get(1) },
            as_of: Snapshot::try_from(row.get::<_, String>(0)).ok().filter(|_| !is_captured),
            looked_at_us: row.get(2),
        })
    }
}
