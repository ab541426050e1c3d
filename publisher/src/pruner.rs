//! Deletes confirmed events that are older than `OUTBOX_RETENTION`.

use crate::leadership::Leadership;
use anyhow::{Context, Result};
use shared::pruning::{self, ROWS_PER_STATEMENT};
use shared::supervisor::ThreadContext;
use std::time::Duration;

pub(crate) fn run(context: &ThreadContext, retention: Duration, leadership: &Leadership) -> Result<()> {
    let keep_seconds = retention.as_secs_f64();
    pruning::run(context, retention, || {
        let Some(term) = leadership.current() else { return Ok(0) };
        let row = term
            .connection()?
            .query_one(
                "select replication.prune_outbox(make_interval(secs => $1), $2)",
                &[&keep_seconds, &ROWS_PER_STATEMENT],
            )
            .context("prune the outbox")?;
        Ok(row.get(0))
    })
}
