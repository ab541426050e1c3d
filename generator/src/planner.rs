//! Plans a round every interval.

use crate::plan::{self, Plan};
use crate::writer::Written;
use anyhow::{Context, Result};
use crossbeam_channel::Sender;
use fastrand::Rng;
use shared::database::Database;
use shared::supervisor::ThreadContext;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

pub(crate) struct Planner {
    database: Database,
    interval: Duration,
    output: Sender<Plan>,
    written: Arc<Written>,
}

impl Planner {
    pub(crate) fn new(
        database: Database,
        interval: Duration,
        output: Sender<Plan>,
        written: Arc<Written>,
    ) -> Planner {
        Planner { database, interval, output, written }
    }

    pub(crate) fn run(&self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("generate", || {
            self.require_tables()?;
            context.healthy();
            self.plan_rounds(context);
            Ok(())
        })
    }

    fn require_tables(&self) -> Result<()> {
        let mut client = self.database.connection()?;
        client.batch_execute("select from users, payments limit 0").context(
            "users and payments cannot be used; run once, with a DATABASE_URL of an administrator: data-generator \
             prepare-source",
        )
    }

    fn plan_rounds(&self, context: &ThreadContext) {
        let mut rng = Rng::new();
        let mut next_round = Instant::now();
        let mut next_summary = next_round + SUMMARY_INTERVAL;
        loop {
            for plan in plan::round(&mut rng) {
                log::debug!("{plan:?}");
                crossbeam_channel::select! {
                    recv(context.stop().receiver()) -> _ => return,
                    send(self.output, plan) -> sent => if sent.is_err() { return },
                }
            }
            let now = Instant::now();
            if now >= next_summary {
                log::info!("{}", self.written.summary());
                next_summary = now + SUMMARY_INTERVAL;
            }
            // Missed rounds are skipped.
            next_round = (next_round + self.interval).max(now);
            if context.stop().wait(next_round - now) {
                return;
            }
        }
    }
}
