//! Whose confirms count: those of the one target that this source is bound to, while one processor confirms
//! for it.

use crate::metrics::METRICS;
use crate::outbox::progress;
use anyhow::Result;
use outbox_publisher::rules::authority::ConfirmAuthority;
use outbox_publisher::rules::binding::Binding;
use outbox_publisher::rules::silence::{NO_CONFIRM_AFTER, UNEXPECTED_GONE_AFTER};
use postgres::Client;
use shared::retry::Complaint;
use shared::unexpected::UnexpectedSenders;
use shared::wire::Confirm;
use std::time::Instant;

/// Everybody who confirms on this source's subject.
pub(super) struct Senders {
    binding: Binding,
    /// When a confirm counted last.
    confirmed_at: Instant,
    authority: ConfirmAuthority,
    /// Targets that confirm and must not.
    unexpected: UnexpectedSenders,
    complaint: Complaint,
}

impl Senders {
    /// Nobody has confirmed yet.
    pub(super) fn new(source: String) -> Senders {
        Senders {
            binding: Binding::of(source),
            confirmed_at: Instant::now(),
            authority: ConfirmAuthority::default(),
            unexpected: UnexpectedSenders::new(UNEXPECTED_GONE_AFTER),
            complaint: Complaint::default(),
        }
    }

    /// The identity of this source.
    pub(super) fn source(&self) -> &str {
        &self.binding.source
    }

    /// The bound target, once it is known.
    pub(super) fn target(&self) -> Option<&str> {
        self.binding.target.as_deref()
    }

    /// Whether a confirm counts: it comes from the bound target, is about this source, and is not stale.
    pub(super) fn accept(&mut self, client: &mut Client, confirm: &Confirm) -> Result<bool> {
        let bind = |candidate: &str| progress::bind_target(client, candidate);
        let counts = match self.binding.unexpected(confirm, bind)? {
            Some(trouble) => {
                self.ignore(&confirm.target, &trouble);
                false
            }
            None => self.has_authority(confirm),
        };
        if counts {
            self.confirmed_at = Instant::now();
        }
        Ok(counts)
    }

    fn has_authority(&mut self, confirm: &Confirm) -> bool {
        let (target, now) = (&confirm.target, Instant::now());
        let counts = self.authority.accepts(confirm, now);
        if self.authority.is_contested(now) {
            let trouble = format!(
                "ignoring the target {target}: two processors confirm for it, of two databases with one identity (one is a \
                 copy of the other's server); stop the one that must not confirm"
            );
            self.ignore(target, &trouble);
        }
        counts
    }

    fn ignore(&mut self, target: &str, trouble: &str) {
        METRICS.foreign_targets_seen.inc();
        self.unexpected.note(target, trouble, Instant::now());
        self.complain(trouble);
    }

    /// Logs an error; one that is repeated, only now and then.
    pub(super) fn complain(&mut self, trouble: &str) {
        if let Some(line) = self.complaint.due(trouble) {
            log::error!("{line}");
        }
    }

    /// What is wrong with those who confirm, or that nobody does on `subject`.
    pub(super) fn trouble(&mut self, subject: &str) -> Option<String> {
        let now = Instant::now();
        let silence = now.duration_since(self.confirmed_at);
        self.unexpected.trouble(now).or_else(|| {
            (silence > NO_CONFIRM_AFTER).then(|| {
                format!(
                    "no target has confirmed for {} s; events stay in the outbox. Is inbox-processor running, and may \
                     both services use the subject {subject}?",
                    silence.as_secs()
                )
            })
        })
    }
}
