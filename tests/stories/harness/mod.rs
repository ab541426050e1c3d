//! One replication of its own for each test: two databases, a stream, and the services as processes.

mod any_table;
mod clock;
mod demo;
mod pooler;
mod proxy;
mod server;
mod service;

pub(crate) use any_table::{assert_same, attach, compare, make_in_both, start_with_tables};
pub(crate) use clock::Clock;
pub(crate) use demo::{Demo, assert_equal};
pub(crate) use pooler::start_pooler;
pub(crate) use proxy::Proxy;
pub(crate) use server::PrivateServer;
pub(crate) use service::Service;

use postgres::{Client, NoTls};
use shared::broker::{Broker, Connection};
use shared::config::Environment;
use shared::schema::{DEMO_ATTACH, DEMO_TABLES, Side, migrate};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// No wait of a test is longer. A bound on liveness, not a claim about speed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// Waits until `condition` gives a value; fails with `what` after [`DEADLINE`].
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "still waiting after {} s: {what}", DEADLINE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The number that a query gives.
pub(crate) fn count(client: &mut Client, query: &str) -> i64 {
    client.query_one(query, &[]).unwrap().get(0)
}

/// What `test-replication.sh` says about its servers.
struct Servers {
    source: String,
    target: String,
    nats_a: String,
    nats_b: String,
    user: String,
    password: String,
    binaries: PathBuf,
    logs: PathBuf,
}

impl Servers {
    fn from_env() -> Servers {
        let environment = Environment::read();
        let get = |name: &str| {
            environment
                .optional(name)
                .unwrap_or_else(|| panic!("{name} is not set: run these tests with ./test-replication.sh"))
                .to_owned()
        };
        let logs = PathBuf::from(get("TEST_RUN_DIR")).join("log/stories");
        std::fs::create_dir_all(&logs).unwrap();
        Servers {
            source: get("TEST_SOURCE_URL"),
            target: get("TEST_TARGET_URL"),
            nats_a: get("TEST_NATS_A"),
            nats_b: get("TEST_NATS_B"),
            user: get("TEST_NATS_USER"),
            password: get("TEST_NATS_PASSWORD"),
            binaries: PathBuf::from(get("TEST_BIN_DIR")),
            logs,
        }
    }
}

/// A database of its own at one of the two servers.
fn create_database(maintenance_url: &str, name: &str) -> String {
    let mut client = Client::connect(maintenance_url, NoTls).unwrap();
    client.batch_execute(&format!("drop database if exists {name} with (force)")).unwrap();
    client.batch_execute(&format!("create database {name}")).unwrap();
    beside(maintenance_url, name)
}

