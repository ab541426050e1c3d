//! How the replication stands, in the order in which operators ask.

mod equal;
mod judge;
mod needs;
mod overview;
mod text;
mod trend;
mod watch;

pub(crate) use overview::{OpenPause, Overview, SourceOverview, TargetOverview};

use crate::cli::StatusOptions;
use crate::level::Level;
use crate::output::Output;
use crate::sides::Sides;
use anyhow::Result;
use judge::{Judgement, judge};
use serde::Serialize;
use std::time::Duration;
use trend::Trend;

/// Behind by more than this, it is looked at once more, to tell a burst from a state.
const LAG_NORMAL_S: f64 = 1.0;
/// The pause before that.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// What is shown.
#[derive(Serialize)]
pub(crate) struct Status<'a> {
    schema_version: u32,
    #[serde(flatten)]
    judgement: &'a Judgement,
    trend: Option<Trend>,
    #[serde(flatten)]
    overview: &'a Overview,
}

/// Looks once, or again and again.
pub(crate) fn run(sides: &Sides, output: &Output, options: &StatusOptions) -> Result<Level> {
    if options.watch {
        return watch::run(sides, output, options);
    }
    let mut before = None;
    let mut now = Overview::read(sides);
    if now.lag_seconds().is_some_and(|lag| lag > LAG_NORMAL_S) {
        std::thread::sleep(SECOND_LOOK);
        before = Some(std::mem::replace(&mut now, Overview::read(sides)));
    }
    show(output, before.as_ref(), &now)
}

/// Prints what was found; `before` is what was found earlier.
fn show(output: &Output, before: Option<&Overview>, now: &Overview) -> Result<Level> {
    let trend = before.and_then(|before| Trend::between(before, now));
    let judgement = judge(now, trend);
    let status = Status { schema_version: 1, judgement: &judgement, trend, overview: now };
    output.show(&status, || text::of(output, &status))?;
    Ok(judgement.level)
}
