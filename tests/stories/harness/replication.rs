//! One replication of its own for each test: two databases, a stream, and the services as processes.

use super::databases::{
    Door, as_role, create_database, create_encoded_database, create_owned_database, create_source,
    create_target, make_source, make_target,
};
use super::servers::Servers;
use super::{PrivateServer, Service, count, wait_for};
use postgres::{Client, NoTls};
use shared::schema::{DEMO_ATTACH, DEMO_TABLES, Side, migrate};

/// A row where `replication.outbox` has one that is not confirmed. The view reads all of the outbox, which is long where
/// the source is under load.
const UNCONFIRMED: &str = "
    select from replication.progress p
    join replication.tick t on t.tick = p.confirmed_tick
    join replication.outbox_event e
      on e.txid >= pg_snapshot_xmin(t.snapshot) and not pg_visible_in_snapshot(e.txid, t.snapshot)
    limit 1";

/// A source, a target, and what is between them.
pub(crate) struct Replication {
    pub(super) servers: Servers,
    pub(super) name: String,
    pub(super) source_url: String,
    pub(super) target_url: String,
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

    /// Stops both services, as an operator does.
    pub(crate) fn stop_services(&mut self) {
        assert_eq!(self.publisher.stop().code(), Some(0));
        assert_eq!(self.processor.stop().code(), Some(0));
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
        let source_name = format!("{name}_source");
        let source_url = if source == Servers::from_env().source {
            create_source(&source_name)
        } else {
            let url = create_database(source, &source_name);
            make_source(&url);
            url
        };
        let target_name = format!("{name}_target");
        let target_url = if target == Servers::from_env().target {
            create_target(&target_name)
        } else {
            let url = create_database(target, &target_name);
            make_target(&url);
            url
        };
        Replication::between(name, source_url, target_url, settings)
    }

    /// The same, with services of the last landed version, which have made their schemas themselves; none where
    /// `test-replication.sh` could not build them.
    pub(crate) fn prepare_older(name: &str) -> Option<Replication> {
        let servers = Servers::from_env();
        let binaries = servers.older_binaries.as_ref()?;
        let source_url = create_database(&servers.source, &format!("{name}_source"));
        let target_url = create_database(&servers.target, &format!("{name}_target"));
        let mut replication = Replication::between(name, source_url, target_url, &[]);
        for service in [&mut replication.publisher, &mut replication.processor] {
            service.use_programs_in(binaries);
        }
        replication.migrate_source();
        replication.migrate_target();
        replication.source().batch_execute(DEMO_TABLES).unwrap();
        replication.source().batch_execute(DEMO_ATTACH).unwrap();
        replication.target().batch_execute(DEMO_TABLES).unwrap();
        Some(replication)
    }

    /// The same, with empty databases that belong to a role which may create roles, and nothing more. All that a test does
    /// with them it does as that role.
    pub(crate) fn prepare_managed(name: &str, administrator: &str) -> Replication {
        let servers = Servers::from_env();
        let create = |server: &str, side: &str| {
            let role = format!(
                "do $$begin create role {administrator} login createrole password 'password';
                 exception when duplicate_object then null; end$$"
            );
            Client::connect(server, NoTls).unwrap().batch_execute(&role).unwrap();
            create_owned_database(server, &format!("{name}_{side}"), administrator)
        };
        let (source, target) = (create(&servers.source, "source"), create(&servers.target, "target"));
        Replication::between(name, source, target, &[])
    }

    /// A superuser at the server of the target.
    pub(crate) fn target_superuser(&self) -> Client {
        Client::connect(&self.servers.target, NoTls).unwrap()
    }

    /// An instance of this service of the present version, not started yet.
    pub(crate) fn newer(&self, service: &Service) -> Service {
        let mut newer = service.twin();
        newer.use_programs_in(&self.servers.binaries);
        newer
    }

