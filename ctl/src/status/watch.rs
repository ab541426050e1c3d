//! The status again and again: in place on a terminal, a line each elsewhere.

use super::judge::judge;
use super::trend::Trend;
use super::{Overview, Status, text};
use crate::cli::StatusOptions;
use crate::level::Level;
use crate::output::{Output, is_terminal, print};
use crate::sides::Sides;
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::time::Duration;

/// So many lags are drawn.
const SAMPLES_MAX: usize = 60;
/// The screen, cleared.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Until Ctrl-C, or for so many looks. The level is the last look's.
pub(super) fn run(sides: &Sides, output: &Output, options: &StatusOptions) -> Result<Level> {
    let mut before: Option<Overview> = None;
    let mut lags = VecDeque::new();
    let mut looks = 0;
    loop {
        let now = Overview::read(sides);
        let trend = before.as_ref().and_then(|before| Trend::between(before, &now));
        let judgement = judge(&now, trend);
        lags.push_back(judgement.lag_seconds);
        if lags.len() > SAMPLES_MAX {
            lags.pop_front();
        }
        let status = Status { schema_version: 1, judgement: &judgement, trend, overview: &now };
        if output.is_json() {
            print(&format!("{}\n", serde_json::to_string(&status).context("write JSON")?));
        } else if is_terminal() {
            print(&format!("{CLEAR}{}lag        {}\n", text::of(output, &status), sparkline(&lags)));
        } else {
            print(&format!("{}\n", text::in_one_line(&judgement, &now, trend)));
        }
        looks += 1;
        if options.count.is_some_and(|count| looks >= count) {
            return Ok(judgement.level);
        }
        before = Some(now);
        std::thread::sleep(Duration::from_secs(options.interval));
    }
}

/// The lags of the last looks, from 0 up to the greatest; a ? where it was not known.
fn sparkline(lags: &VecDeque<Option<f64>>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = lags.iter().flatten().copied().fold(1.0, f64::max);
    let bar = |lag: f64| BARS[(1..8).filter(|eighth| lag / most * 8.0 >= f64::from(*eighth)).count()];
    lags.iter().map(|lag| lag.map_or('?', bar)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_goes_from_nothing_to_the_greatest_lag() {
        let lags = VecDeque::from([Some(0.0), Some(5.0), Some(10.0), None]);
        assert_eq!(sparkline(&lags), "▁▅█?");
        // A second is the least that fills it.
        assert_eq!(sparkline(&VecDeque::from([Some(0.1)])), "▁");
    }
}
