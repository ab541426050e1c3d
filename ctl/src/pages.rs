//! About the program itself: completions, the manual page, the version.

use crate::cli::Cli;
use crate::level::Level;
use crate::output::{self, Output};
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use serde::Serialize;

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

pub(crate) fn completion(shell: Shell) -> Result<Level> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "replicationctl", &mut script);
    output::print(&String::from_utf8(script).context("write the completions")?);
    Ok(Level::Good)
}

/// One page, with every command on it.
pub(crate) fn manual() -> Result<Level> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let manual = clap_mangen::Man::new(command.clone());
    manual.render(&mut page).context("write the manual page")?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let manual = clap_mangen::Man::new(subcommand.clone());
        manual.render_synopsis_section(&mut page).context("write the manual page")?;
        manual.render_description_section(&mut page).context("write the manual page")?;
        manual.render_options_section(&mut page).context("write the manual page")?;
    }
    output::print(&String::from_utf8(page).context("write the manual page")?);
    Ok(Level::Good)
}

pub(crate) fn version(output: &Output) -> Result<Level> {
    let version = Version { version: env!("CARGO_PKG_VERSION") };
    output.show(&version, || format!("replicationctl {}\n", version.version))?;
    Ok(Level::Good)
}
