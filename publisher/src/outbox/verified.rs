//! What the verification knows of each table.

use anyhow::{Context, Result};
use postgres::Client;

/// An attached table.
#[derive(Clone, Debug)]
pub(crate) struct VerifiedTable {
    /// `schema.table`.
    pub(crate) table: String,
    /// When the last round of it was complete, in seconds since 1970; none before the first.
    pub(crate) verified_at_seconds: Option<f64>,
    /// Rows that are known to differ; none where nothing is known now.
    pub(crate) differing_rows: Option<f64>,
}

/// Looks up all attached tables.
pub(crate) fn look(client: &mut Client) -> Result<Vec<VerifiedTable>> {
    let rows = client
        .query(
            "select v.table_name, extract(epoch from v.verified_at)::float8,
                    case when v.state <> 'unknown' then v.differing_rows::float8 end
             from replication.verification_of_source v",
            &[],
        )
        .context("look which tables are verified")?;
    Ok(rows
        .iter()
        .map(|row| VerifiedTable {
            table: row.get(0),
            verified_at_seconds: row.get(1),
            differing_rows: row.get(2),
        })
        .collect())
}
