//! How a capture wakes the publisher: by NOTIFY, while a flag asks for it.

use anyhow::{Context, Result};
use postgres::Client;

/// Has NOTIFY wake this session; returns whether it will. Not where transactions can be prepared: one that
/// has notified cannot be.
pub(crate) fn listen(client: &mut Client) -> Result<bool> {
    let prepared: i32 = client
        .query_one("select current_setting('max_prepared_transactions')::int", &[])
        .context("read max_prepared_transactions")?
        .get(0);
    if prepared > 0 {
        return Ok(false);
    }
    client.batch_execute("listen replication_wake").context("listen")?;
    Ok(true)
}

/// Asks the capture triggers for a NOTIFY, or tells them that none is wanted.
pub(crate) fn want_wake(client: &mut Client, wanted: bool) -> Result<()> {
    let value = if wanted { 2_i64 } else { 1 };
    client.execute("select setval('replication.wake_wanted', $1)", &[&value]).context("set the wake flag")?;
    Ok(())
}
