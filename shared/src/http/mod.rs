//! What a service shows over HTTP: a handful of fixed paths, to read only.
//!
//! One thread accepts, a few answer, each connection once. Heads are bounded in size and time, connections in number;
//! nothing of a request comes back in an answer. What it does not do: TLS, logins, bodies, keep-alive. Let it listen on
//! loopback, or behind a proxy that does.

mod request;

use crate::supervisor::{Supervisor, ThreadContext};
use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use request::{Request, is_expected, read_head};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Threads that answer.
const ANSWERING: usize = 4;
/// Connections that wait for one of them. Beyond that a client is told to come back.
const WAITING: usize = 4;
/// How often the accepting thread looks whether a stop is requested.
const ACCEPT_DEADLINE: Duration = Duration::from_millis(250);
/// A client takes an answer within this time.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);

/// What a path answers.
pub struct Answer {
    status: u16,
    content_type: &'static str,
    /// Beyond those that each answer has.
    headers: &'static [(&'static str, &'static str)],
    body: Cow<'static, str>,
}

impl Answer {
    /// 200, with a body of this type.
    pub fn ok(content_type: &'static str, body: impl Into<Cow<'static, str>>) -> Answer {
        Answer { status: 200, content_type, headers: &[], body: body.into() }
    }

    /// Lines for people and probes: 200 where it is `good`, else 503.
    pub fn probe(good: bool, lines: String) -> Answer {
        Answer { status: if good { 200 } else { 503 }, ..Answer::ok(PLAIN, lines) }
    }

    /// The same answer with more headers.
    #[must_use]
    pub fn with_headers(self, headers: &'static [(&'static str, &'static str)]) -> Answer {
        Answer { headers, ..self }
    }

    fn refusal(status: u16, why: &'static str) -> Answer {
        Answer { status, ..Answer::ok(PLAIN, why) }
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers a path. It reads what is in memory: a client must not make a database busy.
pub type Handler = Box<dyn Fn() -> Answer + Send + Sync>;

/// The paths of a service.
#[derive(Default)]
pub struct Site {
    paths: BTreeMap<&'static str, Handler>,
    names: Vec<String>,
}

impl Site {
    /// A site that is also reached under these names, beside addresses and `localhost`.
    pub fn named(names: Vec<String>) -> Site {
        Site { paths: BTreeMap::new(), names }
    }

    /// Adds a path. It is compared exactly.
    pub fn add(&mut self, path: &'static str, handler: impl Fn() -> Answer + Send + Sync + 'static) {
        self.paths.insert(path, Box::new(handler));
    }

    fn answer(&self, request: &Request) -> Answer {
        if !is_expected(&request.host, &self.names) {
            return Answer::refusal(
                421,
                "This name is not served here; HTTP_HOSTS sets the names that are.\n",
            );
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Answer::refusal(405, "Only GET and HEAD are answered.\n")
                .with_headers(&[("Allow", "GET, HEAD")]);
        }
        match self.paths.get(request.path.as_str()) {
            Some(handler) => handler(),
            None => Answer::refusal(404, "There is no such path.\n"),
        }
    }
}

/// Serves `site` at `address` in threads of the supervisor. While the address cannot be used, that is this service's
/// trouble and nothing else ends.
pub fn serve(supervisor: &mut Supervisor, address: &str, site: Site) -> Result<()> {
    let (accepted, connections) = bounded(WAITING);
    let site = Arc::new(site);
    for number in 1..=ANSWERING {
        let (site, connections) = (site.clone(), connections.clone());
        supervisor.spawn(&format!("http-{number}"), move |context| {
            answer_all(context, &connections, &site);
            Ok(())
        })?;
    }
    let address = address.to_owned();
    supervisor.spawn("http", move |context| {
        context.keep_trying(&format!("listen on HTTP_ADDRESS={address}"), || {
            accept_all(context, &address, &accepted)
        })
    })
}

fn accept_all(context: &ThreadContext, address: &str, accepted: &Sender<TcpStream>) -> Result<()> {
    let listener = TcpListener::bind(address).context("another program may use it")?;
    socket2::SockRef::from(&listener)
        .set_read_timeout(Some(ACCEPT_DEADLINE))
        .context("set a deadline for accepting")?;
    log::info!(
        "http://{} has /metrics, /livez and /readyz",
        listener.local_addr().context("look at the address")?
    );
    context.healthy();
    while !context.stop().requested() {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_nobody(&error) => continue,
            Err(error) => return Err(error).context("accept a connection"),
        };
        match accepted.try_send(stream) {
            Ok(()) => {}
            Err(TrySendError::Full(stream)) => refuse(stream),
            Err(TrySendError::Disconnected(_)) => bail!("the threads that answer have ended"),
        }
    }
    Ok(())
}

/// Whether nobody came in time, or who came is gone.
fn is_nobody(error: &std::io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted | ConnectionAborted | ConnectionReset)
}

