//! What is measured in which order: each repetition sets up one system after the other, never two at a
//! time, and ends each by comparing A and B.

use crate::equality;
use crate::kind::Kind;
use crate::load::{Amount, Load};
use crate::measure;
use crate::options::{Measure, Options};
use crate::place::Place;
use crate::samples::Samples;
use crate::system::wait_until_caught_up;
use anyhow::{Context, Result};
use std::time::Instant;

pub(crate) fn run(place: &Place, options: &Options) -> Result<Samples> {
    let mut samples = Samples::default();
    for repetition in 1..=options.repetitions {
        println!("\nRepetition {repetition} of {}", options.repetitions);
        for kind in Kind::ALL {
            measure_system(place, options, repetition, kind, &mut samples)
                .with_context(|| format!("measure {}", kind.label()))?;
        }
    }
    if options.wants(Measure::Cost) {
        measure::cost::run(place, &options.sizes, &mut samples).context("measure the cost of capture")?;
    }
    if options.wants(Measure::Idle) {
        measure::idle::run(place, &options.sizes, &mut samples).context("measure an idle system")?;
    }
    Ok(samples)
}

/// What one system is measured for. The other forms of native are there for comparison.
fn measures(options: &Options, kind: Kind) -> Vec<Measure> {
    let all: &[Measure] = match kind {
        Kind::Native => &[Measure::Latency, Measure::CatchUp, Measure::Steady],
        Kind::Ours => &[Measure::Latency, Measure::Barrier, Measure::CatchUp, Measure::Steady],
        Kind::NativeTuned if options.quick => &[Measure::CatchUp],
        Kind::NativeDurable if options.quick => &[],
        Kind::NativeTuned | Kind::NativeDurable => &[Measure::Latency, Measure::CatchUp],
    };
    all.iter().copied().filter(|measure| options.wants(*measure)).collect()
}

fn measure_system(
    place: &Place,
    options: &Options,
    repetition: usize,
    kind: Kind,
    samples: &mut Samples,
) -> Result<()> {
    let measures = measures(options, kind);
    if measures.is_empty() {
        return Ok(());
    }
    let begun = Instant::now();
    let mut system = kind.create(place)?;
    samples.applies_with.insert(kind, system.applies_with(place)?);
    let warm_up = Amount::Transactions(options.sizes.warm_up_transactions);
    Load::new(system.database(), warm_up, repetition).run(place)?;
    wait_until_caught_up(place, &*system)?;
    for measure in measures {
        let run = match measure {
            Measure::Latency => measure::latency::run,
            Measure::Barrier => measure::barrier::run,
            Measure::CatchUp => measure::catch_up::run,
            Measure::Steady => measure::steady::run,
            Measure::Cost | Measure::Idle => continue, // not of one system and repetition
        };
        let mut subject =
            measure::Subject { place, sizes: &options.sizes, kind, system: &mut *system, seed: repetition };
        run(&mut subject, samples)?;
    }
    wait_until_caught_up(place, &*system)?;
    let difference = equality::difference(place, &*system)?;
    let verdict = if difference.is_none() { "A equals B" } else { "A DOES NOT EQUAL B" };
    println!("  {:<16} {verdict}; {:.0} s in all", kind.label(), begun.elapsed().as_secs_f64());
    samples.compared(kind, difference);
    system.remove()
}
