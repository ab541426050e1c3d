//! Creates the stream where it is missing, pulls its messages, a bounded number at a time, and releases those whose fate is
//! committed. Hears, too, when the source cannot go on with this target.

use crate::uplink::Uplink;
use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use shared::broker::jetstream::{ACK, Consumer, Stream, released, sequence};
use shared::broker::{Broker, Connection, Incoming, status, status_reason};
use shared::supervisor::{Stop, ThreadContext};
use shared::wire::Refusal;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages and bytes of one pull.
const PULL_MESSAGES: usize = 32;
const PULL_BYTES: usize = 32 * 1024 * 1024;
/// A pull ends after this time; one that brought nothing means that the stream is drained.
const PULL_EXPIRES: Duration = Duration::from_secs(1);
/// While messages come, the next pull takes over before one expires: nats-server 2.9 forgets one that expires between
/// two messages, without a word.
const PULL_RENEWED: Duration = Duration::from_millis(800);
/// A pull that has neither ended nor brought anything so long after its time is lost, and the next takes its place…
const PULL_GRACE: Duration = Duration::from_millis(250);
/// …but so many in a row mean that nobody answers.
const LOST_PULLS: u32 = 3;
/// Messages are released this often, all that are settled by then at once: to remove one costs the stream as much.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);
/// While there is nothing to pull for, look this often whether that has changed.
const REST: Duration = Duration::from_millis(50);

/// A message as pulled.
pub(crate) struct Pulled {
    /// Counted from 0 over the life of the process: the order in which messages came.
    pub(crate) number: u64,
    pub(crate) message: Incoming,
}

/// What came through one consumer, and is to be released once it is settled. Sequences are the stream's: all messages
/// before one.
struct Unreleased {
    /// Number and sequence of each message, in order.
    messages: VecDeque<(u64, u64)>,
    settled: u64,
    asked_at: Instant,
    released: u64,
}

impl Unreleased {
    fn new() -> Unreleased {
        Unreleased { messages: VecDeque::new(), settled: 0, asked_at: Instant::now(), released: 0 }
    }

    /// Up to where the stream can release, now that the messages before `number` are settled; none where it has.
    fn settled(&mut self, number: u64) -> Option<u64> {
        while self.messages.front().is_some_and(|(first, _)| *first < number) {
            let (_, sequence) = self.messages.pop_front()?;
            self.settled = sequence + 1;
        }
        (self.settled > self.released).then_some(self.settled)
    }

    /// The same, where it is time to ask the stream. What was not answered is asked again.
    fn due(&mut self, number: u64) -> Option<u64> {
        if self.asked_at.elapsed() < RELEASE_INTERVAL {
            return None;
        }
        self.asked_at = Instant::now();
        self.settled(number)
    }
}

pub(crate) struct Puller {
    broker: Broker,
    stream: Stream,
    refusal_subject: String,
    uplink: Arc<Uplink>,
    output: Sender<Pulled>,
    /// Made anew on every connection and after every rest; with it, what is to be released.
    consumer: Option<Consumer>,
    unreleased: Unreleased,
    pulled: u64,
    pulls: u64,
    /// Of the last pulls, how many were lost.
    lost_pulls: u32,
}

impl Puller {
    pub(crate) fn new(
        broker: Broker,
        stream: Stream,
        refusal_subject: String,
        uplink: Arc<Uplink>,
        output: Sender<Pulled>,
    ) -> Puller {
        Puller {
            broker,
            stream,
            refusal_subject,
            uplink,
            output,
            consumer: None,
            unreleased: Unreleased::new(),
            pulled: 0,
            pulls: 0,
            lost_pulls: 0,
        }
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
        let refusals = connection.subscribe(&self.refusal_subject)?;
        self.stream.ensure(&connection)?;
        self.uplink.set_connection(Some(connection.clone()));
        self.consumer = None;
        self.unreleased = Unreleased::new();
        self.lost_pulls = 0;
        context.healthy();
        while !context.stop().requested() {
            if self.uplink.is_leading() && !self.uplink.is_held() {
                self.pull(&connection, &inbox, (&messages, &refusals), context.stop())?;
            } else {
                self.consumer = None;
                self.hear_refusals(&refusals, &connection)?;
                connection.check()?;
                context.stop().wait(REST);
            }
        }
        if let Some(before) = self.unreleased.settled(self.pulled - self.uplink.in_work())
            && let Err(error) = self.stream.release_now(&connection, before)
        {
            log::info!("the last messages stay in the stream, and come again: {error:#}");
        }
        Ok(())
    }

