//! The thread that owns a connection of the `nats` crate.

use super::greeting::await_greeting;
use super::identity::Identity;
use super::message::Incoming;
use super::pulse::Pulse;
use crate::attempts::Attempt;
use crate::retry::Complaint;
use crate::stopping::receive_until;
use anyhow::{Context, Error, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// A call or a round trip that takes longer than this means that the server hangs.
pub(super) const LINK_DEADLINE: Duration = Duration::from_secs(4);
/// A server that accepts a connection greets within this time, and is not dialled otherwise.
const GREETING_DEADLINE: Duration = Duration::from_secs(3);
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
        header: Option<(&'static str, String)>,
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

/// Dials `server` on a thread of its own, which then serves `commands` until their sender is
/// dropped. Returns the largest payload that the server takes.
///
/// The thread is an `attempt`: where the server hangs once it has greeted, it cannot be ended.
pub(super) fn open(
    identity: &Identity,
    server: &str,
    attempt: Attempt,
    commands: Receiver<Command>,
    pulse: &Arc<Pulse>,
) -> Result<usize> {
    let (opened, answer) = bounded(1);
    let options = options(identity, pulse)?;
    let server = server.to_owned();
    let tls = identity.tls.clone();
    let pulse = pulse.clone();
    // Not the supervisor's: a link that hangs cannot be joined; it is abandoned.
    Builder::new()
        .name("nats-link".to_owned())
        .spawn(move || {
            let _attempt = attempt;
            let dialled = await_greeting(&server, GREETING_DEADLINE, || tls.client_config())
                .and_then(|()| options.connect(server.as_str()).map_err(Error::from));
            match dialled {
                Ok(connection) => {
                    let _ = opened.send(Ok(connection.max_payload()));
                    serve(connection, &commands, &pulse);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
        })
        .context("start the thread of a NATS connection")?;
    receive_until(&answer, Instant::now() + LINK_DEADLINE)
        .map_err(|_| anyhow!("no answer within {} s", LINK_DEADLINE.as_secs()))?
}

fn options(identity: &Identity, pulse: &Arc<Pulse>) -> Result<nats::Options> {
    let on_disconnect = pulse.clone();
    let on_close = pulse.clone();
    let complaint = Mutex::new(Complaint::default());
    let options = identity
        .options()?
        .with_name(&identity.client_name)
        // One connection, one life: the crate gives up after one round of dialling again, and
        // keeps nothing that was published in between.
        .max_reconnects(1)
        // By default it sleeps up to a second before it dials, even for the first time. Pauses
        // between tries are the caller's.
        .reconnect_delay_callback(|_| Duration::ZERO)
        .reconnect_buffer_size(0)
        .disconnect_callback(move || on_disconnect.lose())
        .close_callback(move || on_close.lose())
        .error_callback(move |error| {
            let text = error.to_string();
            // A message that is refused may be sent again and again.
            if let Some(text) = complaint.lock().due(&text) {
                log::warn!(error = text.as_str(); "the NATS server says");
            }
        });
    Ok(options)
}

fn serve(connection: nats::Connection, commands: &Receiver<Command>, pulse: &Pulse) {
    pulse.open();
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
    pulse.close();
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
            let headers = header.map(|(name, value)| nats::HeaderMap::from_iter([(name, value.as_str())]));
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
