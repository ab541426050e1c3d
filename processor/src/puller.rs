//! Creates the stream where it is missing, pulls its messages, a bounded number at a time, and releases those whose fate is
//! committed. Hears, too, when the source cannot go on with this target.

mod unreleased;

use crate::uplink::Uplink;
use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use shared::broker::jetstream::{ACK, Consumer, Stream, released, sequence};
use shared::broker::{Broker, Connection, Incoming, status, status_reason};
use shared::retry::Complaint;
use shared::supervisor::{Stop, ThreadContext};
use shared::wire::Refusal;
use std::sync::Arc;
use std::time::{Duration, Instant};
use unreleased::Unreleased;

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
/// While there is nothing to pull for, look this often whether that has changed.
const REST: Duration = Duration::from_millis(50);

/// Said where the server may not have heard that a consumer is given up.
const LEFT_BEHIND: &str = "a consumer may stay for a while";

/// A message as pulled.
pub(crate) struct Pulled {
    /// Counted from 0 over the life of the process: the order in which messages came.
    pub(crate) number: u64,
    pub(crate) message: Incoming,
}

/// One connection, and what comes over it.
struct Line {
    connection: Arc<Connection>,
    /// Answers come to subjects below it: to a pull under its number, to a release under its question.
    inbox: String,
    answers: Receiver<Incoming>,
    refusals: Receiver<Incoming>,
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
    /// About a stream that releases nothing.
    complaint: Complaint,
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
            unreleased: Unreleased::of_consumer(0),
            pulled: 0,
            pulls: 0,
            lost_pulls: 0,
            complaint: Complaint::default(),
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
        let line = Line {
            answers: connection.subscribe(&format!("{inbox}.*"))?,
            refusals: connection.subscribe(&self.refusal_subject)?,
            inbox,
            connection,
        };
        self.stream.ensure(&line.connection)?;
        // Where the one before was lost, its consumer still stands.
        self.give_up_consumer(&line.connection);
        self.uplink.set_connection(Some(line.connection.clone()));
        self.unreleased = self.unreleased.of_next_consumer();
        self.lost_pulls = 0;
        let ended = self.work(&line, context);
        self.give_up_consumer(&line.connection);
        if context.stop().requested()
            && let Err(error) = line.connection.flush()
        {
            log::debug!("{LEFT_BEHIND}: {error:#}");
        }
        ended
    }

    fn work(&mut self, line: &Line, context: &ThreadContext) -> Result<()> {
        while !context.stop().requested() {
            if self.uplink.is_leading() && !self.uplink.is_held() {
                self.pull(line, context)?;
            } else {
                self.rest(line, context)?;
            }
        }
        if let Some(before) = self.unreleased.settled(self.pulled - self.uplink.in_work())
            && let Err(error) = self.stream.release_now(&line.connection, before)
        {
            log::info!("the last messages stay in the stream, and come again: {error:#}");
        }
        Ok(())
    }

    /// Makes one pull and hands on what it brings.
    fn pull(&mut self, line: &Line, context: &ThreadContext) -> Result<()> {
        let Line { connection, inbox, answers, .. } = line;
        let stop = context.stop();
        self.pulls += 1;
        let inbox = format!("{inbox}.{}", self.pulls);
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            none => {
                self.unreleased = self.unreleased.of_next_consumer();
                let consumer = none.insert(self.stream.consumer());
                consumer.ensure(connection)?;
                consumer
            }
        };
        consumer.pull(connection, &inbox, PULL_MESSAGES, PULL_BYTES, PULL_EXPIRES)?;
        let asked = Instant::now();
        let mut brought = 0;
        while brought < PULL_MESSAGES && !stop.requested() {
            connection.check()?;
            self.hear_refusals(line)?;
            self.release(line)?;
            // Not while messages of this one lie here: they would pile up.
            if brought > 0 && answers.is_empty() && asked.elapsed() > PULL_RENEWED {
                return Ok(());
            }
            let message = match answers.recv_timeout(REST) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) if asked.elapsed() < PULL_EXPIRES + PULL_GRACE => continue,
                Err(RecvTimeoutError::Timeout) => return self.lost(),
                Err(RecvTimeoutError::Disconnected) => bail!("the connection is gone"),
            };
            if self.is_released(line, &message)? {
                continue;
            }
            self.lost_pulls = 0;
            let Some(status) = status(&message) else {
                if brought == 0 {
                    self.report(context);
                }
                brought += 1;
                self.hand_on(message, stop)?;
                continue;
            };
            // A late word about an earlier pull is passed over.
            if message.subject == inbox {
                self.ended(status, &message, brought)?;
                self.report(context);
                return Ok(());
            }
        }
        Ok(())
    }

    /// While there is nothing to pull for: what is settled meanwhile is released all the same.
    fn rest(&mut self, line: &Line, context: &ThreadContext) -> Result<()> {
        self.give_up_consumer(&line.connection);
        self.hear_refusals(line)?;
        self.release(line)?;
        for message in line.answers.try_iter() {
            // What else was still on its way is read again by the next consumer.
            self.is_released(line, &message)?;
        }
        line.connection.check()?;
        self.report(context);
        context.stop().wait(REST);
        Ok(())
    }

    /// Says how it goes. Where there is something to pull for, only a pull that was answered shows that it goes at all.
    fn report(&mut self, context: &ThreadContext) {
        let Some(trouble) = self.unreleased.trouble(&self.stream) else { return context.healthy() };
        context.unhealthy(&trouble);
        if self.complaint.is_due(&trouble) {
            log::warn!("{trouble}; asking again");
        }
    }

    /// Has the server forget the consumer at once. Where it does not hear that, it does so after a while.
    fn give_up_consumer(&mut self, connection: &Connection) {
        if let Some(consumer) = &self.consumer
            && let Err(error) = consumer.delete(connection)
        {
            log::debug!("{LEFT_BEHIND}: {error:#}");
            return;
        }
        self.consumer = None;
    }

    /// Notes that a pull ended without a word.
    fn lost(&mut self) -> Result<()> {
        self.lost_pulls += 1;
        if self.lost_pulls >= LOST_PULLS {
            // A stream that was deleted need not say so.
            bail!(
                "the stream {} does not answer a pull; the NATS user needs the right to publish to {}.*",
                self.stream.name,
                self.stream.pull_subject()
            );
        }
        log::debug!("a pull was lost");
        Ok(())
    }

    /// Takes what the source says to this target, and answers that it was heard.
    fn hear_refusals(&self, line: &Line) -> Result<()> {
        while let Ok(message) = line.refusals.try_recv() {
            match Refusal::decode(&message.data) {
                Ok(refusal) if self.uplink.refuse(&refusal) => {
                    if let Some(reply) = &message.reply {
                        line.connection.publish(reply, None, ACK.to_vec())?;
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

    /// Lets the stream remove what is settled; [`Puller::is_released`] takes the answer.
    fn release(&mut self, line: &Line) -> Result<()> {
        if let Some(before) = self.unreleased.due(self.pulled - self.uplink.in_work()) {
            let answer_to = format!("{}.{}", line.inbox, self.unreleased.question(before));
            self.stream.release(&line.connection, &answer_to, before)?;
            shared::kill_point::reached("messages_released");
        }
        Ok(())
    }

    /// Takes the answer to a release; false where the message is another.
    fn is_released(&mut self, line: &Line, message: &Incoming) -> Result<bool> {
        let word = message.subject.strip_prefix(&line.inbox).and_then(|rest| rest.strip_prefix('.'));
        word.map_or(Ok(false), |word| self.unreleased.answered(word, || released(message)))
    }

    /// Waits for room behind this stage.
    fn hand_on(&mut self, message: Incoming, stop: &Stop) -> Result<()> {
        self.unreleased.pulled(self.pulled, sequence(&message)?);
        let pulled = Pulled { number: self.pulled, message };
        self.uplink.pulled();
        self.pulled += 1;
        crossbeam_channel::select! {
            recv(stop.receiver()) -> _ => Ok(()),
            send(self.output, pulled) -> sent => sent.context("the decoders are gone"),
        }
    }
}
