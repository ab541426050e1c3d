//! One connection to one server, as callers see it: the other end of its link.

use super::identity::Identity;
use super::link::{self, Command, LINK_DEADLINE};
use super::message::Incoming;
use super::pulse::Pulse;
use super::signing::Signing;
use crate::attempts::Attempts;
use crate::stopping::receive_until;
use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long the last messages are waited for, while the process is stopping.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Messages handed over but not yet written to the socket.
const OUTGOING_CAPACITY: usize = 256;

/// One connection to one server. Every call is bounded by a deadline of a few seconds; after any
/// error drop the connection and dial again.
pub struct Connection {
    server: String,
    outgoing: Sender<Command>,
    pulse: Arc<Pulse>,
    max_payload: usize,
    signing: Signing,
    replies: Option<Receiver<Incoming>>,
    reply_prefix: String,
    requests: AtomicU64,
}

impl Connection {
    pub(super) fn open(
        identity: &Identity,
        server: &str,
        attempts: &Attempts,
        signing: Signing,
    ) -> Result<Connection> {
        let (outgoing, commands) = bounded(OUTGOING_CAPACITY);
        let pulse = Arc::new(Pulse::new());
        let max_payload = link::open(identity, server, attempts.begin()?, commands, &pulse)?;
        let mut connection = Connection {
            server: server.to_owned(),
            outgoing,
            pulse,
            max_payload,
            signing,
            replies: None,
            reply_prefix: Connection::new_inbox(),
            requests: AtomicU64::new(0),
        };
        connection.replies = Some(connection.subscribe(&format!("{}.*", connection.reply_prefix))?);
        Ok(connection)
    }

    /// Hands over a message for a server, or an answer. `Ok` means that it will be written soon, not that it arrived
    /// anywhere.
    pub fn publish(&self, subject: &str, reply: Option<&str>, payload: Vec<u8>) -> Result<()> {
        self.publish_with(subject, reply, None, payload)
    }

    /// The same with a message for the other service, [signed](Signing) where there is a key.
    pub fn publish_signed(&self, subject: &str, reply: Option<&str>, payload: Vec<u8>) -> Result<()> {
        self.publish_with(subject, reply, self.signing.header(subject, &payload), payload)
    }

    /// How our messages are signed.
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    fn publish_with(
        &self,
        subject: &str,
        reply: Option<&str>,
        header: Option<(&'static str, String)>,
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
    /// request is ignored.
    pub fn request(&self, subject: &str, payload: Vec<u8>, timeout: Duration) -> Result<Incoming> {
        self.request_with(subject, None, payload, timeout)
    }

    /// The same with a message for the other service, [signed](Signing) where there is a key.
    pub fn request_signed(&self, subject: &str, payload: Vec<u8>, timeout: Duration) -> Result<Incoming> {
        self.request_with(subject, self.signing.header(subject, &payload), payload, timeout)
    }

    /// The same, with a header.
    pub(super) fn request_with(
        &self,
        subject: &str,
        header: Option<(&'static str, String)>,
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

    /// Waits until the server has read all that was handed over, at most 1 s, also while the process is
    /// stopping.
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

    /// The largest message that the server takes, in bytes, with what a signature needs left out.
    pub fn max_payload(&self) -> usize {
        self.max_payload.saturating_sub(self.signing.envelope_bytes())
    }

    fn command(&self, command: Command) -> Result<()> {
        self.check()?;
        self.outgoing
            .send_timeout(command, LINK_DEADLINE)
            .map_err(|_| anyhow!("{} takes no more messages", self.server))
    }
}

/// A server does not answer what a user has no right to.
fn no_answer(subject: &str, timeout: Duration) -> anyhow::Error {
    anyhow!(
        "no answer from {subject} within {} s; the NATS user needs the right to publish there, and to subscribe to _INBOX.>",
        timeout.as_secs_f32()
    )
}
