//! What the service manager is told, as `sd_notify(3)` says: that the service is ready, how it is, that it lives, and that
//! it stops. Nothing where there is no `NOTIFY_SOCKET`.
//!
//! The crate `sd-notify` does not reach abstract sockets, which managers in containers use.

use super::health::HEALTH_INTERVAL;
use crate::config::Environment;
use crate::printable::printable;
use crate::retry::Complaint;
use anyhow::{Context, Result, bail};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// A service that is not healthy by then is as ready as it gets without help: it retries, and a restart would not help.
const READY_AFTER: Duration = Duration::from_secs(20);
/// The manager shows the status in one line.
const STATUS_MAX: usize = 500;

/// The line to the service manager.
pub(super) struct Notify {
    manager: Option<Manager>,
    begun: Instant,
    told: Told,
}

/// What the manager knows.
#[derive(Default)]
struct Told {
    is_ready: bool,
    status: String,
    alive_at: Option<Instant>,
}

struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// It wants to hear as often that the service lives.
    watchdog: Option<Duration>,
    complaint: Complaint,
}

impl Notify {
    /// Reads what the manager has put into the environment.
    pub(super) fn from_env(environment: &Environment) -> Result<Notify> {
        let manager = Manager::from_env(environment)?;
        Ok(Notify { manager, begun: Instant::now(), told: Told::default() })
    }

    /// How long the supervisor may wait before it calls [`Notify::turn`] again.
    pub(super) fn interval(&self) -> Duration {
        let watchdog = self.manager.as_ref().and_then(|manager| manager.watchdog);
        watchdog.map_or(HEALTH_INTERVAL, |interval| interval.min(HEALTH_INTERVAL))
    }

    /// Tells what has changed, and that the supervisor's loop turns. Does not block: what the manager does not take now is
    /// told at the next turn.
    ///
    /// The service is ready when it is healthy for the first time, which a standby is, and at the latest after
    /// [`READY_AFTER`]: what it lacks then may be in the other zone, and the status says what it is.
    pub(super) fn turn(&mut self, trouble: Option<&str>, status: impl FnOnce() -> String, now: Instant) {
        let Some(manager) = &mut self.manager else { return };
        let mut message = Vec::new();
        let is_ready = trouble.is_none() || now.duration_since(self.begun) >= READY_AFTER;
        if is_ready && !self.told.is_ready {
            message.push("READY=1".to_owned());
        }
        let status = trouble.map_or_else(status, str::to_owned);
        let status = printable(&status, STATUS_MAX);
        if status != self.told.status {
            message.push(format!("STATUS={status}"));
        }
        let is_due = |interval| self.told.alive_at.is_none_or(|at| now.duration_since(at) >= interval);
        if manager.watchdog.is_some_and(is_due) {
            message.push("WATCHDOG=1".to_owned());
        }
        if !message.is_empty() && manager.tell(&message) {
            self.told.is_ready |= is_ready;
            self.told.status = status;
            if message.last().is_some_and(|last| last == "WATCHDOG=1") {
                self.told.alive_at = Some(now);
            }
        }
    }

    /// Tells that the service stops.
    pub(super) fn stopping(&mut self) {
        if let Some(manager) = &mut self.manager {
            manager.tell(&["STOPPING=1".to_owned(), "STATUS=stopping".to_owned()]);
        }
    }
}

impl Manager {
    fn from_env(environment: &Environment) -> Result<Option<Manager>> {
        let Some(name) = environment.line("NOTIFY_SOCKET")? else { return Ok(None) };
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None if name.starts_with('/') => SocketAddr::from_pathname(name),
            None => bail!("NOTIFY_SOCKET={name} is not allowed: it takes an absolute path, or @ and a name"),
        };
        let address = address.with_context(|| format!("NOTIFY_SOCKET={name} cannot be used"))?;
        let socket = UnixDatagram::unbound().context("make a socket for the service manager")?;
        socket.set_nonblocking(true).context("make a socket for the service manager")?;
        let watchdog = watchdog(environment)?;
        Ok(Some(Manager { socket, address, watchdog, complaint: Complaint::default() }))
    }

    /// False where the manager does not take it now; a warning says so.
    fn tell(&mut self, message: &[String]) -> bool {
        let sent = self.socket.send_to_addr(message.join("\n").as_bytes(), &self.address);
        let Err(error) = sent else { return true };
        if let Some(error) = self.complaint.due(&error.to_string()) {
            log::warn!(error = error.as_str(), next = "retrying"; "the service manager cannot be told how this service is");
        }
        false
    }
}

