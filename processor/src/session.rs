//! One database session of the applying thread: what is known in it, and the one transaction that
//! decides the fate of messages.

use crate::apply::apply;
use crate::decoder::Decoded;
use crate::inbox::{self, Stored, TargetPosition, Verdict};
use crate::tables::Tables;
use crate::uplink::Standing;
use anyhow::{Context, Result, anyhow};
use postgres::error::SqlState;
use postgres::{Client, Transaction};
use shared::database::make_commits_durable;
use shared::fault::{Fault, fault_of};
use shared::retry::Backoff;
use shared::supervisor::ThreadContext;
use shared::wire::Batch;
use std::time::Instant;

/// As PostgreSQL's own apply worker: only triggers made for replication fire, and foreign keys,
/// which a source snapshot keeps by construction, are not checked a second time.
pub(crate) fn prepare_session(client: &mut Client) -> Result<()> {
    make_commits_durable(client)?;
    client
        .batch_execute("set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set lc_monetary = 'C'")
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

/// What holds the target, and when to try again.
pub(crate) struct Hold {
    error: String,
    backoff: Backoff,
    retry_at: Instant,
}

/// One database session and what is known in it.
pub(crate) struct Session {
    client: Client,
    tables: Tables,
    position: Option<TargetPosition>,
    /// Batches that are stored and not applied, in order.
    unapplied: Vec<Batch>,
    pub(crate) held: Option<Hold>,
    /// Something before the last batch is missing.
    gap: bool,
}

impl Session {
    pub(crate) fn new(mut client: Client) -> Result<Session> {
        let position = inbox::read_position(&mut client)?;
        let unapplied = inbox::load_unapplied(&mut client)?;
        Ok(Session { client, tables: Tables::default(), position, unapplied, held: None, gap: false })
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
            received: position.map(|position| position.received),
            applied: position.and_then(|position| position.applied),
            gap: self.gap,
        }
    }

    pub(crate) fn report_health(&self, context: &ThreadContext) {
        match &self.held {
            None => context.healthy(),
            Some(hold) => context.unhealthy(&format!("held: {}", hold.error)),
        }
    }

    pub(crate) fn check_connection(&mut self) -> Result<()> {
        self.client.batch_execute("").context("the connection to PostgreSQL is lost")
    }

    /// Complete ticks wait to be applied, and nothing speaks against trying.
    pub(crate) fn is_retry_due(&self) -> bool {
        match &self.held {
            Some(hold) => Instant::now() >= hold.retry_at,
            None => complete_batches(&self.unapplied, self.position.as_ref()) > 0,
        }
    }

    /// Gives every message of the group its fate, and applies what is complete, in one transaction.
    ///
    /// After an error nothing is settled, and the session must be begun anew.
    pub(crate) fn settle(&mut self, group: &[Decoded]) -> Result<()> {
        let shapes: Vec<_> = group
            .iter()
            .filter_map(|decoded| decoded.batch.as_ref().ok())
            .chain(&self.unapplied)
            .flat_map(|batch| batch.shapes.iter())
            .collect();
        let learned = self.tables.learn(&mut self.client, shapes.into_iter());
        let held_by_shape = match learned {
            Err(error) if fault_of(&error) == Fault::Hold => Some(format!("{error:#}")),
            other => other.map(|()| None)?,
        };

        let mut transaction = self.client.transaction().context("begin a transaction")?;
        let mut position = inbox::lock_position(&mut transaction)?;
        let (stored, gap) = receive(&mut transaction, &mut position, group, self.gap)?;
        self.unapplied.extend(stored);

        let complete = complete_batches(&self.unapplied, position.as_ref());
        let may_apply = self.held.as_ref().is_none_or(|hold| Instant::now() >= hold.retry_at);
        let mut held = self.held.as_ref().map(|hold| hold.error.clone());
        let mut applied = 0;
        if let Some(position) = &mut position {
            if complete > 0 && may_apply {
                held = match held_by_shape {
                    Some(error) => Some(error),
                    None => apply(&mut transaction, &self.tables, &self.unapplied[..complete])?,
                };
                if held.is_none() {
                    applied = complete;
                    position.applied = Some(self.unapplied[complete - 1].tick);
                }
            }
            inbox::save_position(&mut transaction, position, held.as_deref())?;
        }
        transaction.commit().context("commit")?;

        self.position = position;
        self.unapplied.drain(..applied);
        self.gap = gap;
        self.note_hold(held, may_apply);
        Ok(())
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
            (Some(error), Some(hold)) => {
                if tried {
                    if hold.error != error {
                        log::error!("the target is held: {error}");
                    }
                    hold.error = error;
                    hold.retry_at = Instant::now() + hold.backoff.next_pause();
                }
            }
            (Some(error), held) => {
                log::error!(
                    "the target is held, nothing overtakes it, it is tried again until it works: {error}"
                );
                let mut backoff = Backoff::default();
                let retry_at = Instant::now() + backoff.next_pause();
                *held = Some(Hold { error, backoff, retry_at });
            }
        }
    }
}

/// How many of the batches belong to ticks that are complete.
fn complete_batches(unapplied: &[Batch], position: Option<&TargetPosition>) -> usize {
    let last_complete = position.map_or(0, TargetPosition::last_complete);
    unapplied.iter().take_while(|batch| batch.tick.number <= last_complete).count()
}

/// Judges each message by the position, which moves with what is stored. Returns the batches that
/// were stored, and whether something is missing before the last one.
fn receive(
    transaction: &mut Transaction<'_>,
    position: &mut Option<TargetPosition>,
    group: &[Decoded],
    mut gap: bool,
) -> Result<(Vec<Batch>, bool)> {
    let mut stored = Vec::new();
    let mut known = Vec::new();
    for decoded in group {
        let payload = &decoded.pulled.message.data;
        let batch = match &decoded.batch {
            Ok(batch) => batch,
            Err(reason) => {
                log::error!("a message is set aside in replication.quarantine: {reason:#}");
                inbox::quarantine(transaction, &format!("{reason:#}"), payload)?;
                continue;
            }
        };
        match inbox::judge(position.as_ref(), batch)? {
            Verdict::Known => known.push(batch),
            Verdict::Gap => {
                log::debug!("batch {} of tick {} does not follow; dropped", batch.first, batch.tick);
                gap = true;
            }
            Verdict::Next { from } => {
                let payload = std::str::from_utf8(payload).context("read a message as text")?;
                stored.push(Stored { batch, from, payload });
                *position = Some(TargetPosition {
                    source: batch.source.id.clone(),
                    timeline: batch.source.timeline,
                    received: batch.end(),
                    applied: position.as_ref().and_then(|position| position.applied),
                });
                gap = false;
            }
        }
    }
    if !known.is_empty() {
        inbox::check_known(transaction, &known)?;
    }
    if !stored.is_empty() {
        inbox::store(transaction, &stored)?;
    }
    let batches =
        stored.iter().map(|stored| inbox::from_ordinal(stored.batch.clone(), stored.from)).collect();
    Ok((batches, gap))
}
