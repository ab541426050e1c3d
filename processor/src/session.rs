//! One database session of the applying thread: what is known in it, and the transactions that
//! decide the fate of messages.
//!
//! There is a quick way, with as few round trips as can be, and a careful one for when the database
//! objects to it. Both do the same in one transaction: store what arrived, apply what is complete, move
//! the position.

use crate::apply::{apply, describe_ticks, or_reason};
use crate::changes::reduce;
use crate::decoder::Decoded;
use crate::hold::Hold;
use crate::inbox::{self, Bookkeeping, Entry, Waiting};
use crate::large_tick::{LargeTick, LargeTicks, is_too_much};
use crate::operator;
use crate::position::TargetPosition;
use crate::receive::{Receipt, receive};
use crate::refusal::{describe, is_refusal};
use crate::stored_tick;
use crate::tables::{Tables, Way};
use crate::uplink::Standing;
use anyhow::{Context, Result, anyhow, ensure};
use postgres::Client;
use postgres::error::SqlState;
use shared::database::make_commits_durable;
use shared::fault::Fault;
use shared::supervisor::Stop;
use shared::wire::{Batch, TickRef};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Batches read at once from the inbox when a large tick goes on after a restart.
const BATCHES_PER_READ: i64 = 8;

/// Pins what names and values are read by, and what could end the session, against the defaults of
/// database and role.
/// As PostgreSQL's own apply worker: only triggers made for replication fire, and foreign keys,
/// which a source snapshot keeps by construction, are not checked a second time.
pub(crate) fn prepare_session(client: &mut Client) -> Result<()> {
    make_commits_durable(client)?;
    client
        .batch_execute(
            "set search_path = pg_catalog; set row_security = off; select set_config(name, value, false) from replication.value_settings();
             set default_transaction_isolation = 'read committed'; set default_transaction_read_only = off;
             set default_transaction_deferrable = off; set lock_timeout = 0; set idle_session_timeout = 0;
             set idle_in_transaction_session_timeout = 0",
        )
        .context("prepare the session")?;
    client.batch_execute("set session_replication_role = replica").map_err(|error| {
        let forbidden = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        let error = anyhow!(error);
        if forbidden {
            error
                .context("run: GRANT SET ON PARAMETER session_replication_role TO the role of DATABASE_URL;")
                .context(Fault::Fatal)
        } else {
            error.context("set session_replication_role")
        }
    })
}

/// What is to be done about the tick that is next to be applied, where it is not kept in memory.
enum Large {
    /// Its batches are applied as they arrive.
    Arriving(LargeTick),
    /// It is applied from the inbox, once it is complete.
    Stored,
}

/// One database session and what is known in it.
pub(crate) struct Session {
    client: Client,
    bookkeeping: Bookkeeping,
    tables: Tables,
    position: Option<TargetPosition>,
    /// Batches that are stored and not applied, in order; behind the large tick, if there is one.
    waiting: Vec<Arc<Batch>>,
    large: Option<(TickRef, Large)>,
    large_ticks: Arc<LargeTicks>,
    /// Ticks that an earlier session stored and that are not loaded yet.
    in_inbox: VecDeque<Waiting>,
    held: Option<Hold>,
    /// Sources that this target followed before another was adopted.
    abandoned: HashSet<String>,
    /// How often an operator has asked for another try at what is held.
    retries_wanted: i64,
    /// A transaction that waits is to be skipped: only the careful way, and the one from the inbox, look for it.
    skips_are_open: bool,
    /// Something before the last batch is missing.
    gap: bool,
}

impl Session {
    pub(crate) fn new(mut client: Client, large_ticks: Arc<LargeTicks>) -> Result<Session> {
        Ok(Session {
            bookkeeping: Bookkeeping::prepare(&mut client)?,
            tables: Tables::default(),
            position: inbox::read_position(&mut client)?,
            waiting: Vec::new(),
            large: None,
            large_ticks,
            in_inbox: inbox::waiting(&mut client)?.into(),
            held: None,
            abandoned: inbox::abandoned_sources(&mut client)?,
            retries_wanted: operator::retries_wanted(&mut client)?,
            skips_are_open: operator::skips_are_open(&mut client)?,
            gap: false,
            client,
        })
    }

