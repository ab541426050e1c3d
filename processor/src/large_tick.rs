//! Large ticks are applied as they arrive, in a transaction of their own that commits when they are
//! complete: the target works while the rest is still on its way, memory stays flat, and a reader of
//! the target sees all of it or nothing.
//!
//! It is the quick way for what is likely to fit. Whatever goes wrong here only undoes that
//! transaction; the batches are in the inbox, and [`crate::stored_tick`] applies them from there.

use crate::changes::reduce;
use crate::inbox::{self, record_all_processed};
use crate::position::TargetPosition;
use crate::session::prepare_session;
use crate::tables::{Drift, Tables, Way};
use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use postgres::Client;
use shared::database::Database;
use shared::leadership::{Role, take_from_predecessor};
use shared::supervisor::{Stop, ThreadContext};
use shared::wire::{Batch, TickRef};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A tick with more events is not kept in memory until it is complete.
const LARGE_TICK_EVENTS: i64 = 10_000;
/// Nor is one of which so many bytes of rows wait.
const LARGE_TICK_BYTES: usize = 32 * 1024 * 1024;
/// Batches that wait to be applied; more, and receiving slows down.
const BATCHES_WAITING: usize = 4;
/// A transaction that gets nothing for so long holds up others for nothing.
const BATCH_DEADLINE: Duration = Duration::from_secs(60);
/// How often a wait looks whether a stop is requested.
const STOP_CHECK: Duration = Duration::from_millis(250);

/// Whether a tick, or what is there of it, is too much to be kept in memory.
pub(crate) fn is_large(events: i64, bytes: usize) -> bool {
    events > LARGE_TICK_EVENTS || bytes > LARGE_TICK_BYTES
}

/// Whether what waits is too much to be kept in memory until its last tick is complete.
pub(crate) fn is_too_much(waiting: &[Arc<Batch>]) -> bool {
    let rows = waiting.iter().flat_map(|batch| &batch.events).filter_map(|event| event.row.as_ref());
    waiting.last().is_some_and(|batch| is_large(batch.total, rows.map(String::len).sum()))
}

/// The way to the thread that applies large ticks.
pub(crate) struct LargeTicks(Sender<Job>);

/// A tick that is being applied while it arrives. Dropped before it is finished, it is undone.
pub(crate) struct LargeTick {
    batches: Sender<Arc<Batch>>,
    outcome: Receiver<Result<()>>,
}

/// What the thread is asked to do.
pub(crate) struct Job {
    /// What is applied before it.
    applied: Option<TickRef>,
    batches: Receiver<Arc<Batch>>,
    outcome: Sender<Result<()>>,
}

impl LargeTicks {
    pub(crate) fn new() -> (LargeTicks, Receiver<Job>) {
        let (sender, jobs) = bounded(1);
        (LargeTicks(sender), jobs)
    }

    /// Begins a tick, the next one behind `position`'s applied.
    pub(crate) fn begin(&self, position: &TargetPosition) -> Result<LargeTick> {
        let (batches, arriving) = bounded(BATCHES_WAITING);
        let (done, outcome) = bounded(1);
        let job = Job { applied: position.applied, batches: arriving, outcome: done };
        self.0
            .send_timeout(job, BATCH_DEADLINE)
            .context("the thread for large ticks does not take another")?;
        Ok(LargeTick { batches, outcome })
    }
}

impl LargeTick {
    /// Hands over the next batch, which must be committed in the inbox; waits for room. False when the
    /// thread has given up (or a stop is requested); [`LargeTick::finish`] says why.
    pub(crate) fn add(&self, batch: Arc<Batch>, stop: &Stop) -> bool {
        crossbeam_channel::select! {
            recv(stop.receiver()) -> _ => false,
            send(self.batches, batch) -> sent => sent.is_ok(),
        }
    }

    /// Waits until what was handed over is committed, if it was the whole tick.
    pub(crate) fn finish(self, stop: &Stop) -> Result<()> {
        drop(self.batches);
        crossbeam_channel::select! {
            recv(stop.receiver()) -> _ => bail!("a stop is requested"),
            recv(self.outcome) -> outcome => outcome.context("the thread for large ticks has ended")?,
        }
    }
}

/// Applies large ticks until a stop is requested. Takes batches together up to about
/// `group_events_max` events.
pub(crate) fn run(
    context: &ThreadContext,
    database: &Database,
    jobs: &Receiver<Job>,
    group_events_max: usize,
) -> Result<()> {
    context.healthy();
    loop {
        let job = crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return Ok(()),
            recv(jobs) -> job => match job {
                Ok(job) => job,
                Err(_) => return Ok(()),
            },
        };
        let outcome = apply_as_it_arrives(context, database, &job, group_events_max);
        // Nobody listens any more where the applying thread has begun anew.
        let _ = job.outcome.try_send(outcome);
    }
}

fn apply_as_it_arrives(
    context: &ThreadContext,
    database: &Database,
    job: &Job,
    group_events_max: usize,
) -> Result<()> {
    let mut client = database.session()?;
    prepare_session(&mut client)?;
    // A processor that hangs may have left such a transaction open, with locks on rows.
    take_from_predecessor(&mut client, Role::LargeTick, context)?;
    write(&mut client, job, context.stop(), group_events_max)
}

fn write(client: &mut Client, job: &Job, stop: &Stop, group_events_max: usize) -> Result<()> {
    let mut tables = Tables::default();
    let mut transaction = client.transaction().context("begin a transaction")?;
    let mut last = None;
    let mut drift = Drift::default();
    while let Some(group) = next_group(job, stop, group_events_max)? {
        tables.learn(&mut transaction, group.iter().flat_map(|batch| &batch.shapes))?;
        record_all_processed(&mut transaction, &group)?;
        let equal = tables.equal_keys(&mut transaction, &group)?;
        let changes = reduce(&group, &HashSet::new(), &equal);
        drift += tables.write(&mut transaction, &changes, Way::AsInTheSource)?;
        last = group.last().cloned();
        shared::kill_point::reached("large_tick_half_applied");
    }
    match last {
        Some(last) if last.end().is_complete() => inbox::finish_tick(&mut transaction, job.applied, &last)?,
        _ => bail!("the tick was abandoned"),
    }
    inbox::record_drift(&mut transaction, drift)?;
    transaction.commit().context("commit a large tick")
}

/// The batches that are there, at least one; none when all were handed over.
fn next_group(job: &Job, stop: &Stop, events_max: usize) -> Result<Option<Vec<Arc<Batch>>>> {
    let deadline = Instant::now() + BATCH_DEADLINE;
    let first = loop {
        match job.batches.recv_timeout(STOP_CHECK) {
            Ok(batch) => break batch,
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if stop.requested() => bail!("a stop is requested"),
            Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                bail!("nothing more of it came within {} s", BATCH_DEADLINE.as_secs())
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    let mut events = first.events.len();
    let mut group = vec![first];
    while events < events_max {
        let Ok(batch) = job.batches.try_recv() else { break };
        events += batch.events.len();
        group.push(batch);
    }
    Ok(Some(group))
}
