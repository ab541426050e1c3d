//! Which source this is: its identity, and the timeline that it writes.

use anyhow::{Context, Result};
use postgres::Client;

/// The identity of the source: the database, and the history that its ticks belong to.
pub(crate) fn source_id(client: &mut Client) -> Result<String> {
    let row =
        client.query_one("select replication.source_id()", &[]).context("read the identity of the source")?;
    Ok(row.get(0))
}

/// The timeline that the server of this connection writes.
pub(crate) fn wal_timeline(client: &mut Client) -> Result<i64> {
    let row =
        client.query_one("select replication.wal_timeline()", &[]).context("read the source's timeline")?;
    row.get::<_, Option<i64>>(0).context("the source is a standby")
}