/// The socket's own buffer takes so few bytes at once.
fn refuse(mut stream: TcpStream) {
    let busy = Answer::refusal(503, "Too many connections at once.\n");
    if let Err(error) = write(&mut stream, &busy, true) {
        log::debug!("refuse an HTTP connection: {error:#}");
    }
}

fn answer_all(context: &ThreadContext, connections: &Receiver<TcpStream>, site: &Site) {
    context.healthy();
    loop {
        let stream = crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return,
            recv(connections) -> stream => match stream {
                Ok(stream) => stream,
                Err(_) => return,
            },
        };
        if let Err(error) = answer(stream, site) {
            log::debug!("answer an HTTP request: {error:#}");
        }
    }
}

fn answer(mut stream: TcpStream, site: &Site) -> Result<()> {
    match read_head(&mut stream) {
        Ok(request) => write(&mut stream, &site.answer(&request), request.method != "HEAD"),
        Err(error) => {
            write(&mut stream, &Answer::refusal(400, "This is no request that is answered here.\n"), true)?;
            Err(error)
        }
    }
}

fn write(stream: &mut TcpStream, answer: &Answer, with_body: bool) -> Result<()> {
    let Answer { status, content_type, headers, body } = answer;
    let mut text = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n",
        reason(*status),
        body.len()
    );
    for (name, value) in *headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    if with_body {
        text.push_str(body);
    }
    stream.set_write_timeout(Some(WRITE_DEADLINE)).context("set a deadline")?;
    stream.write_all(text.as_bytes()).context("write an answer")?;
    stream.shutdown(Shutdown::Write).context("end an answer")
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        421 => "Misdirected Request",
        _ => "Service Unavailable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn asked(text: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(text.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut site = Site::default();
        site.add("/livez", || Answer::probe(true, "alive\n".to_owned()));
        let _ = answer(listener.accept().unwrap().0, &site);
        let mut answered = String::new();
        client.read_to_string(&mut answered).unwrap();
        answered
    }

    #[test]
    fn a_path_is_answered_and_nothing_else_is() {
        let head = "HTTP/1.1\r\nHost: localhost:9101\r\n\r\n";
        let alive = asked(&format!("GET /livez {head}"));
        assert!(alive.starts_with("HTTP/1.1 200 OK\r\n") && alive.ends_with("\r\n\r\nalive\n"), "{alive}");
        assert!(
            alive.contains("Content-Length: 6\r\n") && alive.contains("Connection: close\r\n"),
            "{alive}"
        );
        let head_only = asked(&format!("HEAD /livez {head}"));
        assert!(
            head_only.contains("Content-Length: 6\r\n") && head_only.ends_with("\r\n\r\n"),
            "{head_only}"
        );
        for (request, status) in [
            (format!("GET /livez/ {head}"), 404),
            (format!("GET /<script> {head}"), 404),
            (format!("POST /livez {head}"), 405),
            ("GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 421),
            ("GET /livez HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("\u{16}\u{3}\u{1}".to_owned(), 400),
            (format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(9000)), 400),
        ] {
            let answered = asked(&request);
            assert!(answered.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answered}");
            assert!(!answered.contains("script") && !answered.contains("evil"), "{answered}");
        }
    }
}
