//! Messages that are of no use here.

use anyhow::{Context, Result};
use postgres::Transaction;

/// Puts messages into quarantine, each with the reason. The table is bounded: it keeps the last ones.
pub(crate) fn quarantine(transaction: &mut Transaction<'_>, messages: &[(String, &[u8])]) -> Result<()> {
    for (reason, payload) in messages {
        transaction
            .execute("select replication.set_aside($1, $2)", &[reason, payload])
            .context("put a message into quarantine")?;
    }
    Ok(())
}
