//! The connection to NATS. The only module that touches the `nats` crate.
//!
//! The crate is the blocking client that this project wants (no async runtime of ours), and it is
//! deprecated: several of its calls can block for ever when a server hangs, and after a lost
//! connection it goes on accepting messages into a buffer. So each connection is owned by one thread
//! here, the *link*. Whatever can block, blocks there. Callers hand over messages through a bounded
//! channel, and a watchdog compares the last completed round trip with a deadline. A connection that
//! was lost or hangs is abandoned with its thread, and the caller dials the next server: nothing is
//! ever resumed on a connection of whose fate we are not sure.
//!
//! What this module does not do: reconnect by itself, retry, or decide what a lost message means.

// The crate as a whole is marked deprecated in favour of an async one; see above.
#![allow(deprecated)]

pub mod jetstream;
mod link;

use crate::config::{Environment, Secret};
use crate::stopping::receive_until;
use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{Receiver, Sender, bounded};
use link::{Command, Pulse};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A call or a round trip that takes longer than this means that the server hangs.
const LINK_DEADLINE: Duration = Duration::from_secs(4);
/// What is said last is waited for so long, while the process is stopping.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Messages handed over but not yet written to the socket.
const OUTGOING_CAPACITY: usize = 256;

/// A message as it arrives.
pub type Incoming = nats::Message;

/// The status that a server puts into a message of its own (404 no messages, 408 expired, 409, 503
/// no responders); none on a message that somebody published.
pub fn status(message: &Incoming) -> Option<u16> {
    let status = message.headers.as_ref()?.get("Status")?;
    status.split_whitespace().next()?.parse().ok()
}

/// The server's own words to a [`status`].
pub fn status_reason(message: &Incoming) -> String {
    let headers = message.headers.as_ref();
    let word = |name| headers.and_then(|headers| headers.get(name)).map(String::as_str).unwrap_or_default();
    format!("{} {}", word("Status"), word("Description")).trim_end().to_owned()
}

/// The servers of one cluster and how to log in.
#[derive(Clone, Debug)]
pub struct Broker {
    client_name: String,
    servers: Vec<String>,
    login: Option<(String, Secret)>,
    next: usize,
}

impl Broker {
    /// Reads `NATS_URL` (one or more, separated by commas), `NATS_USER` and `NATS_PASSWORD`.
    pub fn from_env(environment: &Environment, client_name: &str) -> Result<Broker> {
        let urls = environment.required("NATS_URL", "nats://127.0.0.1:4222")?;
        let mut login = match (environment.optional("NATS_USER"), environment.optional("NATS_PASSWORD")) {
            (Some(user), Some(password)) => Some((user.to_owned(), Secret::new(password))),
            (None, None) => None,
            _ => bail!("NATS_USER and NATS_PASSWORD go together: set both or neither"),
        };
        let mut servers = Vec::new();
        for url in urls.split(',').map(str::trim) {
            let (server, own_login) = split_url(url)?;
            servers.push(server);
            // Servers learned from another server carry no login: it belongs to the client.
            login = own_login.or(login);
        }
        let next = fastrand::usize(..servers.len());
        Ok(Broker { client_name: client_name.to_owned(), servers, login, next })
    }

    /// Dials the servers in turn, beginning after the one dialled last. Each gets
    /// [`LINK_DEADLINE`] to answer.
    pub fn connect(&mut self) -> Result<Connection> {
        let mut last_error = anyhow!("no server");
        for _ in 0..self.servers.len() {
            let server = self.servers[self.next].clone();
            self.next = (self.next + 1) % self.servers.len();
            match self.dial(&server) {
                Ok(connection) => {
                    log::info!("connected to {server}");
                    return Ok(connection);
                }
                Err(error) => last_error = error.context(format!("connect to {server}")),
            }
        }
        Err(last_error).with_context(|| format!("none of {} NATS servers can be used", self.servers.len()))
    }

    fn dial(&self, server: &str) -> Result<Connection> {
        let (outgoing, commands) = bounded(OUTGOING_CAPACITY);
        let pulse = Arc::new(Pulse::new());
        let max_payload = link::open(self, server, commands, &pulse)?;
        let reply_prefix = format!("_INBOX.{}", Uuid::new_v4().simple());
        let mut connection = Connection {
            server: server.to_owned(),
            outgoing,
            pulse,
            max_payload,
            replies: None,
            reply_prefix,
            requests: AtomicU64::new(0),
        };
        connection.replies = Some(connection.subscribe(&format!("{}.*", connection.reply_prefix))?);
        Ok(connection)
    }
}

/// A server refuses what a user has no right to without an answer to it.
fn no_answer(subject: &str, timeout: Duration) -> anyhow::Error {
    anyhow!(
        "no answer from {subject} within {} s; the NATS user needs the right to publish there, and to subscribe to _INBOX.>",
        timeout.as_secs_f32()
    )
}

