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

/// Runs a service. Its only argument may be `health`, which asks about the running one, or `migrate`, which
/// brings its side of the schema up to date and exits; without an argument it runs.
///
/// `start` reads the configuration and spawns the threads. The process exits with 0 after a signal, 1 when a
/// thread failed, 2 when it could not start, 101 when a thread panicked.
pub fn run_service(
    service: &'static str,
    side: Side,
    start: impl FnOnce(&Environment, &mut Supervisor) -> Result<()>,
) -> ExitCode {
    let environment = Environment::read();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run(environment, service, start),
        ["health"] => report_health(&environment),
        ["migrate"] => run_migration(environment, service, side),
        _ => {
            eprintln!(
                "usage: {service} [health|migrate]\nSettings come from the environment; .env.example lists them all."
            );
            ExitCode::from(2)
        }
    }
}

fn run(
    environment: Environment,
    service: &str,
    start: impl FnOnce(&Environment, &mut Supervisor) -> Result<()>,
) -> ExitCode {
    if let Err(error) = crate::logging::start(&environment) {
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
            log::error!("{service} cannot start: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run_migration(environment: Environment, service: &str, side: Side) -> ExitCode {
    let environment = crate::logging::start(&environment).and_then(|()| environment.with_secrets());
    let database =
        environment.and_then(|environment| Database::from_env(&environment, service, MIGRATION_TIMEOUT, 1));
    let migrated = database.and_then(|database| {
        upgrade(&mut database.session()?, side)?;
        Ok(database)
    });
    match migrated {
        Ok(database) => {
            log::info!("the schema \"replication\" in {} is up to date", database.address());
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
