//! The report: Markdown for people, JSON for programs, pictures.

mod markdown;
mod summary_json;

use crate::machine::Machine;
use crate::options::Options;
use crate::picture;
use crate::place::Place;
use crate::samples::Samples;
use anyhow::{Context, Result};
use std::path::Path;

/// Writes everything and prints the Markdown. Only a complete run replaces what the README shows.
pub(crate) fn write(place: &Place, options: &Options, samples: &Samples) -> Result<()> {
    let directory = if options.is_complete() { place.results.clone() } else { place.run_dir.join("results") };
    std::fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let machine = Machine::describe(place)?;
    let text = markdown::report(&machine, options, samples);
    write_file(&directory, "latest.md", &text)?;
    write_file(&directory, "latest.json", &summary_json::of(samples)?)?;
    for (name, drawn) in [
        ("throughput.svg", picture::throughput(samples)),
        ("latency.svg", picture::latency(samples)),
        ("catch-up.svg", picture::catch_up(samples)),
    ] {
        if let Some(drawn) = drawn {
            write_file(&directory, name, &drawn)?;
        }
    }
    println!("\n{text}\nWritten to {}", directory.display());
    Ok(())
}

fn write_file(directory: &Path, name: &str, text: &str) -> Result<()> {
    let file = directory.join(name);
    std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))
}
