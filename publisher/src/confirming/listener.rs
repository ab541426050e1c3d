//! What a confirm leads to: progress, the release of a new timeline, a resend.

use super::senders::Senders;
use crate::leadership::Term;
use crate::metrics::Resent;
use crate::outbox::ticks::TicksOf;
use crate::outbox::{progress, source};
use anyhow::Result;
use outbox_publisher::rules::confirms::{Confirms, Consequences, Outcome};
use shared::database::Pooled;
use shared::status::Board;
use shared::wire::Confirm;
use std::time::Instant;

/// Takes the confirms of one term.
pub(super) struct Listener<'a> {
    term: &'a Term,
    board: &'a Board,
    client: Pooled,
    /// That the server of `client` writes.
    timeline: i64,
    senders: Senders,
    confirms: Confirms,
}

impl<'a> Listener<'a> {
    pub(super) fn new(term: &'a Term, board: &'a Board) -> Result<Listener<'a>> {
        let mut client = term.connection()?;
        Ok(Listener {
            term,
            board,
            timeline: source::wal_timeline(&mut client)?,
            senders: Senders::new(source::source_id(&mut client)?),
            client,
            confirms: Confirms::default(),
        })
    }

    /// Who confirms.
    pub(super) fn senders(&mut self) -> &mut Senders {
        &mut self.senders
    }

    /// Takes the payload of a message as a confirm. One that is not believed, cannot be read, or does not count, is
    /// ignored.
    pub(super) fn take(&mut self, payload: Result<&[u8]>) -> Result<()> {
        let confirm = match payload.and_then(Confirm::decode) {
            Ok(confirm) => confirm,
            Err(error) => {
                self.senders.complain(&format!("ignoring a confirm: {error:#}"));
                return Ok(());
            }
        };
        if !self.senders.accept(&mut self.client, &confirm)? {
            return Ok(());
        }
        self.term.hear_target();
        let acknowledged = self.term.cursor().acknowledged();
        let mut ticks = TicksOf(&mut self.client);
        match self.confirms.take(&mut ticks, &confirm, acknowledged, Instant::now())? {
            Outcome::Counts(consequences) => self.follow(&confirm, &consequences),
            Outcome::Doubted(reason) => {
                self.senders.complain(&format!("ignoring a confirm unless it is repeated: {reason}"));
                Ok(())
            }
        }
    }

    fn follow(&mut self, confirm: &Confirm, consequences: &Consequences) -> Result<()> {
        self.note_progress(confirm, consequences.confirmed_tick);
        self.term.target_reads(&confirm.reads);
        if let Some(status) = &confirm.status {
            self.board.note_target(status, confirm.figures.clone(), Instant::now());
            self.term.report(&confirm.target, status.clone());
        }
        if consequences.shows_history {
            self.note_match(confirm)?;
        }
        if let Some(position) = consequences.resend_from {
            let (what, reason) = if confirm.gap {
                ("reports a gap", Resent::Gap)
            } else {
                ("is idle and lacks what was published", Resent::Idle)
            };
            let next = format!("resending from {position}");
            log::warn!(tick = position.tick, next = next.as_str(); "the target {what}");
            self.term.resend_from(position, reason);
        }
        Ok(())
    }

    /// What is wrong with what is heard on `subject`, if anything is.
    pub(super) fn trouble(&mut self, subject: &str) -> Option<String> {
        self.confirms.trouble(Instant::now()).or_else(|| self.senders.trouble(subject))
    }

    fn note_progress(&self, confirm: &Confirm, confirmed_tick: i64) {
        self.term.confirm(confirmed_tick);
        if let Some(received) = confirm.received {
            self.term.receive(received.last_complete_tick());
        }
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
}
