//! Looks once a second at what the target's database knows: what waits in the inbox, as of when readers see the source, what
//! blocks, what was set aside. What is shown of it says when it was looked at; what is too old is unknown.

mod readings;

use crate::confirm_sender::ConfirmSender;
use crate::inbox::standing::{self, Standing};
use crate::metrics::METRICS;
use anyhow::{Context, Result};
use parking_lot::Mutex;
use shared::database::Database;
use shared::supervisor::ThreadContext;
use std::time::{Duration, Instant, SystemTime};

const INTERVAL: Duration = Duration::from_secs(1);
/// It looks not more than a twentieth of the time.
const SHARE: u32 = 20;
/// What was looked at longer ago is unknown.
const FRESH: Duration = Duration::from_secs(15);

/// What was found, for whoever shows it. Nothing while this process does not lead.
#[derive(Default)]
pub(crate) struct Sampled(Mutex<Option<Seen>>);

/// With the time of the look.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) standing: Standing,
    pub(crate) at: SystemTime,
    pub(crate) looked: Instant,
}

impl Sampled {
    /// None where that is not known now.
    pub(crate) fn seen(&self) -> Option<Seen> {
        self.0.lock().clone().filter(|seen| seen.looked.elapsed() < FRESH)
    }

    /// How far readers of the target are behind the source; 0 when nothing waits, none where it is unknown.
    pub(crate) fn total_lag_seconds(&self, confirms: &ConfirmSender) -> Option<f64> {
        let heard = METRICS.last_heard()?;
        let (_, applied) = confirms.ticks()?;
        if applied >= heard.tick { Some(0.0) } else { self.seen()?.standing.behind_seconds }
    }
}

/// Samples until a stop is requested.
pub(crate) fn run(
    context: &ThreadContext,
    database: &Database,
    confirms: &ConfirmSender,
    sampled: &Sampled,
) -> Result<()> {
    context.keep_trying("look how the target stands", || {
        let mut client = database.session()?;
        // Functions and types of the same names may come first.
        client.batch_execute("set search_path = pg_catalog").context("set up the session")?;
        while !context.stop().requested() {
            let begun = Instant::now();
            *sampled.0.lock() = if confirms.is_leading() {
                let standing = standing::look(&mut client)?;
                Some(Seen { standing, at: SystemTime::now(), looked: Instant::now() })
            } else {
                None
            };
            context.healthy();
            context.stop().wait(INTERVAL.max(begun.elapsed() * SHARE));
        }
        Ok(())
    })
}
