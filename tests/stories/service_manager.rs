//! What a service tells the service manager, as systemd's `Type=notify` and `WatchdogSec` expect it.

use crate::harness::{Replication, Service, add_user, wait_for};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// It lives, if it says so within this time; it does twice as often.
const WATCHDOG_USEC: &str = "400000";

/// The side of the service manager.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
    /// How many of these were waited for.
    passed: usize,
}

impl Manager {
    /// Listens at a name, which is a path or begins with an @, for what `service` tells from its next start on.
    fn of(service: &mut Service, name: &str) -> Manager {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        let socket = UnixDatagram::bind_addr(&address.unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        service.set("NOTIFY_SOCKET", name);
        service.set("WATCHDOG_USEC", WATCHDOG_USEC);
        Manager { socket, heard: Vec::new(), passed: 0 }
    }

    /// Waits until a line that begins so is heard, behind those that were waited for.
    fn wait_for(&mut self, beginning: &str) -> String {
        wait_for(&format!("the service manager hears {beginning}"), || {
            self.listen();
            let found = self.heard[self.passed..].iter().position(|line| line.starts_with(beginning))?;
            self.passed += found + 1;
            Some(self.heard[self.passed - 1].clone())
        })
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let message = std::str::from_utf8(&buffer[..length]).unwrap();
            self.heard.extend(message.lines().map(str::to_owned));
        }
    }
}

#[test]
fn the_service_manager_hears_that_a_service_is_ready_how_it_is_that_it_lives_and_that_it_stops() {
    let mut replication = Replication::prepare("notified", &[]);
    let path = std::env::temp_dir().join(format!("notified-{}", std::process::id()));
    let mut of_processor = Manager::of(&mut replication.processor, path.to_str().unwrap());
    let mut of_publisher =
        Manager::of(&mut replication.publisher, &format!("@notified-{}", std::process::id()));
    replication.processor.start();
    replication.publisher.start();
    for manager in [&mut of_processor, &mut of_publisher] {
        manager.wait_for("READY=1");
        manager.wait_for("STATUS=");
    }
    add_user(&mut replication.source(), "1@x");
    replication.wait_until_caught_up();
    let applied = of_processor.wait_for("STATUS=applied tick ");
    assert_ne!(applied, "STATUS=applied tick 0");
    of_publisher.wait_for("STATUS=published tick ");
    for manager in [&mut of_processor, &mut of_publisher] {
        manager.wait_for("WATCHDOG=1");
        manager.wait_for("WATCHDOG=1");
    }
    replication.stop_services();
    for mut manager in [of_processor, of_publisher] {
        manager.wait_for("STOPPING=1");
        manager.wait_for("STATUS=stopping");
        assert_eq!(manager.passed, manager.heard.len(), "nothing comes after the stop: {:?}", manager.heard);
        assert_eq!(manager.heard.iter().filter(|line| *line == "READY=1").count(), 1);
    }
    std::fs::remove_file(&path).unwrap();
}

/// A start that waited for the other zone would be taken for one that failed.
#[test]
fn a_service_is_ready_without_the_other_zone_and_as_a_standby() {
    let mut replication = Replication::prepare("notified_alone", &[]);
    let mut manager =
        Manager::of(&mut replication.publisher, &format!("@notified-alone-{}", std::process::id()));
    add_user(&mut replication.source(), "1@x");
    replication.publisher.start();
    manager.wait_for("STATUS=publishing: publish: no stream takes messages");
    manager.wait_for("READY=1");
    let mut standby = replication.publisher.twin();
    let mut manager = Manager::of(&mut standby, &format!("@notified-standby-{}", std::process::id()));
    standby.start();
    manager.wait_for("READY=1");
    manager.wait_for("STATUS=standing by");
    drop(standby);
    replication.without_stream();
}
