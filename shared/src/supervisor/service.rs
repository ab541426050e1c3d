//! The command line of a service.

use super::health::report_health;
use super::threads::Supervisor;
use crate::config::Environment;
use crate::database::Database;
use crate::schema::{Side, upgrade};
use anyhow::Result;
use std::process::ExitCode;
use std::time::Duration;

/// The longest statement of a migration.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);

/// Something else that a service does than run: the word that asks for it, and what does it.
pub type Command = (&'static str, fn(&Environment) -> Result<()>);

/// Runs a service. Its only argument may be `health`, which asks about the running one, or one of `commands`; without an
/// argument it runs.
///
/// `start` reads the configuration and spawns the threads. The process exits with 0 after a signal, 1 when a
/// thread failed, 2 when it could not start, 101 when a thread panicked.
pub fn run_service(
    service: &'static str,
    commands: &[Command],
    start: impl FnOnce(&Environment, &mut Supervisor) -> Result<()>,
) -> ExitCode {
    let environment = Environment::read();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run(environment, service, start),
        ["health"] => report_health(&environment),
        [word] => match commands.iter().find(|command| command.0 == word) {
            Some((_, command)) => run_command(environment, service, *command),
            None => refuse_arguments(service, commands),
        },
        _ => refuse_arguments(service, commands),
    }
}

fn refuse_arguments(service: &str, commands: &[Command]) -> ExitCode {
    let words: Vec<&str> =
        std::iter::once("health").chain(commands.iter().map(|command| command.0)).collect();
    let words = words.join("|");
    eprintln!("usage: {service} [{words}]\nSettings come from the environment; .env.example lists them all.");
    ExitCode::from(2)
}

fn run(
    environment: Environment,
    service: &'static str,
    start: impl FnOnce(&Environment, &mut Supervisor) -> Result<()>,
) -> ExitCode {
    if let Err(error) = crate::logging::start(&environment, service) {
        eprintln!("{service} cannot start: {error:#}");
        return ExitCode::from(2);
    }
    let started = environment.with_secrets().and_then(|environment| {
        let mut supervisor = Supervisor::new(&environment)?;
        start(&environment, &mut supervisor)?;
        Ok(supervisor)
    });
    match started {
        Ok(supervisor) => supervisor.run(service),
        Err(error) => {
            log::error!(error:% = format!("{error:#}"); "{service} cannot start");
            ExitCode::from(2)
        }
    }
}

fn run_command(
    environment: Environment,
    service: &'static str,
    command: fn(&Environment) -> Result<()>,
) -> ExitCode {
    let environment = crate::logging::start(&environment, service).and_then(|()| environment.with_secrets());
    match environment.and_then(|environment| command(&environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command `migrate` of a service: brings its side of the schema up to date.
pub fn run_migration(environment: &Environment, service: &str, side: Side) -> Result<()> {
    let database = Database::from_env(environment, service, MIGRATION_TIMEOUT, 1)?;
    upgrade(&mut database.session()?, side)?;
    log::info!("the schema \"replication\" in {} is up to date", database.address());
    Ok(())
}
