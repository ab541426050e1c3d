//! The thread that owns a connection of the `nats` crate, and its watchdog.

use super::{Broker, Incoming, LINK_DEADLINE};
use crate::stopping::receive_until;
use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// An idle link proves this often that the server still answers.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Messages written between two round trips.
const MESSAGES_PER_FLUSH: usize = 64;
/// Messages of one subscription that wait to be taken; more are dropped. What the services wait for
/// is bounded by what they asked for, far below this; the bound is for a flood from elsewhere.
const UNREAD_MESSAGES_MAX: usize = 65_536;

/// What callers ask of a link.
pub(super) enum Command {
    Publish {
        subject: String,
        reply: Option<String>,
        header: Option<(&'static str, &'static str)>,
        payload: Vec<u8>,
    },
    Subscribe {
        subject: String,
        answer: Sender<io::Result<Receiver<Incoming>>>,
    },
    /// Answered once the server has read all that was asked for before.
    Flush {
        answer: Sender<()>,
    },
}

/// Signs of life of one link.
pub(super) struct Pulse {
    started: Instant,
    lost: AtomicBool,
    /// Milliseconds after `started` at which the call in work began, plus one; 0 while none is.
    busy_since_ms: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Pulse {
        Pulse { started: Instant::now(), lost: AtomicBool::new(false), busy_since_ms: AtomicU64::new(0) }
    }

    /// Why the link cannot be used, if it cannot.
    pub(super) fn trouble(&self, deadline: Duration) -> Option<String> {
        if self.lost.load(Ordering::Acquire) {
            return Some("was lost".to_owned());
        }
        let since = self.busy_since_ms.load(Ordering::Acquire);
        let busy_ms = self.now_ms().saturating_sub(since);
        (since > 0 && u128::from(busy_ms) > deadline.as_millis())
            .then(|| format!("has not answered for {busy_ms} ms"))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn begin(&self) {
        self.busy_since_ms.store(self.now_ms(), Ordering::Release);
    }

    fn end(&self) {
        self.busy_since_ms.store(0, Ordering::Release);
    }

    fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }
}

/// Dials `server` on a thread of its own, which then serves `commands` until their sender is
/// dropped. Returns the largest payload that the server takes.
pub(super) fn open(
    broker: &Broker,
    server: &str,
    commands: Receiver<Command>,
    pulse: &Arc<Pulse>,
) -> Result<usize> {
    let (opened, answer) = bounded(1);
    let options = options(broker, pulse);
    let server = server.to_owned();
    let pulse = pulse.clone();
    // Not the supervisor's: a link that hangs cannot be joined, it is left behind.
    Builder::new()
        .name("nats-link".to_owned())
        .spawn(move || {
            let connection = match options.connect(server.as_str()) {
                Ok(connection) => connection,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            let _ = opened.send(Ok(connection.max_payload()));
            serve(connection, &commands, &pulse);
        })
        .context("start the thread of a NATS connection")?;
    receive_until(&answer, Instant::now() + LINK_DEADLINE)
        .map_err(|_| anyhow!("no answer within {} s", LINK_DEADLINE.as_secs()))?
        .map_err(|error| anyhow!(error))
}

fn options(broker: &Broker, pulse: &Arc<Pulse>) -> nats::Options {
    let options = match &broker.login {
        Some((user, password)) => nats::Options::with_user_pass(user, password.reveal()),
        None => nats::Options::new(),
    };
    let on_disconnect = pulse.clone();
    let on_close = pulse.clone();
    options
        .with_name(&broker.client_name)
        // One connection, one life: the crate gives up after one round of dialling again, and
        // keeps nothing that was published in between.
        .max_reconnects(1)
        // By default it sleeps up to a second before it dials, even for the first time. Pauses
        // between tries are the caller's.
        .reconnect_delay_callback(|_| Duration::ZERO)
        .reconnect_buffer_size(0)
        .disconnect_callback(move || on_disconnect.lose())
        .close_callback(move || on_close.lose())
        .error_callback(|error| log::warn!("the NATS server says: {error}"))
}

fn serve(connection: nats::Connection, commands: &Receiver<Command>, pulse: &Pulse) {
    let mut subscriptions = Vec::new();
    loop {
        let first = match commands.recv_timeout(PING_INTERVAL) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        pulse.begin();
        let mut flushed = Vec::new();
        let written = first
            .into_iter()
            .chain(commands.try_iter().take(MESSAGES_PER_FLUSH))
            .try_for_each(|command| execute(&connection, command, &mut subscriptions, &mut flushed));
        if written.and_then(|()| connection.flush_timeout(LINK_DEADLINE)).is_err() {
            pulse.lose();
            break;
        }
        pulse.end();
        for answer in flushed {
            let _ = answer.send(());
        }
    }
    // May block for ever on a server that hangs; nobody waits for this thread.
    drop(subscriptions);
    connection.close();
}

fn execute(
    connection: &nats::Connection,
    command: Command,
    subscriptions: &mut Vec<nats::Subscription>,
    flushed: &mut Vec<Sender<()>>,
) -> io::Result<()> {
    match command {
        Command::Publish { subject, reply, header, payload } => {
            let headers = header.map(|header| nats::HeaderMap::from_iter([header]));
            connection.publish_with_reply_or_headers(&subject, reply.as_deref(), headers.as_ref(), payload)
        }
        Command::Subscribe { subject, answer } => {
            let subscription = connection.subscribe(&subject)?;
            subscription.set_message_limits(UNREAD_MESSAGES_MAX);
            let _ = answer.send(Ok(subscription.receiver().clone()));
            subscriptions.push(subscription);
            Ok(())
        }
        Command::Flush { answer } => {
            flushed.push(answer);
            Ok(())
        }
    }
}
