//! Messages that are of no use here, and what people are told about them. They stop nothing.

use crate::inbox::Unusable;
use anyhow::Error;
use shared::printable::printable;
use shared::retry::Complaint;
use shared::unexpected::UnexpectedSenders;
use shared::wire::Batch;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A publisher that does not belong here is reported for so long after its last message.
const UNEXPECTED_GONE_AFTER: Duration = Duration::from_secs(20);

/// In place of a source: whose messages are of a format that this program does not read.
const ANOTHER_VERSION: &str = "another version";

/// Why a message is set aside may quote it: what is kept of that. PostgreSQL's text has no NUL, either.
const REASON_MAX: usize = 2000;

/// The messages of one group that are set aside or dropped.
#[derive(Default)]
pub(super) struct SetAside<'a> {
    /// For quarantine.
    pub(super) messages: Unusable<'a>,
    report: Report,
}

/// The same, for people.
#[derive(Default)]
pub(super) struct Report {
    /// What is wrong with the sender, by the source that it names, or [`ANOTHER_VERSION`].
    unexpected: BTreeMap<String, String>,
    /// Why the last one of those that cannot be decoded cannot be.
    unreadable: Option<String>,
    /// The abandoned source whose batches were dropped.
    dropped: Option<String>,
}

impl<'a> SetAside<'a> {
    pub(super) fn unexpected(&mut self, batch: &Batch, trouble: String, message: &'a [u8]) {
        self.messages.add(printable(&trouble, REASON_MAX), message);
        self.report.unexpected.insert(batch.source.id.clone(), trouble);
    }

    pub(super) fn unreadable(&mut self, error: &Error, message: &'a [u8]) {
        let reason = printable(&format!("{error:#}"), REASON_MAX);
        self.report.unreadable = Some(reason.clone());
        self.messages.add(reason, message);
    }

    /// Another version of this program can read the message. It is no poison: it comes again.
    pub(super) fn other_format(&mut self, error: &Error) {
        let trouble = format!(
            "{error:#}; it is not applied, and the source sends it again: upgrade the older one of outbox-publisher and \
             inbox-processor"
        );
        self.report.unexpected.insert(ANOTHER_VERSION.to_owned(), trouble);
    }

    pub(super) fn dropped(&mut self, batch: &Batch) {
        self.report.dropped = Some(batch.source.id.clone());
    }

    pub(super) fn into_report(self) -> Report {
        self.report
    }
}

/// Who publishes here and should not.
pub(super) struct Uninvited {
    unexpected: UnexpectedSenders,
    complaint: Complaint,
}

impl Default for Uninvited {
    fn default() -> Uninvited {
        Uninvited {
            unexpected: UnexpectedSenders::new(UNEXPECTED_GONE_AFTER),
            complaint: Complaint::default(),
        }
    }
}

impl Uninvited {
    /// Logs an error: once for each sender, and for the others now and then.
    pub(super) fn note(&mut self, report: &Report) {
        for (source, trouble) in &report.unexpected {
            if self.unexpected.note(source, trouble, Instant::now()) {
                log::error!("{trouble}");
            }
        }
        if let Some(reason) = &report.unreadable {
            self.complain(&format!(
                "messages that cannot be read are set aside in replication.quarantine, the last: {reason}"
            ));
        }
        if let Some(source) = &report.dropped {
            self.complain(&format!(
                "dropping what the source {source} sends, which this target no longer follows"
            ));
        }
    }

    /// Who was heard lately, and what is wrong with each.
    pub(super) fn trouble(&mut self) -> Option<String> {
        self.unexpected.trouble(Instant::now())
    }

    fn complain(&mut self, text: &str) {
        if let Some(line) = self.complaint.due(text) {
            log::error!("{line}");
        }
    }
}
