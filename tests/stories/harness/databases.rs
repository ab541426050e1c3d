//! Databases of a test, and connections to them.

use super::servers::Servers;
use super::wait_for;
use postgres::{Client, NoTls};
use shared::schema::{DEMO_ATTACH, DEMO_TABLES, Side, migrate};
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use std::thread::{self, ThreadId};

/// The source that those of most stories are copies of.
const SOURCE_TEMPLATE: &str = "story_source";
const TARGET_TEMPLATE: &str = "story_target";

/// The number that a query gives.
pub(crate) fn count(client: &mut Client, query: &str) -> i64 {
    client.query_one(query, &[]).unwrap().get(0)
}

/// Has captures record no snapshot for the next events: what is written while no publisher runs is one tick.
pub(crate) fn record_no_snapshots(source: &mut Client) {
    source.batch_execute("select setval('replication.outbox_event_id_seq', 100)").unwrap();
}

/// The last tick that this target has applied; 0 for none.
pub(crate) fn applied_tick(target: &mut Client) -> i64 {
    let row = target.query_one("select coalesce(applied_tick, 0) from replication.position", &[]).unwrap();
    row.get(0)
}

/// A database of its own at one of the two servers.
pub(super) fn create_database(maintenance_url: &str, name: &str) -> String {
    make_database(maintenance_url, name, "")
}

/// Makes a database in place of one of an earlier run, with these options of `create database`.
///
/// # Panics
///
/// When another story has made one of this name: each would end what the other does.
fn make_database(maintenance_url: &str, name: &str, options: &str) -> String {
    static MADE: Mutex<BTreeMap<String, ThreadId>> = Mutex::new(BTreeMap::new());
    let url = beside(maintenance_url, name);
    let this_story = thread::current().id();
    let maker = *MADE.lock().unwrap().entry(url.clone()).or_insert(this_story);
    assert_eq!(maker, this_story, "another story has made a database {name}: give this one another name");
    let mut client = Client::connect(maintenance_url, NoTls).unwrap();
    client.batch_execute(&format!("drop database if exists {name} with (force)")).unwrap();
    client.batch_execute(&format!("create database {name} {options}")).unwrap();
    url
}

/// The same, that belongs to a role; its address is for that role.
pub(super) fn create_owned_database(maintenance_url: &str, name: &str, owner: &str) -> String {
    let url = create_database(maintenance_url, name);
    Client::connect(maintenance_url, NoTls)
        .unwrap()
        .batch_execute(&format!("alter database {name} owner to {owner}"))
        .unwrap();
    as_role(&url, owner)
}

/// The same address, for a role whose password is `password`.
pub(super) fn as_role(url: &str, role: &str) -> String {
    let (_, server) = url.rsplit_once('@').unwrap();
    format!("postgres://{role}:password@{server}")
}

/// The same, as a copy of a source with the demo's tables, attached: to make one takes most of what a short story
/// takes. Only at the server that all stories share.
pub(super) fn create_source(name: &str) -> String {
    static TEMPLATE: OnceLock<()> = OnceLock::new();
    copy_of(&TEMPLATE, SOURCE_TEMPLATE, make_source, &Servers::from_env().source, name)
}

/// The same of a target, whose schema is made.
pub(super) fn create_target(name: &str) -> String {
    static TEMPLATE: OnceLock<()> = OnceLock::new();
    copy_of(&TEMPLATE, TARGET_TEMPLATE, make_target, &Servers::from_env().target, name)
}

/// A copy of this template, which is made first where that was not done yet.
fn copy_of(made: &OnceLock<()>, template: &str, make: fn(&str), maintenance_url: &str, name: &str) -> String {
    made.get_or_init(|| make(&create_database(maintenance_url, template)));
    make_database(maintenance_url, name, &format!("template {template}"))
}

/// Makes a source with the demo's tables, attached, of an empty database.
pub(super) fn make_source(url: &str) {
    let mut source = Client::connect(url, NoTls).unwrap();
    migrate(&mut source, Side::Source).unwrap();
    source.batch_execute(DEMO_TABLES).unwrap();
    source.batch_execute(DEMO_ATTACH).unwrap();
}

/// The same of a target.
pub(super) fn make_target(url: &str) {
    Client::connect(url, NoTls).unwrap().batch_execute(DEMO_TABLES).unwrap();
    // With the database's setting that asks for short names.
    migrate(&mut Client::connect(url, NoTls).unwrap(), Side::Target).unwrap();
}

/// The same, with this encoding.
pub(super) fn create_encoded_database(maintenance_url: &str, name: &str, encoding: &str) -> String {
    make_database(maintenance_url, name, &format!("template template0 encoding '{encoding}' locale 'C'"))
}

/// A connection to a database without an encoding.
pub(crate) fn create_database_of_bytes(name: &str) -> Client {
    let url = create_encoded_database(&Servers::from_env().source, name, "SQL_ASCII");
    Client::connect(&url, NoTls).unwrap()
}

/// The URL of another database at the same server.
pub(crate) fn beside(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// Where to find a database that may be down.
pub(crate) struct Door(pub(super) String);

impl Door {
    /// A connection, if the database takes one.
    pub(crate) fn connect(&self) -> Option<Client> {
        Client::connect(&self.0, NoTls).ok()
    }
}

pub(super) fn copy_database(maintenance_url: &str, url: &str, backup: &str) {
    let (_, name) = url.rsplit_once('/').unwrap();
    let mut client = Client::connect(maintenance_url, NoTls).unwrap();
    client.batch_execute(&format!("drop database if exists {backup} with (force)")).unwrap();
    client
        .execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", &[&name])
        .unwrap();
    wait_for("nobody is connected to the database", || {
        client.batch_execute(&format!("create database {backup} template {name}")).ok()
    });
}

pub(super) fn restore_database(maintenance_url: &str, url: &str, backup: &str) {
    let (_, name) = url.rsplit_once('/').unwrap();
    let mut client = Client::connect(maintenance_url, NoTls).unwrap();
    client.batch_execute(&format!("drop database {name} with (force)")).unwrap();
    client.batch_execute(&format!("alter database {backup} rename to {name}")).unwrap();
}
