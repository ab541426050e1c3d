//! Looks once a second how far the stages of replication are behind, and every few seconds how large the outbox is. What is
//! shown of it says when it was looked at; what is too old is unknown.

mod readings;
mod reference;
mod running;

use crate::leadership::{Leadership, Term};
use crate::outbox::sizes::{self, Sizes};
use crate::outbox::verified::{self, VerifiedTable};
use crate::outbox::waiting::{self, Waiting};
use anyhow::{Context, Result};
use parking_lot::Mutex;
use postgres::Client;
use reference::Reference;
use running::Running;
use shared::fault::{Fault, fault_of};
use shared::supervisor::ThreadContext;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const WAITING_INTERVAL: Duration = Duration::from_secs(1);
/// Sizes are looked at this often, and not more than a twentieth of the time: counting a large backlog takes long.
const SIZES_INTERVAL: Duration = Duration::from_secs(5);
const SIZES_SHARE: u32 = 20;
/// What was looked at longer ago is unknown.
const FRESH: Duration = Duration::from_secs(15);

/// What was found, for whoever shows it. Nothing while this process does not lead.
pub(crate) struct Sampled {
    /// Bytes of disk that the outbox may fill.
    room_bytes: Option<u64>,
    waiting: Mutex<Option<Seen<Waiting>>>,
    sizes: Mutex<Option<Seen<Sizes>>>,
    verified: Mutex<Vec<VerifiedTable>>,
    reference: Mutex<Reference>,
    running: Mutex<Running>,
}

/// With the time of the look.
#[derive(Clone)]
pub(crate) struct Seen<T> {
    pub(crate) value: T,
    pub(crate) at: SystemTime,
    looked: Instant,
}

impl<T> Seen<T> {
    fn now(value: T) -> Seen<T> {
        Seen { value, at: SystemTime::now(), looked: Instant::now() }
    }
}

impl Sampled {
    pub(crate) fn new(room_bytes: Option<u64>) -> Sampled {
        Sampled {
            room_bytes,
            waiting: Mutex::default(),
            sizes: Mutex::default(),
            verified: Mutex::default(),
            reference: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// How far the stages are behind; none where that is not known now.
    pub(crate) fn waiting(&self) -> Option<Seen<Waiting>> {
        self.waiting.lock().clone().filter(|seen| seen.looked.elapsed() < FRESH)
    }

    /// How large the outbox is, as it was looked at last in this term.
    pub(crate) fn sizes(&self) -> Option<Seen<Sizes>> {
        self.sizes.lock().clone()
    }

    /// What is known of each attached table, as it was looked up last in this term.
    pub(crate) fn verified(&self) -> Vec<VerifiedTable> {
        self.verified.lock().clone()
    }

    /// Seconds until the outbox fills the disk that it was given, were nothing confirmed from now on.
    pub(crate) fn seconds_left(&self) -> Option<f64> {
        Some(self.sizes()?.value.seconds_left(self.room_bytes?))
    }

    /// How long the oldest transaction has been seen that holds back the rows that it writes.
    pub(crate) fn oldest_transaction_seconds(&self) -> Option<f64> {
        self.waiting()?;
        Some(self.running.lock().seconds())
    }

    pub(crate) fn taken_tick(&self) -> Option<i64> {
        self.waiting().map(|seen| seen.value.taken_tick)
    }

    /// Why this process is not ready although its threads are well: the target is far behind, and does not catch up.
    pub(crate) fn hindrance(&self) -> Option<String> {
        self.waiting()?;
        self.reference.lock().hindrance()
    }

    fn clear(&self) {
        *self.waiting.lock() = None;
        *self.sizes.lock() = None;
        self.verified.lock().clear();
        *self.reference.lock() = Reference::default();
    }

    fn look(&self, client: &mut Client, term: &Term) -> Result<()> {
        let waiting = waiting::look(client, term.progress(), term.received_tick())?;
        self.running.lock().note(waiting.oldest_running.as_deref());
        self.reference.lock().note(waiting.total_seconds, Instant::now());
        *self.waiting.lock() = Some(Seen::now(waiting));
        Ok(())
    }
}

/// Samples until a stop is requested.
pub(crate) fn run(context: &ThreadContext, leadership: &Leadership, sampled: &Arc<Sampled>) -> Result<()> {
    leadership.in_each_term(context, "look how far replication is", |term| {
        let ended = session(context, term, sampled);
        sampled.clear();
        ended
    })
}

fn session(context: &ThreadContext, term: &Term, sampled: &Sampled) -> Result<()> {
    let mut client = term.session(1)?;
    // Functions and types of the same names may come first.
    client.batch_execute("set search_path = pg_catalog").context("set up the session")?;
    let mut sizes_due = Instant::now();
    while term.continues(context.stop()) {
        sampled.look(&mut client, term)?;
        if Instant::now() >= sizes_due {
            let begun = Instant::now();
            let sizes = known_in_time(sizes::look(&mut client))?;
            *sampled.sizes.lock() = sizes.map(Seen::now);
            *sampled.verified.lock() = known_in_time(verified::look(&mut client))?.unwrap_or_default();
            sizes_due = Instant::now() + SIZES_INTERVAL.max(begun.elapsed() * SIZES_SHARE);
        }
        context.healthy();
        term.wait(context.stop(), WAITING_INTERVAL);
    }
    Ok(())
}

/// None where counting takes too long: then the what was asked for is unknown, and nothing is wrong with this service.
fn known_in_time<T>(looked: Result<T>) -> Result<Option<T>> {
    match looked {
        Ok(known) => Ok(Some(known)),
        Err(error) if fault_of(&error) == Fault::OutOfTime => {
            log::debug!("unknown, since it takes too long: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
