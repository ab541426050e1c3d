//! Reading one's own writes: until `replication.wait_for` returns in B, beside the time until polling finds the row, in one
//! series at 100 transactions a second.

use super::Subject;
use super::latency::{LOAD_PER_S, MARGIN, PROBES_PER_S};
use crate::load::{Amount, Load};
use crate::probes::{FINE, Probes, Way};
use crate::samples::{Quantity, Samples};
use crate::statistics::percentile;
use anyhow::{Context, Result};

pub(crate) fn run(subject: &mut Subject, samples: &mut Samples) -> Result<()> {
    let (place, kind) = (subject.place, subject.kind);
    place.checkpoint()?;
    let mut probes = Probes::connect(place, subject.system.database(), FINE, Way::PollAndWaitInTurn)?;
    let duration = subject.sizes.latency;
    let load = Load::new(subject.system.database(), Amount::For(MARGIN + duration + MARGIN), subject.seed);
    let load = load.at_rate(LOAD_PER_S).start(place)?;
    std::thread::sleep(MARGIN);
    let latencies = probes.run(PROBES_PER_S, duration)?;
    load.wait()?;

    let of = |sample: &[f64], percent| percentile(sample, percent).context("no probe came through");
    let (seen, waited) = (latencies.ms(), &latencies.waited_ms);
    let (seen_p50, waited_p50, waited_p99) = (of(&seen, 50.0)?, of(waited, 50.0)?, of(waited, 99.0)?);
    samples.add(kind, Quantity::BarrierP50, waited_p50);
    samples.add(kind, Quantity::BarrierP99, waited_p99);
    samples.add(kind, Quantity::BarrierToVisible, waited_p50 / seen_p50);
    subject.say(&format!(
        "barrier: wait_for returned after p50 {waited_p50:.2} ms, p99 {waited_p99:.2} ms ({} probes); beside it, polling found \
         the row after p50 {seen_p50:.2} ms ({} probes)",
        waited.len(),
        seen.len()
    ));
    Ok(())
}
