//! Whether a server speaks at all, before the crate dials it.
//!
//! The crate waits for a server's greeting without a deadline, in a thread and on a socket that nobody can
//! end. A server that accepts connections and says nothing would cost both with each attempt.

use anyhow::{Context, Result, anyhow};
use std::io::Read;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Where a server's URL has no port.
const DEFAULT_PORT: u16 = 4222;

/// Fails unless the server (`scheme://host:port`) greets within this time. May block for as long as the
/// resolver of the system does.
pub(super) fn await_greeting(server: &str, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    let mut last_error = anyhow!("the host has no address");
    for address in addresses(server)? {
        match greet(address, deadline) {
            Ok(()) => return Ok(()),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn addresses(server: &str) -> Result<Vec<SocketAddr>> {
    let host = server.rsplit("://").next().unwrap_or(server);
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") };
    Ok(address.to_socket_addrs().with_context(|| format!("look up the host {host}"))?.collect())
}

fn greet(address: SocketAddr, deadline: Instant) -> Result<()> {
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&address, left()).context("connect")?;
    stream.set_read_timeout(Some(left())).context("set a timeout")?;
    match stream.read(&mut [0]) {
        Ok(0) => Err(anyhow!("it closed the connection without a word")),
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow!(error).context("it accepted the connection and says nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    const WITHIN: Duration = Duration::from_millis(200);

    #[test]
    fn a_server_that_says_nothing_is_told_from_one_that_greets() {
        let (silent, greeting) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let url = |listener: &TcpListener| format!("nats://{}", listener.local_addr().unwrap());
        let error = await_greeting(&url(&silent), WITHIN).unwrap_err();
        assert!(format!("{error:#}").contains("says nothing"), "{error:#}");
        std::thread::scope(|scope| {
            scope.spawn(|| greeting.accept().unwrap().0.write_all(b"INFO {}\r\n").unwrap());
            await_greeting(&url(&greeting), Duration::from_secs(60)).unwrap();
        });
    }

    #[test]
    fn a_server_without_a_port_has_the_usual_one() {
        assert_eq!(addresses("nats://127.0.0.1").unwrap(), ["127.0.0.1:4222".parse().unwrap()]);
        assert_eq!(addresses("tls://[::1]:17").unwrap(), ["[::1]:17".parse().unwrap()]);
        assert_eq!(addresses("nats://[::1]").unwrap(), ["[::1]:4222".parse().unwrap()]);
    }
}