    pub(crate) fn describe(&self) -> String {
        match &self.position {
            None => "it has received nothing yet".to_owned(),
            Some(position) => format!(
                "source {}, received {}, applied {}",
                position.source,
                position.received,
                position.applied.map_or_else(|| "nothing".to_owned(), |applied| format!("tick {applied}"))
            ),
        }
    }

    pub(crate) fn standing(&self, target: &str) -> Standing {
        let position = self.position.as_ref();
        Standing {
            target: target.to_owned(),
            source: position.map(|position| position.source.clone()),
            received: position.filter(|position| position.has_received()).map(|position| position.received),
            applied: position.and_then(|position| position.applied),
            gap: self.gap,
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// What the target cannot take, if it is held.
    pub(crate) fn hold_error(&self) -> Option<&str> {
        self.held.as_ref().map(|hold| hold.error.as_str())
    }

    pub(crate) fn check_connection(&mut self) -> Result<()> {
        self.client.batch_execute("").context("the connection to PostgreSQL is lost")
    }

    /// Tries what is held again where an operator has asked for it.
    pub(crate) fn heed_operator(&mut self) -> Result<()> {
        let Some(hold) = &mut self.held else { return Ok(()) };
        let wanted = operator::retries_wanted(&mut self.client)?;
        if wanted != self.retries_wanted {
            self.retries_wanted = wanted;
            hold.retry_now();
        }
        Ok(())
    }

    /// What an earlier session stored is brought back before anything new is taken.
    pub(crate) fn is_resuming(&self) -> bool {
        !self.in_inbox.is_empty()
    }

    /// There is something to do without any message: resuming, or another try at what is held.
    pub(crate) fn has_work(&self) -> bool {
        match &self.held {
            Some(hold) => hold.is_retry_due(),
            None => self.is_resuming() || complete_batches(&self.waiting, self.position.as_ref()) > 0,
        }
    }

    /// Gives every message of the group its fate, and applies what is complete, in one transaction. After
    /// an error nothing is settled, and the session must be begun anew.
    pub(crate) fn settle(&mut self, group: &[Decoded], stop: &Stop) -> Result<()> {
        if self.held.is_none() && self.is_resuming() && self.waiting.is_empty() && self.large.is_none() {
            self.resume(stop)?;
        }
        let receipt = receive(self.position.as_ref(), group, self.gap, &self.abandoned)?;
        if !receipt.known.is_empty() {
            inbox::check_known(&mut self.client, &receipt.known)?;
        }
        let mut batches = std::mem::take(&mut self.waiting);
        batches.extend(receipt.stored.iter().map(|stored| stored.batch.clone()));
        let ready =
            if self.large.is_some() { 0 } else { complete_batches(&batches, receipt.position.as_ref()) };
        let may_be_quick = self.held.is_none() && !self.skips_are_open;
        let applied = if may_be_quick && self.settle_quickly(&receipt, &batches[..ready])? {
            ready
        } else {
            let applied = self.settle_carefully(&receipt, &batches[..ready])?;
            self.skips_are_open = operator::skips_are_open(&mut self.client)?;
            applied
        };
        self.waiting = batches.split_off(applied);
        self.gap = receipt.gap;
        self.go_on_with_large_tick(stop)
    }

    /// False where the database objects, and nothing is done.
    fn settle_quickly(&mut self, receipt: &Receipt<'_>, ready: &[Arc<Batch>]) -> Result<bool> {
        match self.tables.learn(&mut self.client, ready.iter().flat_map(|batch| &batch.shapes)) {
            Ok(()) => {}
            Err(error) if is_refusal(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        let Some(after) = position_after(receipt, ready) else {
            // Nothing of ours has ever arrived: there is no position to move.
            return Ok(receipt.unreadable.is_empty());
        };
        let mut transaction = self.client.transaction().context("begin a transaction")?;
        let entry = Entry {
            before: self.position.as_ref(),
            after: &after,
            held: None,
            stored: &receipt.stored,
            applied: ready,
            record_events: true,
        };
        let written = set_aside(&mut transaction, receipt)
            .and_then(|()| self.bookkeeping.write(&mut transaction, &entry))
            .and_then(|()| {
                shared::kill_point::reached("inbox_written");
                let equal = self.tables.equal_keys(&mut transaction, ready)?;
                let changes = reduce(ready, &HashSet::new(), &equal);
                let drift = self.tables.write(&mut transaction, &changes, Way::AsInTheSource)?;
                shared::kill_point::reached("applied");
                inbox::record_drift(&mut transaction, drift)
            });
        let outcome = match written {
            Ok(()) => transaction.commit().context("commit"),
            Err(error) => transaction.rollback().context("roll back").and(Err(error)),
        };
        match outcome {
            Ok(()) => {
                self.position = Some(after);
                Ok(true)
            }
            Err(error) if is_refusal(&error) => {
                log::debug!("{} not applied the quick way: {error:#}", describe_ticks(ready));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns how many of the batches are applied: all, or none if the target cannot take them.
    fn settle_carefully(&mut self, receipt: &Receipt<'_>, ready: &[Arc<Batch>]) -> Result<usize> {
        let may_try = self.held.as_ref().is_none_or(Hold::is_retry_due);
        let stored_tick = match &self.large {
            // What this group brings is not in the inbox yet: only what is committed counts.
            Some((tick, Large::Stored)) if may_try && is_complete(*tick, self.position.as_ref()) => {
                Some(*tick)
            }
            _ => None,
        };
        let mut transaction = self.client.transaction().context("begin a transaction")?;
        // They may have been altered, which may be why the quick way has failed.
        self.tables.forget_altered(&mut transaction)?;
        set_aside(&mut transaction, receipt)?;
        let mut held = self.held.as_ref().map(|hold| hold.error.clone());
        let mut applied: Vec<Arc<Batch>> = Vec::new();
        if let Some(tick) = stored_tick {
            let outcome = or_reason(&mut transaction, format_args!("tick {tick}"), |attempt| {
                stored_tick::apply(attempt, &mut self.tables, tick)
            })?;
            held = outcome.as_ref().err().cloned();
            applied.extend(outcome);
        } else if may_try && !ready.is_empty() {
            let outcome = or_reason(&mut transaction, describe_ticks(ready), |attempt| {
                let skipped = operator::skipped(attempt)?;
                let wanted = operator::leave_out(attempt, ready, &skipped)?;
                apply(attempt, &mut self.tables, &wanted)
            })?;
            held = outcome.as_ref().err().cloned();
            if outcome.is_ok() {
                applied.extend(ready.iter().cloned());
            }
        }
        let after = position_after(receipt, &applied);
        if let Some(after) = &after {
            let entry = Entry {
                before: self.position.as_ref(),
                after,
                held: held.as_deref(),
                stored: &receipt.stored,
                applied: &applied,
                record_events: false,
            };
            self.bookkeeping.write(&mut transaction, &entry)?;
        }
        transaction.commit().context("commit")?;
        self.position = after;
        if stored_tick.is_some() && held.is_none() {
            self.large = None;
        }
        self.note_hold(held, may_try);
        Ok(if stored_tick.is_some() || applied.is_empty() { 0 } else { ready.len() })
    }

    fn note_hold(&mut self, error: Option<String>, tried: bool) {
        if error.is_some() {
            self.tables.forget();
        }
        match (error, &mut self.held) {
            (None, held) => {
                if held.take().is_some() {
                    log::info!("what held the target is mended: {}", self.describe());
                }
            }
            (Some(error), Some(hold)) if tried => hold.failed_again(error),
            (Some(_), Some(_)) => {}
            (Some(error), held) => *held = Some(Hold::begin(error)),
        }
    }

    /// Loads the first ticks that an earlier session left in the inbox; a large one is handed on.
    fn resume(&mut self, stop: &Stop) -> Result<()> {
        while let Some(stored) = self.in_inbox.front().copied() {
            if is_too_much(&self.waiting) {
                break;
            }
            if stored.is_large() {
                if self.waiting.is_empty() {
                    self.in_inbox.pop_front();
                    self.resume_large_tick(stored.tick, stop)?;
                }
                break;
            }
            let mut batches = inbox::stored_batches(&mut self.client, stored.tick.number, 0, stored.batches)?;
            self.waiting.append(&mut batches);
            self.in_inbox.pop_front();
        }
        Ok(())
    }

    fn begin_large(&self, position: &TargetPosition) -> Result<Large> {
        if self.skips_are_open {
            return Ok(Large::Stored);
        }
        self.large_ticks.begin(position).map(Large::Arriving)
    }

    fn resume_large_tick(&mut self, tick: TickRef, stop: &Stop) -> Result<()> {
        let Some(position) = &self.position else { return Ok(()) };
        let large = self.begin_large(position)?;
        let Large::Arriving(arriving) = large else {
            self.large = Some((tick, large));
            return Ok(());
        };
        let mut behind = 0;
        loop {
            let batches = inbox::stored_batches(&mut self.client, tick.number, behind, BATCHES_PER_READ)?;
            let Some(last) = batches.last() else { break };
            behind = last.last();
            if !batches.into_iter().all(|batch| arriving.add(batch, stop)) {
                break;
            }
        }
        self.large = Some((tick, Large::Arriving(arriving)));
        Ok(())
    }

    /// Hands what waits of a large tick on, and sees it through when it is complete.
    fn go_on_with_large_tick(&mut self, stop: &Stop) -> Result<()> {
        let Some(position) = &self.position else { return Ok(()) };
        let tick = position.received.tick;
        // What waits before it is complete, and applied first.
        let is_next = self.waiting.first().is_some_and(|batch| batch.tick == tick);
        if self.large.is_none()
            && self.held.is_none()
            && !self.is_resuming()
            && is_next
            && is_too_much(&self.waiting)
        {
            self.large = Some((tick, self.begin_large(position)?));
        }
        if let Some((tick, Large::Stored)) = &self.large {
            self.waiting.retain(|batch| batch.tick != *tick);
        }
        let Some((tick, Large::Arriving(arriving))) = &self.large else { return self.try_stored_tick() };
        let tick = *tick;
        let own = self.waiting.iter().take_while(|batch| batch.tick == tick).count();
        let taken = self.waiting.drain(..own).all(|batch| arriving.add(batch, stop));
        let complete = is_complete(tick, Some(position));
        if taken && !complete {
            return Ok(());
        }
        let Some((_, Large::Arriving(arriving))) = self.large.take() else { return Ok(()) };
        match arriving.finish(stop) {
            Ok(()) => {
                let after = TargetPosition { applied: Some(tick), ..position.clone() };
                let committed = inbox::read_position(&mut self.client)?;
                ensure!(
                    committed.as_ref() == Some(&after),
                    "the position is not where tick {tick} has left it; looking at it anew"
                );
                self.position = committed;
            }
            Err(error) => {
                log::warn!(
                    "tick {tick} is not applied as it arrives, but from the inbox once it is complete: {}",
                    describe(&error)
                );
                self.large = Some((tick, Large::Stored));
                if !stop.requested() {
                    return self.try_stored_tick();
                }
            }
        }
        Ok(())
    }

    fn try_stored_tick(&mut self) -> Result<()> {
        let complete = match &self.large {
            Some((tick, Large::Stored)) => is_complete(*tick, self.position.as_ref()),
            _ => false,
        };
        if complete && self.held.is_none() {
            let nothing = receive(self.position.as_ref(), &[], self.gap, &self.abandoned)?;
            self.settle_carefully(&nothing, &[])?;
        }
        Ok(())
    }
}

/// The position once the receipt is stored and `applied` is applied; none where nothing ever arrived.
fn position_after(receipt: &Receipt<'_>, applied: &[Arc<Batch>]) -> Option<TargetPosition> {
    let mut after = receipt.position.clone()?;
    if let Some(last) = applied.last() {
        after.applied = Some(last.tick);
    }
    Some(after)
}

fn is_complete(tick: TickRef, position: Option<&TargetPosition>) -> bool {
    position.is_some_and(|position| position.last_complete() >= tick.number)
}

/// How many of the batches belong to ticks that are complete.
fn complete_batches(waiting: &[Arc<Batch>], position: Option<&TargetPosition>) -> usize {
    let last_complete = position.map_or(0, TargetPosition::last_complete);
    waiting.iter().take_while(|batch| batch.tick.number <= last_complete).count()
}

fn set_aside(transaction: &mut postgres::Transaction<'_>, receipt: &Receipt<'_>) -> Result<()> {
    let Some((last, _)) = receipt.unreadable.last() else { return Ok(()) };
    // One line, however many there are.
    log::error!(
        "{} messages are set aside in replication.quarantine, the last: {last}",
        receipt.unreadable.len()
    );
    for (reason, payload) in &receipt.unreadable {
        inbox::quarantine(transaction, reason, payload)?;
    }
    Ok(())
}
