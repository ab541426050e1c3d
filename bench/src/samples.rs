//! What was measured: for each system and quantity one value of each repetition.

use crate::kind::Kind;
use crate::processes::CpuSeconds;
use crate::statistics::median;
use anyhow::{Result, bail};
use std::collections::BTreeMap;

/// A quantity that every repetition gives one value of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quantity {
    LatencyP50,
    LatencyP99,
    IdleLatencyP50,
    IdleLatencyMax,
    BarrierP50,
    BarrierP99,
    /// The first of these two as a ratio to that of polling for the row, in one series.
    BarrierToVisible,
    CatchUpRate,
    SteadyOffered,
    SteadyCommitted,
    SteadyApplied,
    SteadyP50,
    SteadyP99,
    SteadyLagGrowth,
    SteadyDrain,
    /// Of A's own throughput, transactions per second.
    CostWithout,
    CostWith,
    CostShare,
    IdleCpu,
    MemoryPublisher,
    MemoryProcessor,
    MemoryGenerator,
}

/// Seconds since the start, and the share of the backlog that is visible.
pub(crate) type Curve = Vec<(f64, f64)>;

#[derive(Default)]
pub(crate) struct Samples {
    values: BTreeMap<(Kind, Quantity), Vec<f64>>,
    /// All latencies at 500 events/s, of all repetitions together.
    pub(crate) latencies: BTreeMap<Kind, Vec<f64>>,
    pub(crate) curves: BTreeMap<Kind, Vec<Curve>>,
    /// CPU seconds per million events in catch-up.
    pub(crate) cpu: BTreeMap<(Kind, &'static str), Vec<f64>>,
    pub(crate) applies_with: BTreeMap<Kind, String>,
    /// The resolution of the latencies.
    pub(crate) poll_ms: Vec<f64>,
    comparisons: usize,
    differences: Vec<String>,
}

impl Samples {
    pub(crate) fn add(&mut self, kind: Kind, quantity: Quantity, value: f64) {
        self.values.entry((kind, quantity)).or_default().push(value);
    }

    pub(crate) fn add_cpu(&mut self, kind: Kind, used: &CpuSeconds, events: u64) {
        for (component, seconds) in used {
            self.cpu.entry((kind, component)).or_default().push(seconds * 1e6 / events as f64);
        }
    }

    pub(crate) fn of(&self, kind: Kind, quantity: Quantity) -> &[f64] {
        self.values.get(&(kind, quantity)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn median(&self, kind: Kind, quantity: Quantity) -> Option<f64> {
        median(self.of(kind, quantity))
    }

    /// This system against another, repetition by repetition, since those two were measured close together.
    pub(crate) fn ratios(&self, quantity: Quantity, other: Kind) -> Vec<f64> {
        let pairs = self.of(Kind::Ours, quantity).iter().zip(self.of(other, quantity));
        pairs.map(|(ours, theirs)| ours / theirs).collect()
    }

    /// Notes that A and B were compared, and how they differ.
    pub(crate) fn compared(&mut self, kind: Kind, difference: Option<String>) {
        self.comparisons += 1;
        self.differences.extend(difference.map(|difference| format!("{}: {difference}", kind.label())));
    }

    pub(crate) fn comparisons(&self) -> usize {
        self.comparisons
    }

    /// In words; empty if A equalled B each time.
    pub(crate) fn differences(&self) -> &[String] {
        &self.differences
    }

    pub(crate) fn a_equals_b(&self) -> bool {
        self.comparisons > 0 && self.differences.is_empty()
    }

    /// Fails if A did not equal B: results of a system that is fast and wrong do not count.
    pub(crate) fn require_equality(&self) -> Result<()> {
        if !self.differences.is_empty() {
            bail!("A DOES NOT EQUAL B. {}", self.differences.join(". "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_pairs_the_values_of_one_repetition() {
        let mut samples = Samples::default();
        for (ours, native) in [(50.0, 100.0), (300.0, 200.0), (80.0, 100.0)] {
            samples.add(Kind::Ours, Quantity::CatchUpRate, ours);
            samples.add(Kind::Native, Quantity::CatchUpRate, native);
        }
        assert_eq!(samples.ratios(Quantity::CatchUpRate, Kind::Native), [0.5, 1.5, 0.8]);
        assert!(samples.ratios(Quantity::CatchUpRate, Kind::NativeTuned).is_empty());
    }

    #[test]
    fn nothing_compared_is_not_equal_and_a_difference_fails_the_run() {
        let mut samples = Samples::default();
        assert!(!samples.a_equals_b());
        samples.compared(Kind::Native, None);
        assert!(samples.a_equals_b() && samples.require_equality().is_ok());
        samples.compared(Kind::Ours, Some("users: 2 rows in A, 1 in B".to_owned()));
        assert!(!samples.a_equals_b());
        assert!(samples.require_equality().unwrap_err().to_string().starts_with("A DOES NOT EQUAL B"));
    }
}
