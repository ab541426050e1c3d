//! Databases that are backed up, restored, replaced, or followed by somebody else.

use super::databases::{Door, beside, copy_database, create_database, restore_database};
use super::{PrivateServer, Replication, Service};
use postgres::{Client, NoTls};
use shared::schema::DEMO_TABLES;
use std::process::Command;

impl Replication {
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

    /// Dumps the source (whose services must be stopped) and restores it under its name: everything has another
    /// oid then.
    pub(crate) fn dump_and_restore_source(&self) {
        let file = self.dump_source();
        let (_, name) = self.source_url.rsplit_once('/').unwrap();
        Client::connect(&self.servers.source, NoTls)
            .unwrap()
            .batch_execute(&format!("drop database {name} with (force)"))
            .unwrap();
        create_database(&self.servers.source, name);
        self.restore_source(&file);
    }

    /// Dumps the source (whose services must be stopped) and restores it at another server, where it is from now on;
    /// at that of the other stories if none is named.
    pub(crate) fn dump_source_into(&mut self, server: Option<&PrivateServer>) {
        let file = self.dump_source();
        let maintenance = server.map_or(&*self.servers.source, PrivateServer::url);
        // Roles are not in the dump.
        Client::connect(maintenance, NoTls)
            .unwrap()
            .batch_execute(
                "do $$begin create role replication_capture nologin; exception when duplicate_object then null; end$$",
            )
            .unwrap();
        self.source_url = create_database(maintenance, &format!("{}_source", self.name));
        self.publisher.set("DATABASE_URL", &self.source_url);
        self.restore_source(&file);
    }

    /// Begins another history of the source, which the target adopts; both services are stopped. Returns its name.
    pub(crate) fn start_over(&self) -> String {
        let name = self.source().query_one("select replication.start_over()", &[]).unwrap().get(0);
        self.target().execute("select replication.adopt_source($1)", &[&name]).unwrap();
        name
    }

    fn dump_source(&self) -> String {
        let file = format!("{}.dump", self.servers.logs.join(&self.name).display());
        run("pg_dump", &["--format=custom", "--file", &file, &self.source_url]);
        file
    }

    fn restore_source(&self, file: &str) {
        run("pg_restore", &["--exit-on-error", "--dbname", &self.source_url, file]);
        std::fs::remove_file(file).unwrap();
    }

    /// The source is at another server from now on.
    pub(crate) fn source_is_at(&mut self, server: &PrivateServer) {
        self.source_url = beside(server.url(), &format!("{}_source", self.name));
    }

    /// The same; the publisher finds it there from its next start on.
    pub(crate) fn move_source(&mut self, server: &PrivateServer) {
        self.source_is_at(server);
        self.publisher.set("DATABASE_URL", &self.source_url);
    }

    /// The source is another database of its server from now on; the publisher finds it from its next start on.
    pub(crate) fn source_is_database(&mut self, name: &str) {
        self.source_url = beside(&self.servers.source, name);
        self.publisher.set("DATABASE_URL", &self.source_url);
    }

    /// The target is another database of its server from now on; the processor finds it from its next start on.
    pub(crate) fn target_is_database(&mut self, name: &str) {
        self.target_url = beside(&self.servers.target, name);
        self.processor.set("DATABASE_URL", &self.target_url);
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

    /// Where to find another database at the target's server.
    pub(crate) fn other_target_door(&self, database: &str) -> Door {
        Door(beside(&self.servers.target, database))
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