    /// The same, with databases of these encodings.
    pub(crate) fn prepare_encoded(name: &str, source: &str, target: &str) -> Replication {
        let servers = Servers::from_env();
        let source_url = create_encoded_database(&servers.source, &format!("{name}_source"), source);
        let target_url = create_encoded_database(&servers.target, &format!("{name}_target"), target);
        make_source(&source_url);
        make_target(&target_url);
        Replication::between(name, source_url, target_url, &[])
    }

    /// From the target of this one to a third database, without tables.
    pub(crate) fn prepare_behind(&self, name: &str) -> Replication {
        let target_url = create_database(&self.servers.target, &format!("{name}_target"));
        migrate(&mut self.target(), Side::Source).unwrap();
        Replication::between(name, self.target_url.clone(), target_url, &[])
    }

    /// From the target of this one back to its source.
    pub(crate) fn prepare_back(&self, name: &str) -> Replication {
        migrate(&mut self.target(), Side::Source).unwrap();
        Replication::between(name, self.target_url.clone(), self.source_url.clone(), &[])
    }

    fn between(name: &str, source_url: String, target_url: String, settings: &[(&str, &str)]) -> Replication {
        let servers = Servers::from_env();
        let service = |binary: &str, database: &str, nats: &str| {
            let settings = [
                ("DATABASE_URL", database),
                ("NATS_URL", nats),
                ("NATS_USER", binary),
                ("NATS_PASSWORD", &servers.nats_password),
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
        // On servers that were kept, a test that failed left its stream.
        replication.delete_stream();
        replication
    }

    /// Has the services log in as these roles, whose password is `password`.
    pub(crate) fn use_role(&mut self, publisher: &str, processor: &str) {
        self.publisher.set("DATABASE_URL", &as_role(&self.source_url, publisher));
        self.processor.set("DATABASE_URL", &as_role(&self.target_url, processor));
    }

    /// Brings the target's schema up to date, as its owner does with `inbox-processor migrate`.
    pub(crate) fn migrate_target(&self) {
        self.processor.migrate(&self.target_url);
    }

    /// Brings the source's schema up to date, as its owner does with `outbox-publisher migrate`.
    pub(crate) fn migrate_source(&self) {
        self.publisher.migrate(&self.source_url);
    }

    pub(crate) fn source_url(&self) -> &str {
        &self.source_url
    }

    pub(crate) fn target_url(&self) -> &str {
        &self.target_url
    }

    pub(crate) fn source(&self) -> Client {
        Client::connect(&self.source_url, NoTls).unwrap()
    }

    pub(crate) fn target(&self) -> Client {
        Client::connect(&self.target_url, NoTls).unwrap()
    }

    /// Where to find the source, for those who write while services and servers fail.
    pub(crate) fn source_door(&self) -> Door {
        Door(self.source_url.clone())
    }

    /// Where to find the target.
    pub(crate) fn target_door(&self) -> Door {
        Door(self.target_url.clone())
    }

    /// Subject and stream names begin with it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Ends a test in which no processor ran: there is no stream to delete.
    pub(crate) fn without_stream(mut self) {
        self.has_stream = false;
    }

    /// Programs of a PostgreSQL to which a test upgrades its own servers.
    pub(crate) fn upgraded_postgres(&self) -> &str {
        &self.servers.upgraded_postgres
    }

    /// Waits until everything that is committed in the source by now is committed in the target,
    /// and confirmed in the source.
    pub(crate) fn wait_until_caught_up(&self) {
        let mut source = self.source();
        let unconfirmed = source.prepare(UNCONFIRMED).unwrap();
        wait_for("nothing unconfirmed in the outbox", || {
            source.query(&unconfirmed, &[]).unwrap().is_empty().then_some(())
        });
        let unprocessed =
            count(&mut self.target(), "select count(*) from replication.inbox where not processed");
        assert_eq!(unprocessed, 0, "events are left unprocessed in the inbox");
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        self.generator.kill();
        self.publisher.kill();
        self.processor.kill();
        if std::thread::panicking() {
            self.publisher.show_end_of_log();
            self.processor.show_end_of_log();
        } else if self.has_stream {
            self.delete_stream();
        }
    }
}
