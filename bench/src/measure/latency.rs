//! Latency at 100 transactions (520 events) a second, and of the first event after rest.

use super::Subject;
use crate::load::{Amount, Load};
use crate::probes::{FINE, Probes, Way};
use crate::samples::{Quantity, Samples};
use crate::statistics::percentile;
use anyhow::{Context, Result};
use std::time::Duration;

/// Half of the transactions come from pgbench, half are probes.
pub(super) const LOAD_PER_S: f64 = 50.0;
pub(super) const PROBES_PER_S: f64 = 50.0;
/// The load runs before the first probe and after the last.
pub(super) const MARGIN: Duration = Duration::from_secs(1);

pub(crate) fn run(subject: &mut Subject, samples: &mut Samples) -> Result<()> {
    let (place, kind) = (subject.place, subject.kind);
    place.checkpoint()?;
    let mut probes = Probes::connect(place, subject.system.database(), FINE, Way::Poll)?;
    let at_rest = probes.run_at_rest(subject.sizes.idle_probes)?.ms();

    let duration = subject.sizes.latency;
    let load = Load::new(subject.system.database(), Amount::For(MARGIN + duration + MARGIN), subject.seed);
    let load = load.at_rate(LOAD_PER_S).start(place)?;
    std::thread::sleep(MARGIN);
    let latencies = probes.run(PROBES_PER_S, duration)?;
    load.wait()?;

    let of = |sample: &[f64], percent| percentile(sample, percent).context("no probe came through");
    let under_load = latencies.ms();
    let (p50, p99) = (of(&under_load, 50.0)?, of(&under_load, 99.0)?);
    let (rest_p50, rest_max) = (of(&at_rest, 50.0)?, of(&at_rest, 100.0)?);
    samples.add(kind, Quantity::LatencyP50, p50);
    samples.add(kind, Quantity::LatencyP99, p99);
    samples.add(kind, Quantity::IdleLatencyP50, rest_p50);
    samples.add(kind, Quantity::IdleLatencyMax, rest_max);
    samples.poll_ms.push(latencies.poll_ms);
    subject.say(&format!(
        "latency: p50 {p50:.2} ms, p99 {p99:.2} ms ({} probes, asked every {:.2} ms); first after rest {rest_p50:.2} ms, \
         at most {rest_max:.2} ms",
        under_load.len(),
        latencies.poll_ms
    ));
    samples.latencies.entry(kind).or_default().extend(under_load);
    Ok(())
}
