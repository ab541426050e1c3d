//! What a confirm leads to: progress, the release of a new timeline, a resend.

use super::doubt::Doubt;
use super::history::History;
use super::resend::Resends;
use super::senders::Senders;
use crate::leadership::Term;
use crate::outbox::{progress, source};
use anyhow::{Error, Result};
use shared::database::Pooled;
use shared::fault::{Fault, fault_of};
use shared::wire::Confirm;
use std::time::Instant;

/// Takes the confirms of one term.
pub(super) struct Listener<'a> {
    term: &'a Term,
    client: Pooled,
    /// That the server of `client` writes.
    timeline: i64,
    senders: Senders,
    history: History,
    doubt: Doubt,
    resends: Resends,
}

impl<'a> Listener<'a> {
    pub(super) fn new(term: &'a Term) -> Result<Listener<'a>> {
        let mut client = term.connection()?;
        Ok(Listener {
            term,
            timeline: source::wal_timeline(&mut client)?,
            senders: Senders::new(source::source_id(&mut client)?),
            client,
            history: History::default(),
            doubt: Doubt::default(),
            resends: Resends::default(),
        })
    }

    /// Who confirms.
    pub(super) fn senders(&mut self) -> &mut Senders {
        &mut self.senders
    }

    /// Takes a message as a confirm. One that cannot be read, or does not count, is ignored.
    pub(super) fn take(&mut self, message: &[u8]) -> Result<()> {
        let confirm = match Confirm::decode(message) {
            Ok(confirm) => confirm,
            Err(error) => {
                self.senders.complain(&format!("ignoring a confirm that cannot be read: {error:#}"));
                return Ok(());
            }
        };
        if !self.senders.accept(&mut self.client, &confirm)? {
            return Ok(());
        }
        if let Err(error) = self.history.check(&mut self.client, &confirm) {
            return self.doubt(&confirm, error);
        }
        self.doubt.end();
        self.note_progress(&confirm);
        if confirm.idle {
            self.note_match(&confirm)?;
        }
        self.resend_what_is_missing(&confirm);
        Ok(())
    }

    /// What is wrong with what is heard on `subject`, if anything is.
    pub(super) fn trouble(&mut self, subject: &str) -> Option<String> {
        self.doubt.trouble(Instant::now()).or_else(|| self.senders.trouble(subject))
    }

    /// Ignores a confirm that this source cannot serve; fails with the reason once that is believed.
    fn doubt(&mut self, confirm: &Confirm, error: Error) -> Result<()> {
        let reason = format!("{error:#}");
        if fault_of(&error) != Fault::Fatal
            || self.doubt.is_believed(confirm.incarnation, reason.clone(), Instant::now())
        {
            return Err(error);
        }
        self.senders.complain(&format!("ignoring a confirm unless it is repeated: {reason}"));
        Ok(())
    }

    fn note_progress(&self, confirm: &Confirm) {
        // None where the target was set back to before the first tick.
        self.term.confirm(confirm.applied.map_or(0, |applied| applied.number));
        if confirm.applied.is_some() {
            shared::kill_point::reached("confirmed");
        }
    }

    /// The target is in this history, and nothing of another one is in flight to it: what was published
    /// before the timeline changed has arrived. So ticks of this timeline may be published.
    fn note_match(&mut self, confirm: &Confirm) -> Result<()> {
        let (before, timeline) = (self.term.matched_timeline(), self.timeline);
        if before == timeline
            || !progress::store_matched_timeline(&mut self.client, self.term.number(), timeline)?
        {
            return Ok(());
        }
        log::info!(
            "publishing resumes from timeline {before} to {timeline}: the target has {} of this history",
            confirm.received.map_or_else(|| "nothing".to_owned(), |received| received.to_string())
        );
        self.term.match_timeline(timeline);
        Ok(())
    }

    fn resend_what_is_missing(&mut self, confirm: &Confirm) {
        let cursor = self.term.cursor();
        if let Some(position) = self.resends.wanted(confirm, cursor.acknowledged()) {
            let reason = if confirm.gap { "reports a gap" } else { "is idle and lacks what was published" };
            log::warn!("the target {reason}; resending from {position}");
            cursor.turn_to(position);
        }
    }
}
