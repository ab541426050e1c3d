//! Whether a server speaks at all, before the crate dials it.
//!
//! The crate waits for a server's greeting without a deadline, in a thread and on a socket that nobody can
//! end. A server that accepts connections and says nothing would cost both with each attempt.
//!
//! Where the server asks for TLS, its handshake is made here as well: the server would note a connection that ends before as
//! an error.

use super::servers::host;
use anyhow::{Context, Result, anyhow, bail, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a server's URL has no port.
const DEFAULT_PORT: u16 = 4222;
/// Bytes of a greeting: it names the servers of the cluster.
const GREETING_MAX: u64 = 64 * 1024;

/// What is of interest here in a greeting, `INFO {…}`.
#[derive(Deserialize)]
struct Greeting {
    #[serde(default)]
    tls_required: bool,
}

/// Fails unless the server (`scheme://host:port`) greets within this time and, where it asks for TLS, can be spoken to with
/// `tls`. May block for as long as the resolver of the system does.
pub(super) fn await_greeting(
    server: &str,
    within: Duration,
    tls: impl Fn() -> Result<ClientConfig>,
) -> Result<()> {
    let deadline = Instant::now() + within;
    let mut last_error = anyhow!("the host has no address");
    for address in addresses(server)? {
        match greet(address, deadline) {
            Ok((stream, greeting)) if greeting.tls_required => {
                return shake_hands(stream, server, deadline, tls()?);
            }
            Ok(_) => return Ok(()),
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

/// The time until then, and never none, which sockets take for no limit.
fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn greet(address: SocketAddr, deadline: Instant) -> Result<(TcpStream, Greeting)> {
    let stream = TcpStream::connect_timeout(&address, left_until(deadline)).context("connect")?;
    stream.set_read_timeout(Some(left_until(deadline))).context("set a timeout")?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.try_clone().context("read")?).take(GREETING_MAX);
    reader
        .read_until(b'\n', &mut line)
        .map_err(|error| anyhow!(error).context("it accepted the connection and says nothing"))?;
    if line.is_empty() {
        bail!("it closed the connection without a word");
    }
    // Whatever else it says is for the crate to judge.
    let greeting = line.strip_prefix(b"INFO ").and_then(|json| serde_json::from_slice(json).ok());
    Ok((stream, greeting.unwrap_or(Greeting { tls_required: false })))
}

/// The handshake, and nothing behind it.
fn shake_hands(mut stream: TcpStream, server: &str, deadline: Instant, tls: ClientConfig) -> Result<()> {
    let name = host(server).trim_start_matches('[').trim_end_matches(']');
    let name =
        ServerName::try_from(name.to_owned()).with_context(|| format!("{name} is no name of a server"))?;
    let mut connection = ClientConnection::new(Arc::new(tls), name).context("begin TLS")?;
    stream.set_write_timeout(Some(left_until(deadline))).context("set a timeout")?;
    while connection.is_handshaking() {
        ensure!(Instant::now() < deadline, "its TLS handshake takes too long");
        stream.set_read_timeout(Some(left_until(deadline))).context("set a timeout")?;
        connection.complete_io(&mut stream).context("TLS with it failed")?;
    }
    connection.send_close_notify();
    // It has what it needs: how the connection ends is no matter any more, unless it ends before the server has read.
    let _ = connection.complete_io(&mut stream).and_then(|_| stream.flush());
    let _ = stream.shutdown(Shutdown::Write).and_then(|()| read_to_the_end(&mut stream, deadline));
    Ok(())
}

fn read_to_the_end(stream: &mut TcpStream, deadline: Instant) -> std::io::Result<()> {
    let mut rest = [0; 1024];
    loop {
        stream.set_read_timeout(Some(left_until(deadline)))?;
        if stream.read(&mut rest)? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    const WITHIN: Duration = Duration::from_millis(200);

    fn no_tls() -> Result<ClientConfig> {
        bail!("nobody asks for TLS here")
    }

    #[test]
    fn a_server_that_says_nothing_is_told_from_one_that_greets() {
        let (silent, greeting) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let url = |listener: &TcpListener| format!("nats://{}", listener.local_addr().unwrap());
        let error = await_greeting(&url(&silent), WITHIN, no_tls).unwrap_err();
        assert!(format!("{error:#}").contains("says nothing"), "{error:#}");
        std::thread::scope(|scope| {
            scope.spawn(|| greeting.accept().unwrap().0.write_all(b"INFO {}\r\n").unwrap());
            await_greeting(&url(&greeting), Duration::from_secs(60), no_tls).unwrap();
        });
    }

    #[test]
    fn a_host_is_named_without_its_port() {
        assert_eq!(host("tls://nats-a-1:4222"), "nats-a-1");
        assert_eq!(host("nats-a-1"), "nats-a-1");
        assert_eq!(host("nats://[::1]:17"), "[::1]");
    }

    #[test]
    fn a_server_without_a_port_has_the_usual_one() {
        assert_eq!(addresses("nats://127.0.0.1").unwrap(), ["127.0.0.1:4222".parse().unwrap()]);
        assert_eq!(addresses("tls://[::1]:17").unwrap(), ["[::1]:17".parse().unwrap()]);
        assert_eq!(addresses("nats://[::1]").unwrap(), ["[::1]:4222".parse().unwrap()]);
    }
}
