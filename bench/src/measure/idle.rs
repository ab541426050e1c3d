//! What the three services use while nothing happens.

use crate::kind::Kind;
use crate::options::Sizes;
use crate::ours::Ours;
use crate::place::Place;
use crate::processes::{components, cpu_seconds, memory_mib, used};
use crate::samples::{Quantity, Samples};
use crate::system::{System, wait_until_caught_up};
use anyhow::{Context, Result};
use std::time::Duration;

/// Between the last event and the measure: pauses grow while nothing comes.
const SETTLE: Duration = Duration::from_secs(3);
/// Seconds; one round at the start, and then nothing during the measure.
const GENERATION_INTERVAL: &str = "3600";

pub(crate) fn run(place: &Place, sizes: &Sizes, samples: &mut Samples) -> Result<()> {
    let mut ours = Ours::create(place)?;
    ours.start_generator(GENERATION_INTERVAL)?;
    wait_until_caught_up(place, &ours)?;
    std::thread::sleep(SETTLE);

    let components = components(place, &ours)?;
    let before = cpu_seconds(&components)?;
    std::thread::sleep(sizes.idle);
    let used = used(&before, &cpu_seconds(&components)?);

    let mut percent = 0.0;
    for (service, pid) in ours.processes() {
        percent += used.get(service).context("a service has no CPU time")? / sizes.idle.as_secs_f64() * 100.0;
        let quantity = match service {
            "outbox-publisher" => Quantity::MemoryPublisher,
            "inbox-processor" => Quantity::MemoryProcessor,
            _ => Quantity::MemoryGenerator,
        };
        samples.add(Kind::Ours, quantity, memory_mib(pid)?.0);
    }
    samples.add(Kind::Ours, Quantity::IdleCpu, percent);
    println!("  {:<16} idle: the three services use {percent:.2} % of a core", Kind::Ours.label());
    ours.remove()
}
