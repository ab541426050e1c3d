//! Pausing and resuming, on record.

use crate::cli::{PauseOptions, ResumeOptions};
use crate::level::Level;
use crate::output::Output;
use crate::side::Side;
use crate::sides::Sides;
use crate::status::OpenPause;
use anyhow::Result;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How often is looked whether the service obeys.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Report {
    what: &'static str,
    paused: bool,
    /// From then on nothing more is applied, or read to be published; none while the service has not said so.
    obeyed_at: Option<String>,
}

pub(crate) fn pause(sides: &Sides, output: &Output, options: &PauseOptions) -> Result<Level> {
    let (side, what) = what(sides, options.publishing)?;
    side.execute("select replication.pause($1, $2)", &[&options.why, &what])?;
    let obeyed_at = wait_until_obeyed(side, what, Duration::from_secs(options.timeout))?;
    let report = Report { what, paused: true, obeyed_at };
    output.show(&report, || match &report.obeyed_at {
        Some(at) => format!("{what} is paused, and its service obeys since {at}\n"),
        None => format!(
            "{what} is paused on record, but its service has not taken notice within {} s: it does not run, or is of an \
             older version\n",
            options.timeout
        ),
    })?;
    Ok(if report.obeyed_at.is_some() { Level::Good } else { Level::Warning })
}

pub(crate) fn resume(sides: &Sides, output: &Output, options: &ResumeOptions) -> Result<Level> {
    let (side, what) = what(sides, options.publishing)?;
    side.execute("select replication.resume($1)", &[&what])?;
    let report = Report { what, paused: false, obeyed_at: None };
    output.show(&report, || format!("{what} resumes within a second\n"))?;
    Ok(Level::Good)
}

fn what(sides: &Sides, publishing: bool) -> Result<(&Side, &'static str)> {
    Ok(if publishing { (sides.source()?, "publishing") } else { (sides.target()?, "applying") })
}

fn wait_until_obeyed(side: &Side, what: &str, timeout: Duration) -> Result<Option<String>> {
    let begun = Instant::now();
    loop {
        let query = "select * from replication.paused where what = $1";
        let obeyed_at = side.rows::<OpenPause>(query, &[&what])?.pop().and_then(|paused| paused.obeyed_at);
        if obeyed_at.is_some() || begun.elapsed() >= timeout {
            return Ok(obeyed_at);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
