//! The few numbers that programs compare from run to run.

use crate::kind::Kind;
use crate::samples::{Quantity, Samples};
use crate::statistics::median;
use anyhow::{Context, Result};
use serde::Serialize;

/// Medians; null where a quantity was not measured.
#[derive(Serialize)]
struct SummaryJson {
    catchup_ratio: Option<f64>,
    steady_ratio: Option<f64>,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    native_latency_p50_ms: Option<f64>,
    native_latency_p99_ms: Option<f64>,
    /// The share of its throughput that capture costs the application.
    trigger_cost_ratio: Option<f64>,
    a_equals_b: bool,
}

pub(crate) fn of(samples: &Samples) -> Result<String> {
    let ratio = |quantity| rounded(median(&samples.ratios(quantity, Kind::Native)));
    let value = |kind, quantity| rounded(samples.median(kind, quantity));
    let summary = SummaryJson {
        catchup_ratio: ratio(Quantity::CatchUpRate),
        steady_ratio: ratio(Quantity::SteadyApplied),
        latency_p50_ms: value(Kind::Ours, Quantity::LatencyP50),
        latency_p99_ms: value(Kind::Ours, Quantity::LatencyP99),
        native_latency_p50_ms: value(Kind::Native, Quantity::LatencyP50),
        native_latency_p99_ms: value(Kind::Native, Quantity::LatencyP99),
        trigger_cost_ratio: value(Kind::Ours, Quantity::CostShare),
        a_equals_b: samples.a_equals_b(),
    };
    let text = serde_json::to_string_pretty(&summary).context("encode the summary")?;
    Ok(text + "\n")
}

fn rounded(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_holds_medians_and_null_for_what_was_not_measured() {
        let mut samples = Samples::default();
        samples.compared(Kind::Ours, None);
        for (ours, native) in [(50.0, 100.0), (90.0, 90.0), (80.0, 100.0)] {
            samples.add(Kind::Ours, Quantity::CatchUpRate, ours);
            samples.add(Kind::Native, Quantity::CatchUpRate, native);
            samples.add(Kind::Ours, Quantity::LatencyP50, ours / 30.0);
        }
        let summary: serde_json::Value = serde_json::from_str(&of(&samples).unwrap()).unwrap();
        let expected = serde_json::json!({
            "catchup_ratio": 0.8, "steady_ratio": null, "latency_p50_ms": 2.667, "latency_p99_ms": null,
            "native_latency_p50_ms": null, "native_latency_p99_ms": null, "trigger_cost_ratio": null,
            "a_equals_b": true
        });
        assert_eq!(summary, expected);
    }
}
