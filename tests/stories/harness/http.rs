//! What a service shows over HTTP, as a client of its own connection for each request sees it.

use super::Service;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A service answers within this time, or refuses.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Where a service shows itself.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    port: u16,
}

impl Service {
    /// Has it listen on a port that is free, from the next start on.
    pub(crate) fn show(&mut self) -> Shown {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.set("HTTP_ADDRESS", &format!("127.0.0.1:{port}"));
        Shown { port }
    }
}

impl Shown {
    /// Status and body.
    ///
    /// # Panics
    ///
    /// Where it does not answer.
    pub(crate) fn get(self, path: &str) -> (u16, String) {
        self.ask(&self.request(path)).unwrap_or_else(|error| panic!("no answer of {path}: {error}"))
    }

    /// What a well-behaved client sends.
    pub(crate) fn request(self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", self.port)
    }

    /// Status and body of what is answered to this request.
    pub(crate) fn ask(self, request: &str) -> std::io::Result<(u16, String)> {
        let mut stream = self.connect()?;
        stream.write_all(request.as_bytes())?;
        answer_of(&mut stream)
    }

    /// A connection that has sent nothing yet.
    pub(crate) fn connect(self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        Ok(stream)
    }
}

/// Status and body of what the service answers on this connection.
pub(crate) fn answer_of(stream: &mut TcpStream) -> std::io::Result<(u16, String)> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // It closes a connection that it refuses without reading what was sent.
        Err(error) if error.kind() != ErrorKind::ConnectionReset || answer.is_empty() => return Err(error),
        _ => {}
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no answer, but: {answer}")))?;
    Ok((status, body.to_owned()))
}
