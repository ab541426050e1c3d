//! Checks once a minute whether every attached table is still captured completely: a change that is lost
//! silently is worse than an error.

use crate::leadership::{Leadership, Term};
use crate::metrics::{METRICS, UNKNOWN};
use anyhow::{Context, Result};
use postgres::Client;
use shared::retry::Complaint;
use shared::supervisor::ThreadContext;
use std::sync::atomic::Ordering;
use std::time::Duration;

const AUDIT_INTERVAL: Duration = Duration::from_secs(60);

/// Audits until a stop is requested.
pub(crate) fn run(context: &ThreadContext, leadership: &Leadership) -> Result<()> {
    let mut complaint = Complaint::default();
    leadership.in_each_term(context, "audit the capture", |term| {
        let ended = session(context, term, &mut complaint);
        METRICS.capture_problems.store(UNKNOWN, Ordering::Release);
        ended
    })
}

fn session(context: &ThreadContext, term: &Term, complaint: &mut Complaint) -> Result<()> {
    while term.continues(context.stop()) {
        let problems = capture_problems(&mut *term.connection()?)?;
        METRICS.capture_problems.store(i64::try_from(problems.len())?, Ordering::Release);
        if problems.is_empty() {
            context.healthy();
        } else {
            let text = problems.join("; ");
            context.unhealthy(&text);
            if let Some(text) = complaint.due(&text) {
                log::error!(error = text.as_str(); "changes are not captured completely");
            }
        }
        term.wait(context.stop(), AUDIT_INTERVAL);
    }
    Ok(())
}

/// What is wrong with the capture of attached tables, by table. Notes what may have escaped it, so that this is
/// still known when the capture is whole again.
fn capture_problems(client: &mut Client) -> Result<Vec<String>> {
    client.execute("select replication.note_holes()", &[]).context("note holes in the capture")?;
    let rows = client
        .query("select table_name || ': ' || problem from replication.capture_problem order by 1", &[])
        .context("audit the capture")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
