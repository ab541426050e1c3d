//! Deletes what was applied, once it is older than `INBOX_RETENTION`. The ids of ticks are kept as long as
//! the source can send them again.

use crate::confirm_sender::ConfirmSender;
use anyhow::{Context, Result};
use shared::database::Database;
use shared::pruning::{self, ROWS_PER_STATEMENT};
use shared::supervisor::ThreadContext;
use std::time::Duration;

/// How long batches and events (`inbox`), and the ids of ticks (`outbox`) are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    pub(crate) inbox: Duration,
    pub(crate) outbox: Duration,
}

pub(crate) fn run(
    context: &ThreadContext,
    database: &Database,
    retention: Retention,
    confirm_sender: &ConfirmSender,
) -> Result<()> {
    let (keep, keep_ticks) = (retention.inbox.as_secs_f64(), retention.outbox.as_secs_f64());
    pruning::run(context, retention.inbox.min(retention.outbox), || {
        if !confirm_sender.is_leading() {
            return Ok(0);
        }
        let row = database
            .connection()?
            .query_one(
                "select replication.prune_inbox(make_interval(secs => $1), make_interval(secs => $2), $3)",
                &[&keep, &keep_ticks, &ROWS_PER_STATEMENT],
            )
            .context("prune the inbox")?;
        Ok(row.get(0))
    })
}
