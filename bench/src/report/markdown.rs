//! The report for people.

use crate::kind::Kind;
use crate::machine::Machine;
use crate::options::Options;
use crate::samples::{Quantity, Samples};
use crate::statistics::{Summary, median, summary};
use std::fmt::Write;

/// The rows of the main table: a quantity, its name, its unit and its decimals.
const ROWS: &[(Quantity, &str, usize)] = &[
    (Quantity::LatencyP50, "latency at 520 events/s, p50 (ms)", 2),
    (Quantity::LatencyP99, "latency at 520 events/s, p99 (ms)", 2),
    (Quantity::IdleLatencyP50, "first event after rest, p50 (ms)", 2),
    (Quantity::IdleLatencyMax, "first event after rest, slowest (ms)", 2),
    (Quantity::BarrierP50, "replication.wait_for at 520 events/s, p50 (ms)", 2),
    (Quantity::BarrierP99, "replication.wait_for at 520 events/s, p99 (ms)", 2),
    (Quantity::BarrierToVisible, "its p50, as a ratio to polling for the row beside it", 2),
    (Quantity::CatchUpRate, "catch-up (events/s)", 0),
    (Quantity::SteadyOffered, "steady: offered, open loop (events/s)", 0),
    (Quantity::SteadyCommitted, "steady: committed in A (events/s)", 0),
    (Quantity::SteadyApplied, "steady: applied in B (events/s)", 0),
    (Quantity::SteadyP50, "steady: latency p50 (ms)", 1),
    (Quantity::SteadyP99, "steady: latency p99 (ms)", 1),
    (Quantity::SteadyLagGrowth, "steady: growth of the lag (ms per s)", 2),
    (Quantity::SteadyDrain, "steady: B has all, after the load's end (ms)", 0),
    (Quantity::CostWithout, "4 clients, no capture (transactions/s)", 0),
    (Quantity::CostWith, "4 clients, with capture (transactions/s)", 0),
    (Quantity::CostShare, "share of its throughput that capture costs A", 3),
    (Quantity::IdleCpu, "idle: CPU of the three services (% of a core)", 2),
    (Quantity::MemoryPublisher, "idle: memory of outbox-publisher (MiB)", 1),
    (Quantity::MemoryProcessor, "idle: memory of inbox-processor (MiB)", 1),
    (Quantity::MemoryGenerator, "idle: memory of data-generator (MiB)", 1),
];

pub(crate) fn report(machine: &Machine, options: &Options, samples: &Samples) -> String {
    let mut sections = vec!["# Results of bench-replication.sh".to_owned(), head(machine, options, samples)];
    sections.extend(ratios(samples));
    sections.push(quantities(samples));
    sections.extend(cpu(samples));
    sections.join("\n\n") + "\n"
}

fn head(machine: &Machine, options: &Options, samples: &Samples) -> String {
    let kind = if options.is_complete() { "A complete run" } else { "A SHORTENED run" };
    let equal = if samples.a_equals_b() {
        format!("**A equals B** after each of {} runs of a system.", samples.comparisons())
    } else if samples.differences().is_empty() {
        "A and B were not compared.".to_owned()
    } else {
        format!("**A DOES NOT EQUAL B.** {}.", samples.differences().join(". "))
    };
    let durability: Vec<_> =
        samples.applies_with.iter().map(|(kind, value)| format!("{} {value}", kind.label())).collect();
    let poll_ms = median(&samples.poll_ms).map_or_else(String::new, |ms| {
        format!("\n- Latencies: B was asked every {ms:.2} ms (the resolution).")
    });
    format!(
        "{kind}: {} repetition(s) at revision {}. {equal}\n\n\
         - Machine: {}, {} cores, {:.1} GiB, Linux {}; 8 KiB written and flushed in {:.2} ms; load average over 15 minutes {}.\n\
         - PostgreSQL {}, nats-server {} (six nodes, stream with three file replicas).\n\
         - Both servers: {}.\n\
         - `synchronous_commit` of what applies in B: {}.{poll_ms}",
        options.repetitions,
        machine.revision,
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.flush_ms,
        machine.load,
        machine.postgres,
        machine.nats,
        machine.settings,
        durability.join(", "),
    )
}

fn ratios(samples: &Samples) -> Option<String> {
    let mut table =
        "## This system against native\n\n| ours / native | median | min | max |\n|---|---|---|---|"
            .to_owned();
    let mut rows = 0;
    for (quantity, what) in [
        (Quantity::CatchUpRate, "catch-up rate"),
        (Quantity::SteadyApplied, "steady: events applied"),
        (Quantity::LatencyP50, "latency p50"),
        (Quantity::LatencyP99, "latency p99"),
    ] {
        for kind in [Kind::Native, Kind::NativeTuned, Kind::NativeDurable] {
            if let Some(Summary { min, median, max }) = summary(&samples.ratios(quantity, kind)) {
                let _ = write!(
                    table,
                    "\n| {what}, against {} | **{median:.2}** | {min:.2} | {max:.2} |",
                    kind.label()
                );
                rows += 1;
            }
        }
    }
    (rows > 0).then_some(table)
}

