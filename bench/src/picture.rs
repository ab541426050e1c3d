//! The pictures of the report, as SVG: throughput, latency percentiles, catch-up over time.

mod bars;
mod canvas;
mod lines;

use crate::kind::Kind;
use crate::samples::{Quantity, Samples};
use crate::statistics::{percentile, summary};
use bars::{Bar, Group};
pub(crate) use canvas::thousands;
use lines::{Axis, Line};

/// Ours stands out; the forms of native are shades of one colour.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Ours => "#2563eb",
        Kind::Native => "#475569",
        Kind::NativeTuned => "#94a3b8",
        Kind::NativeDurable => "#d97706",
    }
}

/// Ours first.
fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().rev()
}

/// Bars of events per second: catch-up, and steady state.
pub(crate) fn throughput(samples: &Samples) -> Option<String> {
    let groups: Vec<Group> = [
        (Quantity::CatchUpRate, "Catch-up: 20,000 transactions behind"),
        (Quantity::SteadyApplied, "Steady state: the load that native sustains"),
    ]
    .into_iter()
    .filter_map(|(quantity, title)| {
        let bars: Vec<Bar> = kinds()
            .filter_map(|kind| {
                let summary = summary(samples.of(kind, quantity))?;
                Some(Bar { label: kind.label(), colour: colour(kind), summary })
            })
            .collect();
        (!bars.is_empty()).then_some(Group { title, bars })
    })
    .collect();
    (!groups.is_empty()).then(|| {
        bars::draw("Throughput", "events per second applied in B; median, and minimum to maximum", &groups)
    })
}

/// Latency over percentile, both on scales where each decade takes the same room.
pub(crate) fn latency(samples: &Samples) -> Option<String> {
    const PERCENTILES: [f64; 11] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.8, 99.9];
    let lines: Vec<Line> = kinds()
        .filter_map(|kind| {
            let sample = samples.latencies.get(&kind)?;
            // A percentile that less than one probe in the sample lies beyond says nothing.
            let points = PERCENTILES
                .iter()
                .filter(|percent| (100.0 - *percent) / 100.0 * sample.len() as f64 >= 1.0)
                .filter_map(|percent| {
                    Some((nines(*percent), percentile(sample, *percent)?.max(0.01).log10()))
                })
                .collect();
            Some(Line { label: kind.label(), colour: colour(kind), points })
        })
        .collect();
    let ticks = [10.0, 50.0, 90.0, 99.0, 99.9].map(|percent: f64| (nines(percent), format!("{percent} %")));
    let x = Axis { ticks: ticks.to_vec() };
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, y)| 10_f64.powf(*y));
    let y = decades(values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let titles = (
        "Latency from commit in A to visibility in B",
        "milliseconds (logarithmic), at 100 transactions (520 events) a second",
    );
    (!lines.is_empty())
        .then(|| lines::draw(titles, &lines, "share of the transactions that are visible by then", &x, &y))
}

/// A logarithmic axis of milliseconds, with ticks at 1, 2, 5 of each decade, that holds both values.
fn decades(least: f64, most: f64) -> Axis {
    let ticks: Vec<f64> =
        (-2..5).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power))).collect();
    let from = ticks.iter().rposition(|tick| *tick <= least).unwrap_or(0);
    let to = ticks.iter().position(|tick| *tick >= most).unwrap_or(ticks.len() - 1);
    let label = |tick: &f64| (tick.log10(), format!("{} ms", (tick * 100.0).round() / 100.0));
    Axis { ticks: ticks[from..=to.max(from)].iter().map(label).collect() }
}

/// The place of a percentile on an axis where each nine takes the same room.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

/// The share of the backlog that is visible over time, of the median run of each system.
pub(crate) fn catch_up(samples: &Samples) -> Option<String> {
    let lines: Vec<Line> = kinds()
        .filter_map(|kind| {
            let mut runs: Vec<_> = samples.curves.get(&kind)?.iter().collect();
            runs.sort_by(|a, b| end_of(a).total_cmp(&end_of(b)));
            let run = runs.get((runs.len() - 1) / 2)?;
            let points = run.iter().map(|(at, share)| (*at, share * 100.0)).collect();
            Some(Line { label: kind.label(), colour: colour(kind), points })
        })
        .collect();
    let last = lines.iter().map(|line| end_of(&line.points)).fold(0.0, f64::max);
    let step = canvas::round_step(last / 6.0);
    let ticks = (0..=20).map(|n| f64::from(n) * step).take_while(|at| *at <= last * 1.001);
    let x = Axis { ticks: ticks.map(|at| (at, format!("{} s", (at * 1000.0).round() / 1000.0))).collect() };
    let y = Axis {
        ticks: [0, 20, 40, 60, 80, 100].map(|share| (f64::from(share), format!("{share} %"))).to_vec(),
    };
    let titles = (
        "Catch-up over time",
        "share of 20,000 transactions that is visible in B; this system shows a backlog at once, as a whole",
    );
    let x_title =
        "seconds since publisher and processor were started (native: since the subscription was enabled)";
    (last > 0.0).then(|| lines::draw(titles, &lines, x_title, &x, &y))
}

fn end_of(curve: &[(f64, f64)]) -> f64 {
    curve.last().map_or(0.0, |(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let mut samples = Samples::default();
        for (kind, scale) in [(Kind::Ours, 1.5), (Kind::Native, 1.0)] {
            samples.add(kind, Quantity::CatchUpRate, 50_000.0 * scale);
            samples.add(kind, Quantity::CatchUpRate, 60_000.0 * scale);
            samples.latencies.insert(kind, (1..=1000).map(|n| f64::from(n) * 0.01 * scale).collect());
            samples.curves.insert(kind, vec![vec![(0.0, 0.0), (scale, 0.5), (2.0 * scale, 1.0)]]);
        }
        samples
    }

    /// Every tag is closed and every number is one: what a browser would show as an error.
    fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (inside, _) = tag.split_once('>').expect("a tag ends");
            if let Some(name) = inside.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "in {svg}");
            } else if !inside.ends_with('/') {
                open.push(inside.split_whitespace().next().unwrap());
            }
        }
        assert!(open.is_empty(), "never closed: {open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{svg}");
    }

    #[test]
    fn the_pictures_are_well_formed_and_name_the_systems() {
        let samples = samples();
        for svg in [throughput(&samples), latency(&samples), catch_up(&samples)] {
            let svg = svg.unwrap();
            assert_well_formed(&svg);
            assert!(svg.contains("this system") && svg.contains("native"), "{svg}");
        }
    }

    #[test]
    fn without_samples_there_is_no_picture() {
        let samples = Samples::default();
        assert!(
            throughput(&samples).is_none() && latency(&samples).is_none() && catch_up(&samples).is_none()
        );
    }

    #[test]
    fn a_logarithmic_axis_holds_what_it_shows() {
        let axis = decades(0.27, 93.0);
        let labels: Vec<_> = axis.ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["0.2 ms", "0.5 ms", "1 ms", "2 ms", "5 ms", "10 ms", "20 ms", "50 ms", "100 ms"]);
    }

    #[test]
    fn each_nine_takes_the_same_room() {
        assert!((nines(99.0) - nines(90.0) - (nines(99.9) - nines(99.0))).abs() < 1e-9);
    }
}
