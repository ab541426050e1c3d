//! Creates the stream where it is missing and pulls its messages, a bounded number at a time.

use crate::uplink::Uplink;
use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use shared::broker::jetstream::Stream;
use shared::broker::{Broker, Connection, Incoming, status, status_reason};
use shared::supervisor::{Stop, ThreadContext};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages and bytes of one pull.
const PULL_MESSAGES: usize = 256;
const PULL_BYTES: usize = 32 * 1024 * 1024;
/// A pull ends after this time; one that brought nothing means that the stream is drained.
const PULL_EXPIRES: Duration = Duration::from_secs(1);
/// A pull that has neither ended nor brought anything so long after its time is lost.
const PULL_GRACE: Duration = Duration::from_secs(2);
/// While there is nothing to pull for, look this often whether that has changed.
const REST: Duration = Duration::from_millis(50);

/// A message as pulled, with the connection on which it is to be acknowledged.
pub(crate) struct Pulled {
    /// Counted from 0 over the life of the process: the order in which messages came.
    pub(crate) number: u64,
    pub(crate) message: Incoming,
    pub(crate) connection: Arc<Connection>,
}

pub(crate) struct Puller {
    broker: Broker,
    stream: Stream,
    uplink: Arc<Uplink>,
    output: Sender<Pulled>,
    pulled: u64,
    pulls: u64,
}

impl Puller {
    pub(crate) fn new(broker: Broker, stream: Stream, uplink: Arc<Uplink>, output: Sender<Pulled>) -> Puller {
        Puller { broker, stream, uplink, output, pulled: 0, pulls: 0 }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("pull", || {
            let ended = self.session(context);
            self.uplink.set_connection(None);
            ended
        })
    }

    fn session(&mut self, context: &ThreadContext) -> Result<()> {
        let connection = Arc::new(self.broker.connect()?);
        let inbox = Connection::new_inbox();
        let messages = connection.subscribe(&format!("{inbox}.*"))?;
        self.stream.ensure(&connection)?;
        self.uplink.set_connection(Some(connection.clone()));
        context.healthy();
        while !context.stop().requested() {
            if self.uplink.is_leading() && !self.uplink.is_held() {
                self.pull(&connection, &inbox, &messages, context.stop())?;
            } else {
                connection.check()?;
                context.stop().wait(REST);
            }
        }
        Ok(())
    }

    /// Makes one pull and hands on what it brings.
    fn pull(
        &mut self,
        connection: &Arc<Connection>,
        inbox: &str,
        messages: &Receiver<Incoming>,
        stop: &Stop,
    ) -> Result<()> {
        self.pulls += 1;
        let inbox = format!("{inbox}.{}", self.pulls);
        self.stream.pull(connection, &inbox, PULL_MESSAGES, PULL_BYTES, PULL_EXPIRES)?;
        let deadline = Instant::now() + PULL_EXPIRES + PULL_GRACE;
        let mut brought = 0;
        while brought < PULL_MESSAGES && !stop.requested() {
            connection.check()?;
            let message = match messages.recv_timeout(REST) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => continue,
                // Nobody answers for a stream that is gone: the next session makes it again.
                Err(RecvTimeoutError::Timeout) => {
                    bail!("a pull from the stream {} got no answer: it may be gone", self.stream.name)
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the connection is gone"),
            };
            let Some(status) = status(&message) else {
                brought += 1;
                self.hand_on(message, connection, stop)?;
                continue;
            };
            // A late word about an earlier pull is passed over.
            if message.subject == inbox {
                return self.ended(status, &message, brought);
            }
        }
        Ok(())
    }

    fn ended(&self, status: u16, message: &Incoming, brought: usize) -> Result<()> {
        match status {
            404 | 408 => {
                if brought == 0 {
                    self.uplink.drained();
                }
                Ok(())
            }
            // The next message did not fit into the bytes that this pull had left.
            409 if brought > 0 => Ok(()),
            409 => Err(anyhow!("the server ends the pull: {}", status_reason(message))),
            503 => bail!("the stream {} does not answer (no responders)", self.stream.name),
            status => bail!("the pull was answered with status {status}"),
        }
        .context("the consumer may be gone or moving to another node")
    }

    /// Waits for room behind this stage.
    fn hand_on(&mut self, message: Incoming, connection: &Arc<Connection>, stop: &Stop) -> Result<()> {
        let pulled = Pulled { number: self.pulled, message, connection: connection.clone() };
        self.uplink.pulled();
        self.pulled += 1;
        crossbeam_channel::select! {
            recv(stop.receiver()) -> _ => Ok(()),
            send(self.output, pulled) -> sent => sent.context("the decoders are gone"),
        }
    }
}