/// Median, and minimum to maximum, of everything that was measured.
fn quantities(samples: &Samples) -> String {
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| ROWS.iter().any(|(quantity, ..)| !samples.of(*kind, *quantity).is_empty()))
        .collect();
    let mut table = "## All measures: median (minimum – maximum)\n\n|".to_owned();
    for kind in &kinds {
        let _ = write!(table, " | {}", kind.label());
    }
    let _ = write!(table, " |\n|---{}|", "|---".repeat(kinds.len()));
    for (quantity, name, decimals) in ROWS {
        if kinds.iter().all(|kind| samples.of(*kind, *quantity).is_empty()) {
            continue;
        }
        let _ = write!(table, "\n| {name}");
        for kind in &kinds {
            let _ = write!(table, " | {}", cell(samples.of(*kind, *quantity), *decimals));
        }
        table.push_str(" |");
    }
    table
}

fn cell(sample: &[f64], decimals: usize) -> String {
    match summary(sample) {
        None => String::new(),
        Some(Summary { median, .. }) if sample.len() == 1 => format!("{median:.decimals$}"),
        Some(Summary { min, median, max }) => {
            format!("{median:.decimals$} ({min:.decimals$} – {max:.decimals$})")
        }
    }
}

fn cpu(samples: &Samples) -> Option<String> {
    let mut components: Vec<&str> = samples.cpu.keys().map(|(_, component)| *component).collect();
    components.sort_unstable();
    components.dedup();
    let kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|kind| samples.cpu.keys().any(|(of, _)| of == kind)).collect();
    let mut table = "## CPU seconds per million events, in catch-up\n\n|".to_owned();
    for kind in &kinds {
        let _ = write!(table, " | {}", kind.label());
    }
    let _ = write!(table, " |\n|---{}|", "|---".repeat(kinds.len()));
    for component in &components {
        let _ = write!(table, "\n| {component}");
        for kind in &kinds {
            let sample = samples.cpu.get(&(*kind, *component)).map_or(&[][..], Vec::as_slice);
            let _ = write!(table, " | {}", cell(sample, 1));
        }
        table.push_str(" |");
    }
    let _ = write!(table, "\n| **all** ");
    for kind in &kinds {
        let of_kind = samples.cpu.iter().filter(|((of, _), _)| of == kind);
        let _ = write!(table, "| **{:.1}** ", of_kind.filter_map(|(_, sample)| median(sample)).sum::<f64>());
    }
    (!components.is_empty()).then_some(table + "|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            processor: "A processor".to_owned(),
            cores: 2,
            memory_gib: 23.5,
            kernel: "6.1".to_owned(),
            flush_ms: 0.4,
            load: "1.50".to_owned(),
            postgres: "15.14".to_owned(),
            nats: "2.9.10".to_owned(),
            revision: "abc1234".to_owned(),
            settings: "fsync on".to_owned(),
        }
    }

    fn report_of(samples: &Samples) -> String {
        report(&machine(), &Options::from_arguments(std::iter::empty()).unwrap(), samples)
    }

    #[test]
    fn the_report_shows_ratios_medians_and_the_sum_of_cpu_seconds() {
        let mut samples = Samples::default();
        samples.compared(Kind::Native, None);
        samples.compared(Kind::Ours, None);
        for (ours, native) in [(40_000.0, 60_000.0), (50_000.0, 50_000.0), (60_000.0, 40_000.0)] {
            samples.add(Kind::Ours, Quantity::CatchUpRate, ours);
            samples.add(Kind::Native, Quantity::CatchUpRate, native);
        }
        samples.add_cpu(Kind::Ours, &[("nats a", 1.0), ("postgres-a", 0.5)].into(), 100_000);
        let text = report_of(&samples);
        for line in [
            "**A equals B** after each of 2 runs",
            "| catch-up rate, against native | **1.00** | 0.67 | 1.50 |",
            "| catch-up (events/s) | 50000 (40000 – 60000) | 50000 (40000 – 60000) |",
            "| nats a | 10.0 |",
            "| **all** | **15.0** |",
        ] {
            assert!(text.contains(line), "no line {line} in:\n{text}");
        }
        assert!(!text.contains("latency at 520"), "what was not measured has no row:\n{text}");
    }

    #[test]
    fn a_difference_is_said_at_the_top() {
        let mut samples = Samples::default();
        samples.compared(Kind::Ours, Some("users: 2 rows in A, 1 in B".to_owned()));
        let text = report_of(&samples);
        assert!(
            text.lines().take(3).any(|line| line.contains("**A DOES NOT EQUAL B.** this system: users")),
            "{text}"
        );
    }
}
