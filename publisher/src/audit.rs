//! Looks once a minute whether every attached table is still captured in full. What silently escapes
//! capture is worse than an error.

use crate::leadership::Leadership;
use crate::outbox;
use anyhow::Result;
use shared::retry::Complaint;
use shared::supervisor::ThreadContext;
use std::time::Duration;

const AUDIT_INTERVAL: Duration = Duration::from_secs(60);

/// Audits until a stop is requested.
pub(crate) fn run(context: &ThreadContext, leadership: &Leadership) -> Result<()> {
    let mut complaint = Complaint::default();
    leadership.in_each_term(context, "audit the capture", |term| {
        while term.continues(context.stop()) {
            let problems = outbox::capture_problems(&mut *term.connection()?)?;
            if problems.is_empty() {
                context.healthy();
            } else {
                let text = problems.join("; ");
                context.unhealthy(&text);
                if complaint.is_due(&text) {
                    log::error!("the capture has a hole: {text}");
                }
            }
            term.wait(context.stop(), AUDIT_INTERVAL);
        }
        Ok(())
    })
}