/// The URL of another database at the same server.
fn beside(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// The way to a database that may be away.
pub(crate) struct Door(String);

impl Door {
    /// A connection, if the database takes one.
    pub(crate) fn connect(&self) -> Option<Client> {
        Client::connect(&self.0, NoTls).ok()
    }
}

fn copy_database(maintenance_url: &str, url: &str, backup: &str) {
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

fn restore_database(maintenance_url: &str, url: &str, backup: &str) {
    let (_, name) = url.rsplit_once('/').unwrap();
    let mut client = Client::connect(maintenance_url, NoTls).unwrap();
    client.batch_execute(&format!("drop database {name} with (force)")).unwrap();
    client.batch_execute(&format!("alter database {backup} rename to {name}")).unwrap();
}

/// A source, a target, and what is between them.
pub(crate) struct Replication {
    servers: Servers,
    name: String,
    source_url: String,
    target_url: String,
    pub(crate) publisher: Service,
    pub(crate) processor: Service,
    /// Not started with the others.
    pub(crate) generator: Service,
    has_stream: bool,
}

impl Replication {
    /// Both databases with the demo's tables, attached; both services running and healthy.
    pub(crate) fn start(name: &str) -> Replication {
        Replication::start_with(name, &[])
    }

    /// The same, with settings for both services.
    pub(crate) fn start_with(name: &str, settings: &[(&str, &str)]) -> Replication {
        let mut replication = Replication::prepare(name, settings);
        replication.start_services();
        replication
    }

    /// The same, with the source at a server of the test's own.
    pub(crate) fn start_from(name: &str, source: &PrivateServer) -> Replication {
        let mut replication = Replication::prepare_from(name, source.url(), &[]);
        replication.start_services();
        replication
    }

    /// Both services, until they are healthy.
    pub(crate) fn start_services(&mut self) {
        self.processor.start();
        self.publisher.start();
        self.processor.wait_until_healthy();
        self.publisher.wait_until_healthy();
    }

    /// Both databases with the demo's tables, attached; no service running yet.
    pub(crate) fn prepare(name: &str, settings: &[(&str, &str)]) -> Replication {
        Replication::prepare_from(name, &Servers::from_env().source, settings)
    }

    /// The same, with the source at the server of this maintenance database.
    pub(crate) fn prepare_from(name: &str, source: &str, settings: &[(&str, &str)]) -> Replication {
        Replication::prepare_between(name, source, &Servers::from_env().target, settings)
    }

    /// The same, with the target at a server of the test's own.
    pub(crate) fn prepare_to(name: &str, target: &PrivateServer) -> Replication {
        Replication::prepare_between(name, &Servers::from_env().source, target.url(), &[])
    }

    /// The same, between the servers of these maintenance databases.
    pub(crate) fn prepare_between(
        name: &str,
        source: &str,
        target: &str,
        settings: &[(&str, &str)],
    ) -> Replication {
        let servers = Servers::from_env();
        let source_url = create_database(source, &format!("{name}_source"));
        let target_url = create_database(target, &format!("{name}_target"));
        let mut source = Client::connect(&source_url, NoTls).unwrap();
        migrate(&mut source, Side::Source).unwrap();
        source.batch_execute(DEMO_TABLES).unwrap();
        source.batch_execute(DEMO_ATTACH).unwrap();
        Client::connect(&target_url, NoTls).unwrap().batch_execute(DEMO_TABLES).unwrap();
        let service = |binary: &str, database: &str, nats: &str| {
            let settings = [
                ("DATABASE_URL", database),
                ("NATS_URL", nats),
                ("NATS_USER", &servers.user),
                ("NATS_PASSWORD", &servers.password),
                ("NATS_SUBJECT_PREFIX", name),
                ("NATS_STREAM", name),
            ];
            let own = [("NATS_STREAM_MAX_BYTES", "268435456"), ("RUST_LOG", "info")];
            Service::new(&servers.binaries, binary, &servers.logs.join(name))
                .with(settings.iter().chain(&own))
        };
        let generator = service("data-generator", &source_url, "").with(settings.iter());
        let publisher = service("outbox-publisher", &source_url, &servers.nats_a).with(settings.iter());
        let processor = service("inbox-processor", &target_url, &servers.nats_b).with(settings.iter());
        let replication = Replication {
            name: name.to_owned(),
            source_url,
            target_url,
            publisher,
            processor,
            generator,
            servers,
            has_stream: true,
        };
        // A test that failed on servers that were kept has left its own.
        replication.delete_stream();
        replication
    }

    /// Has the services log in as these roles, whose password is `password`.
    pub(crate) fn use_role(&mut self, publisher: &str, processor: &str) {
        let as_role = |url: &str, role: &str| {
            let (_, server) = url.rsplit_once('@').unwrap();
            format!("postgres://{role}:password@{server}")
        };
        self.publisher.set("DATABASE_URL", &as_role(&self.source_url, publisher));
        self.processor.set("DATABASE_URL", &as_role(&self.target_url, processor));
    }

    /// Brings the target's schema up to date, as its owner does with `inbox-processor migrate`.
    pub(crate) fn migrate_target(&self) {
        self.processor.migrate(&self.target_url);
    }

    pub(crate) fn source(&self) -> Client {
        Client::connect(&self.source_url, NoTls).unwrap()
    }

    pub(crate) fn target(&self) -> Client {
        Client::connect(&self.target_url, NoTls).unwrap()
    }

    /// The way to the source, for those who write while the services are being hurt.
    pub(crate) fn source_door(&self) -> Door {
        Door(self.source_url.clone())
    }

    /// The way to the target.
    pub(crate) fn target_door(&self) -> Door {
        Door(self.target_url.clone())
    }

    /// A backup of the source (whose services must be stopped), as a database of this name.
    pub(crate) fn copy_source(&self, backup: &str) {
        copy_database(&self.servers.source, &self.source_url, backup);
    }

    /// A backup of the target (whose services must be stopped), as a database of this name.
    pub(crate) fn copy_target(&self, backup: &str) {
        copy_database(&self.servers.target, &self.target_url, backup);
    }

    /// Restores the source from a backup.
    pub(crate) fn put_in_place_of_source(&self, backup: &str) {
        restore_database(&self.servers.source, &self.source_url, backup);
    }

    /// Restores the target from a backup.
    pub(crate) fn put_in_place_of_target(&self, backup: &str) {
        restore_database(&self.servers.target, &self.target_url, backup);
    }

    /// The source is at another server from now on; the publisher finds it there from its next start on.
    pub(crate) fn move_source(&mut self, server: &PrivateServer) {
        self.source_url = beside(server.url(), &format!("{}_source", self.name));
        self.publisher.set("DATABASE_URL", &self.source_url);
    }

    /// The target is another, empty database of this name; the processor finds it from its next start on.
    pub(crate) fn move_target(&mut self, name: &str) {
        self.target_url = create_database(&self.servers.target, name);
        self.target().batch_execute(DEMO_TABLES).unwrap();
        self.processor.set("DATABASE_URL", &self.target_url);
    }

    /// A processor of another database at the target's server, which shares the stream.
    pub(crate) fn stray_processor(&self, database: &str) -> Service {
        let mut stray = self.processor.twin();
        stray.set("DATABASE_URL", &beside(&self.servers.target, database));
        stray
    }

    /// The way to another database at the target's server.
    pub(crate) fn other_target_door(&self, database: &str) -> Door {
        Door(beside(&self.servers.target, database))
    }

    /// Subject and stream names begin with it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A connection to cluster B of the test's own.
    pub(crate) fn nats_b(&self) -> Connection {
        let variables = [
            ("NATS_URL", self.servers.nats_b.as_str()),
            ("NATS_USER", self.servers.user.as_str()),
            ("NATS_PASSWORD", self.servers.password.as_str()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut broker = Broker::from_env(&Environment::from_pairs(variables), "test").unwrap();
        wait_for("a server of cluster B takes connections", || broker.connect().ok())
    }

    /// How many messages cluster B has handed to the processor; none while nobody answers.
    pub(crate) fn delivered(&self, nats: &Connection) -> Option<u64> {
        let subject = format!("$JS.API.CONSUMER.LIST.{}", self.name);
        let answer = nats.request(&subject, Vec::new(), Duration::from_secs(1)).ok()?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.data).ok()?;
        answer["consumers"]
            .as_array()?
            .iter()
            .filter_map(|each| each["delivered"]["stream_seq"].as_u64())
            .max()
    }

    /// Deletes the stream with all that is in it.
    pub(crate) fn delete_stream(&self) {
        let subject = format!("$JS.API.STREAM.DELETE.{}", self.name);
        let nats = self.nats_b();
        // Only the leader of the zone answers where there is no such stream, and its answer to a connection
        // that is new to it may get lost.
        wait_for("the stream is deleted", || nats.request(&subject, Vec::new(), Duration::from_secs(1)).ok());
    }

    /// Deletes all that is in the stream.
    pub(crate) fn purge_stream(&self) {
        let subject = format!("$JS.API.STREAM.PURGE.{}", self.name);
        let nats = self.nats_b();
        wait_for("the stream is purged", || nats.request(&subject, Vec::new(), Duration::from_secs(1)).ok());
    }

    /// Says that no processor ever ran, and so no stream is there to be deleted at the end.
    pub(crate) fn without_stream(mut self) {
        self.has_stream = false;
    }

    /// Waits until everything that is committed in the source by now is committed in the target,
    /// and the source knows.
    pub(crate) fn wait_until_caught_up(&self) {
        let mut source = self.source();
        wait_for("nothing unconfirmed in the outbox", || {
            let row = source.query_one("select count(*) from outbox where confirmed = false", &[]).unwrap();
            (row.get::<_, i64>(0) == 0).then_some(())
        });
        let mut target = self.target();
        let row = target.query_one("select count(*) from inbox where not processed", &[]).unwrap();
        assert_eq!(row.get::<_, i64>(0), 0, "events are left unprocessed in the inbox");
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        self.generator.kill();
        self.publisher.kill();
        self.processor.kill();
        if self.has_stream && !std::thread::panicking() {
            self.delete_stream();
        }
    }
}
