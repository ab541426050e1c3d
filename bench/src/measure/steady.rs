//! Steady state: what a system applies, and how late, under a continuous load.
//!
//! Native gets all that four clients can offer, each beginning its next transaction when the last
//! has ended. Ours is offered, in an open loop, the rate that native was seen to apply.

use super::{EVENTS_PER_TRANSACTION, Subject};
use crate::kind::Kind;
use crate::load::{Amount, Load};
use crate::place::{Place, Zone};
use crate::probes::{COARSE, Probes, Way};
use crate::samples::{Quantity, Samples};
use crate::statistics::{percentile, slope};
use crate::system::wait_until_caught_up;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

const PROBES_PER_S: f64 = 20.0;
/// The load runs before the window in which it is measured, and after it.
const MARGIN: Duration = Duration::from_secs(2);

pub(crate) fn run(subject: &mut Subject, samples: &mut Samples) -> Result<()> {
    let (place, kind, window) = (subject.place, subject.kind, subject.sizes.steady);
    let database = subject.system.database();
    place.checkpoint()?;
    let mut probes = Probes::connect(place, database, COARSE, Way::Poll)?;
    let mut counters =
        [Counter::connect(place, Zone::A, database)?, Counter::connect(place, Zone::B, database)?];

    let mut load = Load::new(database, Amount::For(MARGIN + window + MARGIN), subject.seed);
    if kind.is_ours() {
        let offered = *samples
            .of(Kind::Native, Quantity::SteadyApplied)
            .last()
            .context("the rate of native is not known")?;
        samples.add(kind, Quantity::SteadyOffered, offered);
        load = load.at_rate(offered / EVENTS_PER_TRANSACTION - PROBES_PER_S);
    }
    let load = load.start(place)?;
    std::thread::sleep(MARGIN);
    for counter in &mut counters {
        counter.begin()?;
    }
    let latencies = probes.run(PROBES_PER_S, window)?;
    let [committed, applied] = counters;
    let (committed, applied) = (committed.per_s()?, applied.per_s()?);
    load.wait()?;
    let ended = Instant::now();
    wait_until_caught_up(place, subject.system)?;
    let drain_ms = ended.elapsed().as_secs_f64() * 1000.0;

    let of = |percent| percentile(&latencies.ms(), percent).context("no probe came through");
    let (p50, p99) = (of(50.0)?, of(99.0)?);
    let growth = slope(&latencies.points).context("too few probes came through")?;
    let events = |transactions: f64| transactions * EVENTS_PER_TRANSACTION;
    samples.add(kind, Quantity::SteadyCommitted, events(committed));
    samples.add(kind, Quantity::SteadyApplied, events(applied));
    samples.add(kind, Quantity::SteadyP50, p50);
    samples.add(kind, Quantity::SteadyP99, p99);
    samples.add(kind, Quantity::SteadyLagGrowth, growth);
    samples.add(kind, Quantity::SteadyDrain, drain_ms);
    subject.say(&format!(
        "steady: {:.0} events/s committed, {:.0} applied; p50 {p50:.1} ms, p99 {p99:.1} ms, lag grows {growth:.2} ms/s, \
         drained {drain_ms:.0} ms after the end",
        events(committed),
        events(applied),
    ));
    Ok(())
}

/// Counts the transactions that become visible in one zone.
struct Counter {
    session: postgres::Client,
    begin: Option<(Instant, i64)>,
}

impl Counter {
    fn connect(place: &Place, zone: Zone, database: &str) -> Result<Counter> {
        Ok(Counter { session: place.session(zone, database)?, begin: None })
    }

    fn begin(&mut self) -> Result<()> {
        self.begin = Some(self.read()?);
        Ok(())
    }

    fn per_s(mut self) -> Result<f64> {
        let (begun, before) = self.begin.context("counting was not begun")?;
        let (ended, after) = self.read()?;
        Ok((after - before) as f64 / (ended - begun).as_secs_f64())
    }

    /// The users, and the moment of the snapshot that they were counted in.
    fn read(&mut self) -> Result<(Instant, i64)> {
        let at = Instant::now();
        Ok((at, self.session.query_one("select count(*) from users", &[])?.get(0)))
    }
}
