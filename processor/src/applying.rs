//! The one ordered step of the processor. In ONE transaction it locks the position, stores what
//! follows it, applies every tick that is complete by then, records it and moves the position; only
//! then are the messages acknowledged and is the publisher told.
//!
//! One thread, because order is what it is for: two transactions that move one position would wait
//! for each other anyway.

use crate::changes::reduce;
use crate::decoder::Decoded;
use crate::inbox::{self, Stored, TargetPosition, Verdict};
use crate::tables::Tables;
use crate::uplink::{Standing, Uplink};
use anyhow::{Context, Result, anyhow};
use crossbeam_channel::Receiver;
use postgres::error::SqlState;
use postgres::{Client, Transaction};
use shared::broker::jetstream::ACK;
use shared::database::{Database, identity};
use shared::fault::{Fault, fault_of};
use shared::schema::{Side, migrate};
use shared::supervisor::{Backoff, ThreadContext};
use shared::wire::{Batch, TickRef};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a standby tries to take over.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);
/// Without messages, look this often whether a held event can be tried again.
const IDLE_CHECK: Duration = Duration::from_secs(1);

pub(crate) struct Applying {
    database: Database,
    /// Ticks are applied together up to about so many events.
    group_events_max: usize,
    uplink: Arc<Uplink>,
    input: Receiver<Decoded>,
    /// Messages that were decoded before their turn, by number.
    early: BTreeMap<u64, Decoded>,
    /// The number of the next message.
    next: u64,
    /// Messages taken and not yet settled: they survive a lost database connection.
    group: Vec<Decoded>,
}

impl Applying {
    pub(crate) fn new(
        database: Database,
        group_events_max: usize,
        uplink: Arc<Uplink>,
        input: Receiver<Decoded>,
    ) -> Applying {
        Applying {
            database,
            group_events_max,
            uplink,
            input,
            early: BTreeMap::new(),
            next: 0,
            group: Vec::new(),
        }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("apply", || {
            let ended = self.session(context);
            self.uplink.set_standing(None);
            ended
        })
    }

    fn session(&mut self, context: &ThreadContext) -> Result<()> {
        let mut client = self.database.session()?;
        migrate(&mut client, Side::Target)?;
        prepare_session(&mut client)?;
        if !wait_for_lock(&mut client, context)? {
            return Ok(());
        }
        let target = identity(&mut client)?;
        let mut session = Session::new(client)?;
        log::info!("this is the processor of {}: {}", self.database.address(), session.describe());
        self.uplink.set_standing(Some(session.standing(&target)));
        while !context.stop().requested() {
            self.collect(context);
            if self.group.is_empty() && !session.is_retry_due() {
                session.report_health(context);
                session.check_connection()?;
                continue;
            }
            session.settle(&self.group)?;
            self.uplink.set_held(session.held.is_some());
            self.uplink.set_standing(Some(session.standing(&target)));
            self.acknowledge();
            self.uplink.confirm();
            session.report_health(context);
        }
        Ok(())
    }

    /// Waits for messages and takes those that are there, in order, up to the size of a group.
    fn collect(&mut self, context: &ThreadContext) {
        if self.group.is_empty() && !self.early.contains_key(&self.next) {
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return,
                recv(self.input) -> decoded => if let Ok(decoded) = decoded {
                    self.early.insert(decoded.pulled.number, decoded);
                },
                default(IDLE_CHECK) => {}
            }
        }
        let events = |decoded: &Decoded| decoded.batch.as_ref().map_or(1, |batch| batch.events.len());
        let mut taken: usize = self.group.iter().map(events).sum();
        while taken < self.group_events_max {
            if let Some(decoded) = self.early.remove(&self.next) {
                self.next += 1;
                taken += events(&decoded);
                self.group.push(decoded);
            } else if let Ok(decoded) = self.input.try_recv() {
                self.early.insert(decoded.pulled.number, decoded);
            } else {
                return;
            }
        }
    }

    /// Acknowledges the group: its fate is committed.
    fn acknowledge(&mut self) {
        self.uplink.settled(self.group.len());
        for decoded in self.group.drain(..) {
            let Some(reply) = &decoded.pulled.message.reply else { continue };
            if let Err(error) = decoded.pulled.connection.publish(reply, None, ACK.to_vec()) {
                // It comes again, and is then known.
                log::debug!("message {} not acknowledged: {error:#}", decoded.pulled.number);
            }
        }
    }
}

