//! data-generator: writes believable users and payments to the source of the demo, one round every
//! `GENERATION_INTERVAL`.
//!
//! A planner thread decides what happens in a round; two writers execute the plans, one transaction each.
//! The tables are the only state: after a restart it simply continues. Before that, `data-generator prepare-source` and
//! `prepare-target` make the demo's databases ready, as an administrator.

mod chance;
mod people;
mod plan;
mod planner;
mod prepare;
mod purchases;
mod writer;

use anyhow::Result;
use crossbeam_channel::bounded;
use shared::config::Environment;
use shared::database::Database;
use shared::supervisor::{Command, Supervisor, Surface, run_service};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const SERVICE: &str = "data-generator";
/// Where its probes and metrics are, unless `HTTP_ADDRESS` says otherwise.
const HTTP_ADDRESS: &str = "127.0.0.1:9103";
/// Writers, which work in parallel.
const WRITERS: u32 = 2;
/// Planned transactions that may wait for a writer; a slow database slows the planner down.
const PLANS_WAITING: usize = 8;
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
const COMMANDS: [Command; 2] = [("prepare-source", prepare::source), ("prepare-target", prepare::target)];

fn main() -> ExitCode {
    run_service(SERVICE, &COMMANDS, start)
}

fn start(environment: &Environment, supervisor: &mut Supervisor) -> Result<()> {
    let interval = environment.seconds("GENERATION_INTERVAL", 2.0, 0.01..=3600.0)?;
    let database = Database::from_env(environment, "data-generator", STATEMENT_TIMEOUT, WRITERS + 1)?;
    log::info!("database {}, GENERATION_INTERVAL {} s", database.address(), interval.as_secs_f64());

    supervisor.show(environment, HTTP_ADDRESS, Surface::new(environment, SERVICE, false)?)?;

    let (planned, to_write) = bounded(PLANS_WAITING);
    let written = Arc::new(writer::Written::default());

    let planner = planner::Planner::new(database.clone(), interval, planned, written.clone());
    supervisor.spawn("planner", move |context| planner.run(context))?;
    for number in 1..=WRITERS {
        let (database, to_write, written) = (database.clone(), to_write.clone(), written.clone());
        supervisor.spawn(&format!("writer-{number}"), move |context| {
            writer::run(context, &database, &to_write, &written)
        })?;
    }
    Ok(())
}
