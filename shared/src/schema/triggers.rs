//! The capture triggers of attached tables. To make one locks its table against writers, so it is done by a
//! command that an operator runs, and never by a service that starts.

use super::locks::{self, Attempts};
use anyhow::{Context, Result};
use postgres::Client;
use postgres::types::ToSql;

/// Makes the triggers that an older version made otherwise: one transaction for each table, which waits for
/// its writers only briefly, so that nobody queues behind it for long; again and again, until none is left.
/// Blocks for minutes where transactions that write stay open.
///
/// # Errors
///
/// Where a table's writers did not end in time; names the table. What was made until then stays.
pub(super) fn renew(client: &mut Client, attempts: Attempts) -> Result<()> {
    attempts.until_unlocked(|| renew_stale(client))
}

/// Sees to it that the owner of an attached table can add events of his own tables only, where an older version left the
/// outbox without that. Blocks for minutes where transactions that write stay open.
///
/// # Errors
///
/// Where writers of attached tables did not end in time.
pub(super) fn guard_outbox(client: &mut Client, attempts: Attempts) -> Result<()> {
    let guarded = client.query_one("select replication.is_outbox_guarded()", &[]);
    if guarded.context("look whether the outbox is guarded")?.get(0) {
        return Ok(());
    }
    attempts.until_unlocked(|| {
        waiting_briefly(client, "select replication.guard_outbox()", &[])
            .context("guard the outbox, whose writers have not ended; run this again")
    })?;
    log::info!("the outbox takes events of their own tables only from the owners of tables");
    Ok(())
}

/// Each table once. The error of one whose writers have not ended comes after the others had their turn.
fn renew_stale(client: &mut Client) -> Result<()> {
    let mut blocked = Ok(());
    for (relation, table) in stale_tables(client)? {
        let renewed = renew_one(client, relation).with_context(|| {
            format!("make the capture triggers of {table}, whose writers have not ended; run this again")
        });
        match renewed {
            Ok(()) => log::info!(table = table.as_str(); "made the capture triggers of {table}"),
            Err(error) if locks::is_timeout(&error) => blocked = blocked.and(Err(error)),
            Err(error) => return Err(error),
        }
    }
    blocked
}

fn stale_tables(client: &mut Client) -> Result<Vec<(u32, String)>> {
    let rows = client
        .query(
            "select a.relation::oid as relation, a.relation::text as name
             from replication.attached a
             join pg_catalog.pg_class c on c.oid = a.relation
             where (select r.reason from replication.refusal(a.relation) r) is null
               and exists (select from replication.stale_capture_triggers(a.relation))
             order by a.relation",
            &[],
        )
        .context("look for capture triggers of an older version")?;
    Ok(rows.iter().map(|row| (row.get("relation"), row.get("name"))).collect())
}

fn renew_one(client: &mut Client, relation: u32) -> Result<()> {
    waiting_briefly(client, "select replication.attach($1::oid::regclass)", &[&relation])
}

/// Executes the statement in a transaction of its own, which waits for locks only briefly.
fn waiting_briefly(client: &mut Client, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<()> {
    let mut transaction = client.transaction().context("begin")?;
    transaction.batch_execute(locks::SET_TIMEOUT).context("limit the wait for locks")?;
    transaction.execute(statement, parameters).with_context(|| statement.to_owned())?;
    transaction.commit().context("commit")
}
