//! What a session needs before it writes to the tables.

use anyhow::{Context, Result, anyhow};
use postgres::error::SqlState;
use postgres::{Client, GenericClient};
use shared::database::make_commits_durable;
use shared::fault::Fault;

/// Pins what names and values are read by, and what could end a statement, against the defaults of database and
/// role.
///
/// As in PostgreSQL's own apply worker, only triggers made for replication fire, and foreign keys are not
/// checked: a snapshot of the source satisfies them by construction.
pub(crate) fn prepare_session(client: &mut Client) -> Result<()> {
    make_commits_durable(client)?;
    client
        .batch_execute(
            "set search_path = pg_catalog; set row_security = off; select set_config(name, value, false) from replication.value_settings();
             set default_transaction_isolation = 'read committed'; set default_transaction_deferrable = off;
             set lock_timeout = 0",
        )
        .context("prepare the session")?;
    client.batch_execute("set session_replication_role = replica").map_err(|error| {
        let forbidden = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        let error = anyhow!(error);
        if forbidden {
            error
                .context("run: GRANT SET ON PARAMETER session_replication_role TO the role of DATABASE_URL;")
                .context(Fault::Fatal)
        } else {
            error.context("set session_replication_role")
        }
    })
}

/// The encoding of the target's database, as PostgreSQL calls it.
pub(crate) fn encoding(client: &mut impl GenericClient) -> Result<String> {
    let row =
        client.query_one("show server_encoding", &[]).context("look up the encoding of the database")?;
    Ok(row.get(0))
}
