//! One database session of the applying thread: how a group of messages gets into the target, and which of
//! the two ways applies what is complete.
//!
//! [The quick way](super::quick) applies from memory, in the transaction that stores the messages, or from
//! the inbox once a large tick is complete. Where PostgreSQL refuses, [the careful way](super::from_inbox)
//! applies the same ticks from the inbox. While a tick is large, apply is blocked or a transaction is to be
//! skipped, batches are stored and not kept in memory.

use super::attempt::OutOfTime;
use super::from_inbox::Care;
use super::hold::Hold;
use super::judged::{Judged, judge_group};
use super::operator;
use super::set_aside::Report;
use super::target::Target;
use crate::confirm_sender::TargetStatus;
use crate::inbox::{self, Refusal};
use crate::metrics::METRICS;
use crate::receiving::Decoded;
use anyhow::{Context, Result};
use inbox_processor::rules::position::TargetPosition;
use inbox_processor::rules::ways::{Ways, complete_batches};
use postgres::Client;
use shared::pause::{Pause, Paused};
use shared::supervisor::Stop;
use shared::wire::Batch;
use std::collections::HashSet;
use std::sync::Arc;

/// Where the batches are that are stored and not applied.
enum Waiting {
    /// Also in memory, in order.
    InMemory(Vec<Arc<Batch>>),
    /// Only in the inbox.
    InInbox,
}

/// One database session and what is known in it.
pub(super) struct Session {
    target: Target,
    waiting: Waiting,
    /// The quick way has failed for what waits.
    quick_refused: bool,
    hold: Option<Hold>,
    /// Sources that this target followed before another was adopted.
    abandoned: HashSet<String>,
    /// How often an operator has asked for a retry.
    retry_requests: i64,
    /// A transaction that waits is to be skipped: only the careful way leaves it out.
    skips_are_open: bool,
    /// Something before the last batch is missing.
    gap: bool,
    out_of_time: OutOfTime,
    pause: Pause,
}

impl Session {
    pub(super) fn new(mut client: Client, out_of_time: OutOfTime) -> Result<Session> {
        let mut pause = Pause::of(Paused::Applying);
        pause.follow(&mut client)?;
        let mut session = Session {
            waiting: Waiting::InInbox,
            quick_refused: false,
            hold: None,
            abandoned: inbox::abandoned_sources(&mut client)?,
            retry_requests: operator::retry_requests(&mut client)?,
            skips_are_open: operator::skips_are_open(&mut client)?,
            gap: false,
            out_of_time,
            pause,
            target: Target::open(client)?,
        };
        session.keep_in_memory()?;
        Ok(session)
    }

    pub(super) fn describe(&self) -> String {
        match &self.target.position {
            None => "it has received nothing yet".to_owned(),
            Some(position) => format!(
                "source {}, received {}, applied {}",
                position.source,
                position.received,
                position.applied.map_or_else(|| "nothing".to_owned(), |applied| format!("tick {applied}"))
            ),
        }
    }

    pub(super) fn status(&self, target: &str) -> TargetStatus {
        let position = self.target.position.as_ref();
        TargetStatus {
            target: target.to_owned(),
            source: position.map(|position| position.source.clone()),
            received: position.filter(|position| position.has_received()).map(|position| position.received),
            applied: position.and_then(|position| position.applied),
            gap: self.gap,
        }
    }

    /// The last tick that is applied; 0 where none is.
    pub(super) fn last_applied(&self) -> i64 {
        self.target.position.as_ref().map_or(0, TargetPosition::last_applied)
    }

