//! bench-driver: measures this system and PostgreSQL's own logical replication in turn, on the servers
//! that `bench-replication.sh` has started, and writes the report.
//!
//! ```text
//! systems (ours, native…) × repetitions × measures (latency, catch-up, steady) ──► samples ──► report
//! ```
//!
//! It measures from outside: it commits in A through pgbench or a session, and polls B through another
//! session. The services do not know that they are measured.

// Counts become rates and milliseconds for people.
#![allow(clippy::cast_precision_loss)]

mod equality;
mod growth;
mod kind;
mod load;
mod machine;
mod measure;
mod native;
mod options;
mod ours;
mod picture;
mod place;
mod plan;
mod probes;
mod processes;
mod report;
mod samples;
mod service;
mod statistics;
mod system;

use anyhow::Result;
use options::Options;
use place::Place;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = Options::from_arguments(std::env::args_os().skip(1))?;
    let place = Place::from_env()?;
    if options.growth {
        return growth::run(&place, &options);
    }
    let samples = plan::run(&place, &options)?;
    report::write(&place, &options, &samples)?;
    samples.require_equality()
}
