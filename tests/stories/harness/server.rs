//! A PostgreSQL server of a test's own, by scripts/test-postgres.sh.

use super::servers::Servers;
use super::{Clock, count, wait_for};
use postgres::{Client, NoTls};
use std::path::PathBuf;
use std::process::Command;

pub(crate) struct PrivateServer {
    name: String,
    port: u16,
    url: String,
    /// Environment of its process.
    environment: Vec<(&'static str, String)>,
}

impl PrivateServer {
    /// A new server with these settings (`name=value`). `number` tells the servers of a run apart.
    pub(crate) fn create(name: &str, number: u16, settings: &[&str]) -> PrivateServer {
        let server = PrivateServer::named(name, number);
        server.run("create", settings);
        server
    }

    /// The same, with a disk of its own of so many megabytes.
    pub(crate) fn create_on_small_disk(name: &str, number: u16, megabytes: u16) -> PrivateServer {
        let server = PrivateServer::named(name, number);
        server.run("disk", &[&megabytes.to_string()]);
        server.run("create", &["max_connections=40", "min_wal_size=32MB", "max_wal_size=64MB"]);
        server
    }

    /// The same, by a clock that the test sets.
    pub(crate) fn create_with_clock(name: &str, number: u16, clock: &Clock) -> PrivateServer {
        let mut server = PrivateServer::named(name, number);
        server.environment = clock.environment();
        server.run("create", &["max_connections=40"]);
        server
    }

    /// Takes all the room that its disk has left.
    pub(crate) fn fill_disk(&self) {
        self.run("fill", &[]);
    }

    /// Gives that back.
    pub(crate) fn free_disk(&self) {
        self.run("free", &[]);
    }

    /// Stops it, and starts it as a server of another version, whose programs are in `bin`, with these settings.
    pub(crate) fn upgrade(&mut self, bin: &str, settings: &[&str]) {
        let arguments: Vec<_> = std::iter::once(&bin).chain(settings).copied().collect();
        self.run("upgrade", &arguments);
        self.environment.push(("POSTGRES_A_BIN", bin.to_owned()));
    }

    /// The address of its maintenance database.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A new server that follows this one.
    pub(crate) fn standby(&self, name: &str, number: u16) -> PrivateServer {
        let standby = PrivateServer::named(name, number);
        standby.run("standby", &[&self.port.to_string()]);
        standby
    }

    /// Ends its following for good, and leaves it a standby: it gets nothing of what comes after.
    pub(crate) fn stop_following(&self) {
        let mut client = Client::connect(&self.url, NoTls).unwrap();
        client.batch_execute("alter system set primary_conninfo = ''").unwrap();
        client.batch_execute("select pg_reload_conf()").unwrap();
        wait_for(&format!("{} follows nobody", self.name), || {
            (count(&mut client, "select count(*) from pg_stat_wal_receiver") == 0).then_some(())
        });
    }

    /// Ends its following: it takes writes from then on, on another timeline.
    pub(crate) fn promote(&self) {
        let mut client = Client::connect(&self.url, NoTls).unwrap();
        let promoted: bool = client.query_one("select pg_promote()", &[]).unwrap().get(0);
        assert!(promoted, "{} was not promoted in time", self.name);
    }

    /// Writes a file of these lines into its data directory, which nobody else can read.
    pub(crate) fn write_file(&self, name: &str, text: &str) {
        let mut client = Client::connect(&self.url, NoTls).unwrap();
        let lines: Vec<_> = text.lines().map(|line| format!("('{line}')")).collect();
        let program = format!("umask 077 && cat > {name}");
        client.batch_execute(&format!("copy (values {}) to program '{program}'", lines.join(","))).unwrap();
    }

    /// Changes settings that take effect without a restart, and has it read all of its files again.
    pub(crate) fn reload(&self, settings: &[(&str, &str)]) {
        let mut client = Client::connect(&self.url, NoTls).unwrap();
        for (name, value) in settings {
            client.batch_execute(&format!("alter system set {name} = '{value}'")).unwrap();
        }
        let loaded = "select (extract(epoch from pg_conf_load_time()) * 1000000)::bigint";
        let before = count(&mut client, loaded);
        client.batch_execute("select pg_reload_conf()").unwrap();
        // The server itself is told first, and then its sessions.
        wait_for("the settings are read again", || (count(&mut client, loaded) > before).then_some(()));
    }

    /// Starts it again, unless it is up.
    pub(crate) fn start(&self) {
        self.run("start", &[]);
    }

    /// kill -9 of the whole server.
    pub(crate) fn kill(&self) {
        self.run("kill", &[]);
    }

    fn named(name: &str, number: u16) -> PrivateServer {
        let source = Servers::from_env().source;
        let (server, _) = source.rsplit_once('/').unwrap();
        let (before, port) = server.rsplit_once(':').unwrap();
        // Between the ports of the two servers' families.
        let port = port.parse::<u16>().unwrap() + 40 + number;
        PrivateServer {
            name: name.to_owned(),
            port,
            url: format!("{before}:{port}/postgres"),
            environment: Vec::new(),
        }
    }

    fn run(&self, what: &str, arguments: &[&str]) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-postgres.sh");
        let output = Command::new(script)
            .args([what, &self.name, &self.port.to_string()])
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        assert!(output.status.success(), "{what} {}: {}", self.name, String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.environment.clear();
        self.run("remove", &[]);
    }
}
