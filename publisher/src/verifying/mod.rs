//! Continuous verification: compares each attached table with the target, slice by slice, for as long as this
//! process leads.
//!
//! A slice is read in one snapshot, and sent as keys and hashes. The target waits until it shows that
//! snapshot, and answers which rows it has otherwise. These are judged by what was captured since
//! ([`outbox_publisher::rules::verdicts`]): whatever is under way is never taken for a difference. Nothing
//! here changes a row.

mod asking;
mod look;
mod results;
mod rows;

use crate::leadership::{Leadership, Term};
use crate::outbox::source;
use anyhow::Result;
use asking::Asker;
use look::{Looking, Remembered, is_too_much};
use results::Findings;
use rows::{Attached, Rows};
use shared::broker::Broker;
use shared::printable::printable;
use shared::retry::Complaint;
use shared::supervisor::{Stop, ThreadContext};
use shared::wire::{Message, verified_subject, verify_subject};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// While there is nothing to look at.
const IDLE: Duration = Duration::from_secs(1);
/// What was found is known for some looks, and for so long beyond: a target may be silent for a while.
const KNOWN_BEYOND: Duration = Duration::from_secs(60);
/// Characters of a trouble.
const TROUBLE_MAX: usize = 500;

/// How much is compared, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Each table is looked at this often; zero: never.
    pub(crate) interval: Duration,
    /// Rows of a table that are looked at each time.
    pub(crate) rows_max: usize,
}

pub(crate) struct Verifying {
    broker: Broker,
    subject: String,
    answer_subject: String,
    leadership: Arc<Leadership>,
    budget: Budget,
    complaint: Complaint,
}

impl Verifying {
    pub(crate) fn new(
        broker: Broker,
        subject_prefix: &str,
        leadership: Arc<Leadership>,
        budget: Budget,
    ) -> Verifying {
        let (subject, answer_subject) = (verify_subject(subject_prefix), verified_subject(subject_prefix));
        Verifying { broker, subject, answer_subject, leadership, budget, complaint: Complaint::default() }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        let leadership = self.leadership.clone();
        leadership.in_each_term(context, "compare tables with the target", |term| self.session(term, context))
    }

    fn session(&mut self, term: &Term, context: &ThreadContext) -> Result<()> {
        let mut rows = Rows::prepare(term.session(1)?)?;
        let source = source::source_id(rows.client())?;
        let connection = Arc::new(self.broker.connect()?);
        let mut asker = Asker::new(connection.clone(), &self.subject, &self.answer_subject, source)?;
        let mut remembered: HashMap<i32, Remembered> = HashMap::new();
        results::forget_detached(rows.client())?;
        while term.continues(context.stop()) {
            connection.check()?;
            context.healthy();
            let tables = rows.attached()?;
            remembered.retain(|id, known| tables.iter().any(|table| table.id == *id && known.is_of(table)));
            let Some(target) = results::bound_target(rows.client(), term.number())? else {
                term.wait(context.stop(), IDLE);
                continue;
            };
            if tables.is_empty() {
                term.wait(context.stop(), IDLE);
            }
            for table in &tables {
                let begun = Instant::now();
                let known = remembered
                    .entry(table.id)
                    .or_insert_with(|| Remembered::new(table, self.budget.rows_max));
                self.look((term, context.stop()), &mut rows, &mut asker, (&target, table), known)?;
                context.healthy();
                self.pause((term, context.stop()), tables.len(), begun);
                if !term.continues(context.stop()) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Looks at one table. A look that finds nothing is no error of this session: why is stored.
    fn look(
        &mut self,
        (term, stop): (&Term, &Stop),
        rows: &mut Rows,
        asker: &mut Asker,
        (target, table): (&str, &Attached),
        remembered: &mut Remembered,
    ) -> Result<()> {
        let fresh_for = self.budget.interval * 3 + KNOWN_BEYOND;
        let findings = Findings { table, fresh_for };
        let mut looking = Looking { term, stop, rows, asker, target, rows_max: self.budget.rows_max };
        let looked = looking.look(table, remembered, findings);
        if !term.continues(stop) {
            return Ok(());
        }
        if let Err(error) = looked {
            if rows.client().is_closed() {
                return Err(error);
            }
            if is_too_much(&error) {
                remembered.shorten();
            }
            findings.store_trouble(rows.client(), &printable(&format!("{error:#}"), TROUBLE_MAX))?;
        }
        let finding = findings.read(rows.client())?;
        self.complain(table, &finding);
        asker.tell(term.timeline(), &table.shape, Message::Finding(finding)).map(drop)
    }

    fn complain(&mut self, table: &Attached, finding: &shared::wire::Finding) {
        let Some(first) = finding.differing.first() else { return };
        let text = format!(
            "{} differs in the target: {first}, and {}{} more; select * from replication.verification says which, and what to run",
            table.shape.name(),
            finding.differing.len() - 1,
            if finding.more_differ { " or" } else { "" }
        );
        if let Some(line) = self.complaint.due(&printable(&text, TROUBLE_MAX)) {
            log::error!("{line}");
        }
    }

    /// Until the next of so many tables is due: their looks are spread over the interval.
    fn pause(&self, (term, stop): (&Term, &Stop), tables: usize, begun: Instant) {
        let share = self.budget.interval / u32::try_from(tables).unwrap_or(u32::MAX).max(1);
        if let Some(rest) = share.checked_sub(begun.elapsed()) {
            term.wait(stop, rest);
        }
    }
}
