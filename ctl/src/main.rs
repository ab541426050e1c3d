//! replicationctl: how the replication stands, and what an operator does about it.
//!
//! SQL functions and views do the work (`schema/`), so that psql is a full alternative; this asks for them on one side or
//! both, judges what they say, and prints it. Results go to standard output, all else to standard error.

mod attach;
mod bundle;
mod cli;
mod confirm;
mod demo;
mod doctor;
mod hold;
mod level;
mod output;
mod pages;
mod pause;
mod quarantine;
mod schema_diff;
mod side;
mod sides;
mod status;
mod tables;
mod trace;
mod wait;

use anyhow::{Context, Result};
use clap::Parser;
use clap::error::ErrorKind;
use cli::{Cli, Command, SchemaCommand};
use level::Level;
use output::Output;
use shared::printable::printable;
use sides::Sides;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The exit status after Ctrl-C.
const INTERRUPTED: i32 = 130;
/// Longer errors are cut.
const ERROR_MAX: usize = 8000;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match run(&cli) {
        Ok(level) => level.exit_code(),
        Err(error) => {
            output::tell(&format!("error: {}", printable(&side::words(&error), ERROR_MAX)));
            Level::Unknown.exit_code()
        }
    }
}

/// Prints the help that was asked for, or what is wrong with the arguments.
fn refuse(error: &clap::Error) -> ExitCode {
    // Where it cannot be printed, the exit status still says it.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Level::Good.exit_code(),
        _ => Level::Unknown.exit_code(),
    }
}

fn run(cli: &Cli) -> Result<Level> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, INTERRUPTED, always)
        .context("prepare for Ctrl-C")?;
    let output = Output::new(cli.json);
    match &cli.command {
        Command::Completion { shell } => return pages::completion(*shell),
        Command::Man => return pages::manual(),
        Command::Version => return pages::version(&output),
        _ => {}
    }
    let sides = Sides::from_env(cli.command.longest_statement())?;
    match &cli.command {
        Command::Status(options) => status::run(&sides, &output, options),
        Command::Tables { all } => tables::run(&sides, &output, *all),
        Command::Attach(options) => attach::attach(&sides, &output, options),
        Command::Detach(options) => attach::detach(&sides, &output, options),
        Command::Accept(options) => attach::accept(&sides, &output, options),
        Command::Hold { command } => hold::run(&sides, &output, command),
        Command::Quarantine { command } => quarantine::run(&sides, &output, command),
        Command::Wait(options) => wait::run(&sides, &output, options),
        Command::Doctor => doctor::run(&sides, &output),
        Command::Schema { command: SchemaCommand::Diff } => schema_diff::run(&sides, &output),
        Command::Trace { txid } => trace::run(&sides, &output, *txid),
        Command::SupportBundle => bundle::run(&sides, &output),
        Command::Pause(options) => pause::pause(&sides, &output, options),
        Command::Resume(options) => pause::resume(&sides, &output, options),
        Command::Completion { .. } | Command::Man | Command::Version => Ok(Level::Good),
    }
}
