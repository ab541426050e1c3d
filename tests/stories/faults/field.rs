//! The servers of the suite: started through the scripts' layer of components, hurt by process id.

use crate::harness::{Proxy, wait_for};
use postgres::{Client, NoTls};
use shared::config::Environment;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

pub(super) const POSTGRES: [&str; 2] = ["postgres-a", "postgres-b"];
pub(super) static ZONE_A: [&str; 3] = ["nats-a-1", "nats-a-2", "nats-a-3"];
pub(super) static ZONE_B: [&str; 3] = ["nats-b-1", "nats-b-2", "nats-b-3"];
pub(super) static ALL_NODES: [&str; 6] =
    ["nats-a-1", "nats-a-2", "nats-a-3", "nats-b-1", "nats-b-2", "nats-b-3"];

/// All servers, shared by the tests of the suite, which run one after the other.
pub(super) struct Field {
    run_dir: PathBuf,
    /// Before the gateway of each node: where the other zone finds it.
    gateways: Vec<Proxy>,
}

impl Field {
    /// All servers, up.
    pub(super) fn get() -> &'static Field {
        static FIELD: OnceLock<Field> = OnceLock::new();
        let field = FIELD.get_or_init(|| {
            let environment = Environment::read();
            let get = |name: &str| {
                environment.optional(name).unwrap_or_else(|| panic!("{name} is not set")).to_owned()
            };
            let gateway =
                |node: &&str| Proxy::start(&format!("127.0.0.1:{}", get(&variable(node, "GATEWAY_PORT"))));
            Field {
                run_dir: PathBuf::from(get("RUN_DIR")),
                gateways: ALL_NODES.iter().map(gateway).collect(),
            }
        });
        field.start(&POSTGRES);
        field.start(&ALL_NODES);
        wait_until_up();
        field
    }

    pub(super) fn gateways(&self) -> &[Proxy] {
        &self.gateways
    }

    /// Starts those that do not run; does not wait until they are healthy.
    pub(super) fn start(&self, servers: &[&str]) {
        self.script("start", servers);
    }

    /// Deletes the data of servers that are killed.
    pub(super) fn wipe(&self, servers: &[&str]) {
        self.script("wipe", servers);
    }

    /// kill -9, all at once.
    pub(super) fn kill(&self, servers: &[&str]) {
        self.signal("KILL", servers);
        self.wait_until_gone(servers);
    }

    /// As an operator stops it.
    pub(super) fn stop(&self, servers: &[&str]) {
        for server in servers {
            self.signal(if server.starts_with("postgres") { "INT" } else { "TERM" }, &[server]);
        }
        self.wait_until_gone(servers);
    }

    pub(super) fn freeze(&self, servers: &[&str]) {
        self.signal("STOP", servers);
        self.signal_children("STOP", servers);
    }

    pub(super) fn thaw(&self, servers: &[&str]) {
        self.signal_children("CONT", servers);
        self.signal("CONT", servers);
    }

    fn script(&self, what: &str, servers: &[&str]) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-component.sh");
        let mut command = Command::new(script);
        for (node, proxy) in ALL_NODES.iter().zip(&self.gateways) {
            command.env(variable(node, "GATEWAY_PROXY"), proxy.port().to_string());
        }
        let output = command.arg(what).args(servers).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{what} {servers:?}: {said}");
    }

    fn pid(&self, server: &str) -> String {
        let pid = fs::read_to_string(self.run_dir.join(format!("{server}.pid"))).unwrap();
        pid.trim().to_owned()
    }

    fn signal(&self, signal: &str, servers: &[&str]) {
        let pids = servers.iter().map(|server| self.pid(server));
        let sent = Command::new("kill").args(["-s", signal]).args(pids).status().unwrap();
        assert!(sent.success(), "SIG{signal} to {servers:?}");
    }

    /// The sessions of PostgreSQL; NATS has no children, and then there is none to be found.
    fn signal_children(&self, signal: &str, servers: &[&str]) {
        for server in servers.iter().filter(|server| server.starts_with("postgres")) {
            let pid = self.pid(server);
            let sent = Command::new("pkill").args(["--signal", signal, "--parent", &pid]).status().unwrap();
            assert!(sent.success(), "SIG{signal} to the children of {server}");
        }
    }

    fn wait_until_gone(&self, servers: &[&str]) {
        for server in servers {
            let stat = format!("/proc/{}/stat", self.pid(server));
            wait_for("a killed server is gone", || match fs::read_to_string(&stat) {
                // A zombie is waiting to be collected by init, and runs no more.
                Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')).then_some(()),
                Err(_) => Some(()),
            });
        }
    }
}

fn variable(node: &str, what: &str) -> String {
    format!("{}_{what}", node.to_uppercase().replace('-', "_"))
}

fn wait_until_up() {
    let environment = Environment::read();
    let get = |name: &str| environment.optional(name).unwrap_or_else(|| panic!("{name} is not set"));
    for url in [get("TEST_SOURCE_URL"), get("TEST_TARGET_URL")] {
        wait_for("PostgreSQL is up", || Client::connect(url, NoTls).ok());
    }
    for url in get("TEST_NATS_A").split(',').chain(get("TEST_NATS_B").split(',')) {
        let address = url.trim_start_matches("nats://");
        wait_for("NATS is up", || TcpStream::connect(address).ok());
    }
}