/// Half of the time after which the manager takes this process for hung, if it watches this one.
fn watchdog(environment: &Environment) -> Result<Option<Duration>> {
    let watched = environment.line("WATCHDOG_PID")?;
    if watched.is_some_and(|pid| pid != std::process::id().to_string()) {
        return Ok(None);
    }
    let Some(time) = environment.line("WATCHDOG_USEC")? else { return Ok(None) };
    match time.parse() {
        Ok(microseconds @ 1..) => Ok(Some(Duration::from_micros(microseconds) / 2)),
        _ => bail!("WATCHDOG_USEC={time} is not allowed: it takes a whole number of microseconds from 1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager that listens at a name of its own, and a service that it watches for 2 s.
    struct Listening {
        socket: UnixDatagram,
        notify: Notify,
        begun: Instant,
    }

    impl Listening {
        fn begin(name: &str) -> Listening {
            let name = format!("notify-{name}-{}", std::process::id());
            let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
            socket.set_nonblocking(true).unwrap();
            let address = format!("@{name}");
            let pairs = [("NOTIFY_SOCKET", address.as_str()), ("WATCHDOG_USEC", "4000000")];
            let notify = Notify::from_env(&environment(&pairs)).unwrap();
            let begun = notify.begun;
            Listening { socket, notify, begun }
        }

        /// What is told in a turn so long after the start.
        fn turn(&mut self, after_ms: u64, trouble: Option<&str>) -> String {
            let now = self.begun + Duration::from_millis(after_ms);
            self.notify.turn(trouble, || "applied tick 7".to_owned(), now);
            self.heard()
        }

        fn heard(&self) -> String {
            let mut buffer = [0; 4096];
            let length = self.socket.recv(&mut buffer).unwrap_or(0);
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        }
    }

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_service_is_ready_once_it_is_healthy_and_says_what_changes() {
        let mut manager = Listening::begin("healthy");
        assert_eq!(manager.turn(0, Some("ticker:\nstarting")), "STATUS=ticker: starting\nWATCHDOG=1");
        assert_eq!(manager.turn(1000, Some("ticker:\nstarting")), "");
        assert_eq!(manager.turn(1500, None), "READY=1\nSTATUS=applied tick 7");
        assert_eq!(manager.turn(2000, None), "WATCHDOG=1");
        assert_eq!(manager.turn(3000, Some("ticker: no server")), "STATUS=ticker: no server");
        assert_eq!(manager.turn(4000, None), "STATUS=applied tick 7\nWATCHDOG=1");
        manager.notify.stopping();
        assert_eq!(manager.heard(), "STOPPING=1\nSTATUS=stopping");
    }

    #[test]
    fn a_service_that_lacks_something_is_ready_in_time() {
        let mut manager = Listening::begin("late");
        assert_eq!(manager.turn(19_999, Some("no server")), "STATUS=no server\nWATCHDOG=1");
        assert_eq!(manager.turn(20_000, Some("no server")), "READY=1");
    }

    #[test]
    fn what_the_manager_did_not_take_is_told_again() {
        let mut manager = Listening::begin("full");
        let filled = UnixDatagram::unbound().unwrap();
        filled.set_nonblocking(true).unwrap();
        let address = manager.socket.local_addr().unwrap();
        while filled.send_to_addr(b"X", &address).is_ok() {}
        manager.turn(0, None);
        while !manager.heard().is_empty() {}
        assert_eq!(manager.turn(1, None), "READY=1\nSTATUS=applied tick 7\nWATCHDOG=1");
    }

    #[test]
    fn only_what_can_be_used_is_taken() {
        let refused =
            |pairs: &[(&str, &str)]| Notify::from_env(&environment(pairs)).err().unwrap().to_string();
        let socket = ("NOTIFY_SOCKET", "/nowhere/notify");
        assert!(refused(&[("NOTIFY_SOCKET", "vsock:2:1")]).ends_with("an absolute path, or @ and a name"));
        assert_eq!(
            refused(&[socket, ("WATCHDOG_USEC", "0")]),
            "WATCHDOG_USEC=0 is not allowed: it takes a whole number of microseconds from 1"
        );
        let of_another = [socket, ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
        assert_eq!(Notify::from_env(&environment(&of_another)).unwrap().interval(), HEALTH_INTERVAL);
    }
}
