//! Messages that are of no use here.

use anyhow::{Context, Result};
use postgres::Transaction;

/// Puts messages into quarantine, each with the reason. The table is bounded: it keeps the last ones.
pub(crate) fn quarantine(transaction: &mut Transaction<'_>, messages: &[(String, &[u8])]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let (reasons, payloads): (Vec<&[u8]>, Vec<&[u8]>) =
        messages.iter().map(|(reason, payload)| (reason.as_bytes(), *payload)).unzip();
    transaction
        .execute(
            "select replication.set_aside(replication.text_for_people(reason), payload)
             from unnest($1::bytea[], $2::bytea[]) as message (reason, payload)",
            &[&reasons, &payloads],
        )
        .context("put messages into quarantine")?;
    Ok(())
}