    /// Makes one pull and hands on what it brings.
    fn pull(
        &mut self,
        connection: &Arc<Connection>,
        inbox: &str,
        (messages, refusals): (&Receiver<Incoming>, &Receiver<Incoming>),
        stop: &Stop,
    ) -> Result<()> {
        self.pulls += 1;
        let releases = format!("{inbox}.before-");
        let inbox = format!("{inbox}.{}", self.pulls);
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            none => {
                self.unreleased = Unreleased::new();
                none.insert(self.stream.consume(connection)?)
            }
        };
        consumer.pull(connection, &inbox, PULL_MESSAGES, PULL_BYTES, PULL_EXPIRES)?;
        let asked = Instant::now();
        let mut brought = 0;
        while brought < PULL_MESSAGES && !stop.requested() {
            connection.check()?;
            self.hear_refusals(refusals, connection)?;
            self.release(connection, &releases)?;
            // Not while messages of this one lie here: they would pile up.
            if brought > 0 && messages.is_empty() && asked.elapsed() > PULL_RENEWED {
                return Ok(());
            }
            let message = match messages.recv_timeout(REST) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) if asked.elapsed() < PULL_EXPIRES + PULL_GRACE => continue,
                Err(RecvTimeoutError::Timeout) => return self.lost(),
                Err(RecvTimeoutError::Disconnected) => bail!("the connection is gone"),
            };
            if let Some(before) = message.subject.strip_prefix(&releases) {
                released(&message).context("release what is settled")?;
                self.unreleased.released = before.parse().context("read an answer to a release")?;
                continue;
            }
            self.lost_pulls = 0;
            let Some(status) = status(&message) else {
                brought += 1;
                self.hand_on(message, stop)?;
                continue;
            };
            // A late word about an earlier pull is passed over.
            if message.subject == inbox {
                return self.ended(status, &message, brought);
            }
        }
        Ok(())
    }

    /// Notes that a pull ended without a word.
    fn lost(&mut self) -> Result<()> {
        self.lost_pulls += 1;
        if self.lost_pulls >= LOST_PULLS {
            // A stream that was deleted need not say so.
            bail!("the stream {} does not answer a pull", self.stream.name);
        }
        log::debug!("a pull was lost");
        Ok(())
    }

    /// Takes what the source says to this target, and answers that it was heard.
    fn hear_refusals(&self, refusals: &Receiver<Incoming>, connection: &Connection) -> Result<()> {
        while let Ok(message) = refusals.try_recv() {
            match Refusal::decode(&message.data) {
                Ok(refusal) if self.uplink.refuse(&refusal) => {
                    if let Some(reply) = &message.reply {
                        connection.publish(reply, None, ACK.to_vec())?;
                    }
                }
                Ok(_) => {}
                Err(error) => log::warn!("ignoring a refusal that cannot be read: {error:#}"),
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
            409 if brought > 0 && status_reason(message).contains("Message Size Exceeds MaxBytes") => Ok(()),
            409 => Err(anyhow!("the server ends the pull: {}", status_reason(message))),
            503 => bail!("the stream {} does not answer (no responders)", self.stream.name),
            status => bail!("the pull was answered with status {status}"),
        }
        .context("the consumer may be gone or moving to another node")
    }

    /// Lets the stream remove what is settled; the answer comes to `inbox` and the sequence.
    fn release(&mut self, connection: &Connection, inbox: &str) -> Result<()> {
        if let Some(before) = self.unreleased.due(self.pulled - self.uplink.in_work()) {
            self.stream.release(connection, &format!("{inbox}{before}"), before)?;
            shared::kill_point::reached("messages_released");
        }
        Ok(())
    }

    /// Waits for room behind this stage.
    fn hand_on(&mut self, message: Incoming, stop: &Stop) -> Result<()> {
        self.unreleased.messages.push_back((self.pulled, sequence(&message)?));
        let pulled = Pulled { number: self.pulled, message };
        self.uplink.pulled();
        self.pulled += 1;
        crossbeam_channel::select! {
            recv(stop.receiver()) -> _ => Ok(()),
            send(self.output, pulled) -> sent => sent.context("the decoders are gone"),
        }
    }
}
