//! What the servers of a run are able to do.

use super::Replication;
use postgres::Client;
use shared::config::Environment;

/// The server's version, as in 150018.
pub(crate) fn server_version(client: &mut Client) -> i32 {
    let row = client.query_one("select current_setting('server_version_num')::int", &[]).unwrap();
    row.get(0)
}

/// Whether both servers have ICU. Where one lacks it, says what is left out; only servers that were chosen (fetched
/// ones are built without it) may lack it.
pub(crate) fn have_icu(replication: &Replication, what: &str) -> bool {
    let lacking = [("source", replication.source()), ("target", replication.target())]
        .into_iter()
        .find_map(|(side, mut client)| (!has_icu(&mut client)).then_some(side));
    let Some(side) = lacking else { return true };
    let environment = Environment::read();
    assert!(
        ["POSTGRES_A_BIN", "POSTGRES_B_BIN"].iter().any(|name| environment.optional(name).is_some()),
        "the {side}'s PostgreSQL has no ICU, and it is the machine's own: install the distribution's package"
    );
    println!("\nskipped: {what}: the {side}'s PostgreSQL is built without ICU");
    false
}

/// A server that knows ICU took over its collations when it was created; from PostgreSQL 16 on, one of them has a
/// row everywhere.
fn has_icu(client: &mut Client) -> bool {
    let row = client.query_one("select exists (select from pg_collation where collname = 'und-x-icu')", &[]);
    row.unwrap().get(0)
}
