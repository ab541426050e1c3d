//! Looks once a minute whether every attached table is still captured in full. What silently escapes
//! capture is worse than an error.

use crate::outbox;
use crate::state::State;
use anyhow::Result;
use shared::database::Database;
use shared::retry::Complaint;
use shared::supervisor::ThreadContext;
use std::time::Duration;

const AUDIT_INTERVAL: Duration = Duration::from_secs(60);

/// Audits until a stop is requested.
pub(crate) fn run(context: &ThreadContext, database: &Database, state: &State) -> Result<()> {
    let mut complaint = Complaint::default();
    context.keep_trying("audit the capture", || {
        context.healthy();
        if !state.wait_to_lead(context.stop()) {
            return Ok(());
        }
        while !context.stop().requested() && state.is_leading() {
            let problems = outbox::capture_problems(&mut *database.connection()?)?;
            if problems.is_empty() {
                context.healthy();
            } else {
                let text = problems.join("; ");
                context.unhealthy(&text);
                if complaint.is_due(&text) {
                    log::error!("the capture has a hole: {text}");
                }
            }
            context.stop().wait(AUDIT_INTERVAL);
        }
        Ok(())
    })
}