/// Takes user and password out of a server's URL.
fn split_url(url: &str) -> Result<(String, Option<(String, Secret)>)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    if !matches!(scheme, "nats" | "tls") || rest.is_empty() {
        bail!("NATS_URL is not understood: it takes nats://host:port, or several separated by commas");
    }
    match rest.rsplit_once('@') {
        None => Ok((format!("{scheme}://{rest}"), None)),
        Some((login, host)) => {
            let (user, password) = login.split_once(':').context(
                "NATS_URL has a login without a password: it takes nats://user:password@host:port",
            )?;
            Ok((format!("{scheme}://{host}"), Some((user.to_owned(), Secret::new(password)))))
        }
    }
}

/// One connection to one server. Every call is bounded by a deadline of a few seconds; after any
/// error drop the connection and dial again.
pub struct Connection {
    server: String,
    outgoing: Sender<Command>,
    pulse: Arc<Pulse>,
    max_payload: usize,
    replies: Option<Receiver<Incoming>>,
    reply_prefix: String,
    requests: AtomicU64,
}

impl Connection {
    /// Hands over a message. `Ok` means that it will be written soon, not that it arrived anywhere.
    pub fn publish(&self, subject: &str, reply: Option<&str>, payload: Vec<u8>) -> Result<()> {
        self.publish_with(subject, reply, None, payload)
    }

    fn publish_with(
        &self,
        subject: &str,
        reply: Option<&str>,
        header: Option<(&'static str, &'static str)>,
        payload: Vec<u8>,
    ) -> Result<()> {
        self.command(Command::Publish {
            subject: subject.to_owned(),
            reply: reply.map(str::to_owned),
            header,
            payload,
        })
    }

    /// Subscribes; the messages come out of the returned channel until the connection is dropped.
    pub fn subscribe(&self, subject: &str) -> Result<Receiver<Incoming>> {
        let (answer, messages) = bounded(1);
        self.command(Command::Subscribe { subject: subject.to_owned(), answer })?;
        receive_until(&messages, Instant::now() + LINK_DEADLINE)
            .map_err(|_| anyhow!("{} does not answer", self.server))?
            .with_context(|| format!("subscribe to {subject}"))
    }

    /// Sends a request and waits for its answer, at most `timeout`.
    ///
    /// Requests of one connection are made by one thread at a time; a late answer to an earlier
    /// request is passed over.
    pub fn request(&self, subject: &str, payload: Vec<u8>, timeout: Duration) -> Result<Incoming> {
        self.request_with(subject, None, payload, timeout)
    }

    /// The same, with a header.
    pub fn request_with(
        &self,
        subject: &str,
        header: Option<(&'static str, &'static str)>,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Incoming> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let reply = format!("{}.{number}", self.reply_prefix);
        let replies = self.replies.as_ref().context("the connection is not complete")?;
        self.publish_with(subject, Some(&reply), header, payload)?;
        let deadline = Instant::now() + timeout;
        loop {
            let answer = receive_until(replies, deadline).map_err(|_| no_answer(subject, timeout))?;
            if answer.subject == reply {
                return Ok(answer);
            }
        }
    }

    /// Waits until the server has read all that was handed over, at most 1 s, also while the process is stopping.
    pub fn flush(&self) -> Result<()> {
        let (answer, flushed) = bounded(1);
        self.command(Command::Flush { answer })?;
        flushed.recv_timeout(LAST_WORDS).map_err(|_| {
            anyhow!("{} has not read the last messages within {} s", self.server, LAST_WORDS.as_secs())
        })
    }

    /// Fails when the connection was lost, or when the server has not completed a round trip in
    /// time. Never blocks.
    pub fn check(&self) -> Result<()> {
        if let Some(reason) = self.pulse.trouble(LINK_DEADLINE) {
            bail!("the connection to {} {reason}", self.server);
        }
        Ok(())
    }

    /// A new subject for answers, below which one subscription can tell answers apart.
    pub fn new_inbox() -> String {
        format!("_INBOX.{}", Uuid::new_v4().simple())
    }

    /// The largest message that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.max_payload
    }

    fn command(&self, command: Command) -> Result<()> {
        self.check()?;
        self.outgoing
            .send_timeout(command, LINK_DEADLINE)
            .map_err(|_| anyhow!("{} takes no more messages", self.server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_the_url() {
        let (server, login) = split_url("nats://replication:pass@word@127.0.0.1:4222").unwrap();
        assert_eq!(server, "nats://127.0.0.1:4222");
        let (user, password) = login.unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("replication", "pass@word"));
        assert_eq!(split_url("127.0.0.1:4222").unwrap().0, "nats://127.0.0.1:4222");
        assert!(split_url("http://127.0.0.1:4222").is_err());
    }
}