    /// Why apply is blocked, if it is.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        self.hold.as_ref().map(|hold| &hold.refusal)
    }

    /// Obeys what operators have paused: from then on nothing is applied, and what arrives is stored.
    pub(super) fn follow_pause(&mut self) -> Result<()> {
        self.pause.follow(&mut self.target.client)
    }

    /// That applying is paused, for people; none while it is not.
    pub(super) fn paused(&self) -> Option<String> {
        self.pause.words()
    }

    pub(super) fn check_connection(&mut self) -> Result<()> {
        self.target.client.batch_execute("").context("the connection to PostgreSQL is lost")
    }

    /// Retries at once where an operator has asked for it.
    pub(super) fn check_for_retry_request(&mut self) -> Result<()> {
        let Some(hold) = &mut self.hold else { return Ok(()) };
        let requests = operator::retry_requests(&mut self.target.client)?;
        if requests != self.retry_requests {
            self.retry_requests = requests;
            hold.retry_now();
        }
        Ok(())
    }

    /// Whether [`Session::apply_waiting`] has something to do: ticks in the inbox are complete, and no retry
    /// of them is pending. Not while applying is paused.
    pub(super) fn has_work(&self) -> bool {
        match &self.hold {
            _ if self.pause.is_on() => false,
            Some(hold) => hold.is_retry_due(),
            None => self.has_complete_ticks(),
        }
    }

    /// Stores every message of the group in one transaction, which applies what is complete if the quick way
    /// can. Returns what was set aside. After an error nothing is stored, and a new session must be begun.
    pub(super) fn take(&mut self, group: &[Decoded]) -> Result<Report> {
        let Target { client, position, .. } = &mut self.target;
        let judged = judge_group(client, position.as_ref(), group, self.gap, &self.abandoned)?;
        if !self.apply_from_memory(&judged)? {
            self.target.store(&judged)?;
        }
        self.gap = judged.reception.gap;
        METRICS.received(&judged.outcomes);
        Ok(judged.set_aside.into_report())
    }

    /// False where nothing is done: what waits is not in memory, applying is paused, or the quick way has failed.
    fn apply_from_memory(&mut self, judged: &Judged<'_>) -> Result<bool> {
        let waiting = std::mem::replace(&mut self.waiting, Waiting::InInbox);
        let Waiting::InMemory(mut batches) = waiting else { return Ok(false) };
        if self.pause.is_on() {
            return Ok(false);
        }
        batches.extend(judged.stored.iter().map(|stored| stored.batch.clone()));
        let complete = complete_batches(&batches, judged.reception.position.as_ref());
        if !self.target.apply_from_memory(judged, &batches[..complete])? {
            self.quick_refused = complete > 0;
            return Ok(false);
        }
        let rest = batches.split_off(complete);
        if !inbox::is_too_much(&rest) {
            self.waiting = Waiting::InMemory(rest);
        }
        Ok(true)
    }

    /// Applies complete ticks that are in the inbox, or blocks. After a long pause, what waits is applied in parts.
    pub(super) fn apply_waiting(&mut self, stop: &Stop) -> Result<()> {
        if !self.ways().may_be_quick() || !self.target.apply_from_inbox_quickly(stop)? {
            METRICS.slow_path.inc();
            let care = Care {
                blocked: self.hold.as_ref().map(|hold| &hold.refusal),
                out_of_time: self.out_of_time,
                stop,
            };
            let refused = self.target.apply_from_inbox(&care)?;
            self.skips_are_open = operator::skips_are_open(&mut self.target.client)?;
            self.note_outcome(refused);
        }
        if self.hold.is_none() {
            self.quick_refused = false;
            self.keep_in_memory()?;
        }
        Ok(())
    }

    fn note_outcome(&mut self, refused: Option<Refusal>) {
        match (refused, &mut self.hold) {
            (None, hold) => {
                if hold.take().is_some() {
                    let tick = Some(self.last_applied()).filter(|tick| *tick > 0);
                    log::info!(tick; "apply resumed: {}", self.describe());
                }
            }
            (Some(refusal), Some(hold)) => hold.failed_again(refusal),
            (Some(refusal), hold) => *hold = Some(Hold::begin(refusal)),
        }
    }

    /// Where only the beginning of a tick waits, which is not large, the quick way continues in memory.
    fn keep_in_memory(&mut self) -> Result<()> {
        if !self.ways().may_keep_in_memory(self.target.position.as_ref()) {
            return Ok(());
        }
        let waiting = match &self.target.position {
            None => Some(Vec::new()),
            Some(position) => inbox::waiting_in_memory(&mut self.target.client, position)?,
        };
        if let Some(batches) = waiting {
            self.waiting = Waiting::InMemory(batches);
        }
        Ok(())
    }

    fn ways(&self) -> Ways {
        Ways {
            is_blocked: self.hold.is_some(),
            skips_are_open: self.skips_are_open,
            quick_refused: self.quick_refused,
        }
    }

    fn has_complete_ticks(&self) -> bool {
        self.target.position.as_ref().is_some_and(TargetPosition::has_complete_ticks)
    }
}
