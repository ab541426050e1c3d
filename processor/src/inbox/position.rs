//! How far the target is, as committed.

use anyhow::{Context, Result, ensure};
use inbox_processor::rules::position::TargetPosition;
use postgres::{Client, Transaction};
use shared::wire::{Position, TickRef};
use uuid::Uuid;

const POSITION: &str = "
    select source, timeline, received_tick, received_id, received_ordinal, received_total, applied_tick, applied_id
    from replication.position";

/// The position as committed.
pub(crate) fn read_position(client: &mut Client) -> Result<Option<TargetPosition>> {
    let row = client.query_opt(POSITION, &[]).context("read the position")?;
    Ok(row.as_ref().map(target_position))
}

/// Locks the position until the end of the transaction. Fails where it is not `expected`: then another
/// session has moved it, and nothing of this transaction may be committed.
pub(crate) fn lock_position(transaction: &mut Transaction<'_>, expected: &TargetPosition) -> Result<()> {
    let row = transaction.query_opt(&format!("{POSITION} for update"), &[]).context("lock the position")?;
    let position = row.as_ref().map(target_position);
    ensure!(
        position.as_ref() == Some(expected),
        "the position is not where this session left it; reading it again"
    );
    Ok(())
}

fn target_position(row: &postgres::Row) -> TargetPosition {
    let applied: Option<i64> = row.get("applied_tick");
    let applied_id: Option<Uuid> = row.get("applied_id");
    TargetPosition {
        source: row.get("source"),
        timeline: row.get("timeline"),
        received: Position {
            tick: TickRef { number: row.get("received_tick"), id: row.get("received_id") },
            ordinal: row.get("received_ordinal"),
            total: row.get("received_total"),
        },
        applied: applied.zip(applied_id).map(|(tick, id)| TickRef { number: tick, id }),
    }
}
