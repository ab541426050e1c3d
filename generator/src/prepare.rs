//! Makes the demo's databases ready for its services, as an administrator: what an operator does by hand for databases of
//! his own (docs/adopting.md). Safe to run repeatedly, and with each new version.

use anyhow::{Context, Result, ensure};
use postgres::Client;
use postgres_protocol::password::scram_sha_256;
use shared::config::Environment;
use shared::database::Database;
use shared::schema::{DEMO_ATTACH, DEMO_SOURCE_RIGHTS, DEMO_TABLES, DEMO_TARGET_RIGHTS, Side, upgrade};
use std::time::Duration;

/// The longest statement: one that changes the schema may wait for writers.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);

/// The tables, attached, and the roles of outbox-publisher and data-generator. Capture begins here, so the tables are
/// replicated from their first row on.
pub(crate) fn source(environment: &Environment) -> Result<()> {
    let roles = ["replication_publisher", "data_generator"];
    let mut client = prepare(environment, Side::Source, &roles)?;
    client.batch_execute(DEMO_ATTACH).context("attach users and payments")?;
    client.batch_execute(DEMO_SOURCE_RIGHTS).context("grant the roles what they need")?;
    log::info!("the source is ready for the services of the demo");
    Ok(())
}

/// The tables, accepted, and the role of inbox-processor.
pub(crate) fn target(environment: &Environment) -> Result<()> {
    let mut client = prepare(environment, Side::Target, &["replication_processor"])?;
    client.batch_execute(DEMO_TARGET_RIGHTS).context("accept users and payments")?;
    log::info!("the target is ready for the services of the demo");
    Ok(())
}

fn prepare(environment: &Environment, side: Side, roles: &[&str]) -> Result<Client> {
    let password = environment.required("POSTGRES_SERVICES_PASSWORD", "password")?;
    let database = Database::from_env(environment, "data-generator", STATEMENT_TIMEOUT, 1)?;
    database.session()?.batch_execute(DEMO_TABLES).context("create users and payments")?;
    // In a session that knows that the tables' script asks for short names.
    let mut client = database.session()?;
    upgrade(&mut client, side)?;
    for role in roles {
        make_role(&mut client, role, password).with_context(|| format!("make the role {role}"))?;
    }
    Ok(client)
}

/// Makes the role, or gives it this password. The server, and so its log, gets to see the password's verifier only.
fn make_role(client: &mut Client, role: &str, password: &str) -> Result<()> {
    ensure!(password.is_ascii(), "POSTGRES_SERVICES_PASSWORD may have ASCII characters only");
    let verifier = scram_sha_256(password.as_bytes());
    let exists = client.query_opt("select from pg_roles where rolname = $1", &[&role])?.is_some();
    let verb = if exists { "alter" } else { "create" };
    client.batch_execute(&format!("{verb} role {role} login password '{verifier}'"))?;
    Ok(())
}
