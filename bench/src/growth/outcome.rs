//! What `--growth` measured, and its report.

use crate::machine::Machine;
use crate::picture::thousands;
use crate::place::Place;
use anyhow::Result;
use std::fmt::Write;
use std::time::Duration;

/// One measure.
pub(super) struct Outcome {
    pub(super) what: String,
    pub(super) events: u64,
    pub(super) took: Duration,
    /// Events per second of native behind the same backlog.
    pub(super) native: Option<f64>,
    pub(super) publisher_mib: f64,
    pub(super) processor_mib: f64,
}

impl Outcome {
    pub(super) fn events_per_s(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }

    pub(super) fn line(&self) -> String {
        let rate = self.events_per_s();
        let beside = self.native.map_or_else(
            || " | ".to_owned(),
            |native| format!("{} | {:.2}", thousands(native), rate / native),
        );
        format!(
            "{} | {:.2} | {} | {beside} | {:.1} | {:.1}",
            self.what,
            self.took.as_secs_f64(),
            thousands(rate),
            self.publisher_mib,
            self.processor_mib
        )
    }
}

pub(super) fn report(place: &Place, outcomes: &[Outcome]) -> Result<String> {
    let machine = Machine::describe(place)?;
    let mut text = format!(
        "# Results of bench-replication.sh --growth\n\n\
         Revision {}; {} cores, {:.1} GiB; PostgreSQL {}, nats-server {}. Each row in fresh databases; publisher and \
         processor begin together behind the backlog. **A equalled B** after each.\n\n\
         | events | seconds | events/s | native's events/s | against native | outbox-publisher, most MiB | inbox-processor, most MiB |\n\
         |---|---|---|---|---|---|---|\n",
        machine.revision, machine.cores, machine.memory_gib, machine.postgres, machine.nats
    );
    for outcome in outcomes {
        let _ = writeln!(text, "| {} |", outcome.line());
    }
    Ok(text)
}