/// As PostgreSQL's own apply worker: only triggers made for replication fire, and foreign keys,
/// which a source snapshot keeps by construction, are not checked a second time.
fn prepare_session(client: &mut Client) -> Result<()> {
    client
        .batch_execute(
            "set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set lc_monetary = 'C';
             set synchronous_commit = on",
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

/// Waits as a hot standby until this session holds the lock; false when a stop is requested.
fn wait_for_lock(client: &mut Client, context: &ThreadContext) -> Result<bool> {
    let mut waiting = false;
    while !inbox::try_lock(client)? {
        if !waiting {
            log::info!("another processor serves this target; standing by to take over");
            waiting = true;
        }
        context.healthy();
        if context.stop().wait(STANDBY_INTERVAL) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What holds the target, and when to try again.
struct Hold {
    error: String,
    backoff: Backoff,
    retry_at: Instant,
}

/// One database session and what is known in it.
struct Session {
    client: Client,
    tables: Tables,
    position: Option<TargetPosition>,
    /// Batches that are stored and not applied, in order.
    unapplied: Vec<Batch>,
    held: Option<Hold>,
    /// Something before the last batch is missing.
    gap: bool,
}

impl Session {
    fn new(mut client: Client) -> Result<Session> {
        let position = inbox::read_position(&mut client)?;
        let unapplied = inbox::load_unapplied(&mut client)?;
        Ok(Session { client, tables: Tables::default(), position, unapplied, held: None, gap: false })
    }

    fn describe(&self) -> String {
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

    fn standing(&self, target: &str) -> Standing {
        let position = self.position.as_ref();
        Standing {
            target: target.to_owned(),
            source: position.map(|position| position.source.clone()),
            received: position.map(|position| position.received),
            applied: position.and_then(|position| position.applied),
            gap: self.gap,
        }
    }

    fn report_health(&self, context: &ThreadContext) {
        match &self.held {
            None => context.healthy(),
            Some(hold) => context.unhealthy(&format!("held: {}", hold.error)),
        }
    }

    fn check_connection(&mut self) -> Result<()> {
        self.client.is_valid(Duration::from_secs(5)).context("the connection to PostgreSQL is lost")
    }

    /// Complete ticks wait to be applied, and nothing speaks against trying.
    fn is_retry_due(&self) -> bool {
        match &self.held {
            Some(hold) => Instant::now() >= hold.retry_at,
            None => complete_batches(&self.unapplied, self.position.as_ref()) > 0,
        }
    }

    /// Gives every message of the group its fate, and applies what is complete, in one transaction.
    ///
    /// After an error nothing is settled, and the session must be begun anew.
    fn settle(&mut self, group: &[Decoded]) -> Result<()> {
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

/// Applies whole ticks. Returns why the target cannot take them, if it cannot; then nothing of
/// them is done.
fn apply(transaction: &mut Transaction<'_>, tables: &Tables, batches: &[Batch]) -> Result<Option<String>> {
    let mut attempt = transaction.savepoint("apply").context("set a savepoint")?;
    let result = apply_ticks(&mut attempt, tables, batches);
    match result {
        Ok(()) => attempt.commit().context("release the savepoint").map(|()| None),
        Err(error) if target_refuses(&error) => {
            attempt.rollback().context("roll back to the savepoint")?;
            let ticks = describe_ticks(batches);
            Ok(Some(format!("{ticks}: {error:#}{}", detail(&error))))
        }
        Err(error) => Err(error),
    }
}

fn apply_ticks(transaction: &mut Transaction<'_>, tables: &Tables, batches: &[Batch]) -> Result<()> {
    let done: HashSet<_> = inbox::record_processed(transaction, batches)?;
    if !done.is_empty() {
        log::error!(
            "{} events of {} were processed before although the position did not say so; they have no effect again",
            done.len(),
            describe_ticks(batches)
        );
    }
    let changes = reduce(batches, &done);
    let mut attempt = transaction.savepoint("upsert").context("set a savepoint")?;
    match tables.write(&mut attempt, &changes) {
        Ok(()) => attempt.commit().context("release the savepoint")?,
        Err(error) if order_matters(&error) => {
            attempt.rollback().context("roll back to the savepoint")?;
            tables.rewrite(transaction, &changes)?;
        }
        Err(error) => return Err(error),
    }
    inbox::record_applied(transaction, batches)
}

fn describe_ticks(batches: &[Batch]) -> String {
    let tick = |batch: Option<&Batch>| batch.map_or(0, |batch| batch.tick.number);
    let (first, last) = (tick(batches.first()), tick(batches.last()));
    let last_ref: Option<TickRef> = batches.last().map(|batch| batch.tick);
    match last_ref {
        Some(tick) if first == last => format!("tick {tick}"),
        _ => format!("ticks {first} to {last}"),
    }
}

fn database_error(error: &anyhow::Error) -> Option<&postgres::error::DbError> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<postgres::Error>())
        .and_then(postgres::Error::as_db_error)
}

/// A unique value may be on its way from one row to another, or the key cannot be an arbiter.
fn order_matters(error: &anyhow::Error) -> bool {
    database_error(error).is_some_and(|error| {
        [
            SqlState::UNIQUE_VIOLATION,
            SqlState::EXCLUSION_VIOLATION,
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        ]
        .contains(error.code())
    })
}

/// Whether the server rejected the data, rather than being in trouble itself.
fn target_refuses(error: &anyhow::Error) -> bool {
    const DATA_AND_SCHEMA: [&str; 9] = ["0A", "21", "22", "23", "42", "44", "2F", "38", "P0"];
    const OWN_STATE: [&str; 1] = ["55000"];
    database_error(error).is_some_and(|error| {
        let code = error.code().code();
        DATA_AND_SCHEMA.iter().any(|class| code.starts_with(class)) || OWN_STATE.contains(&code)
    })
}

fn detail(error: &anyhow::Error) -> String {
    let detail = database_error(error).and_then(postgres::error::DbError::detail);
    detail.map(|detail| format!(" ({detail})")).unwrap_or_default()
}
