//! Creates the stream where it is missing, pulls its messages, a bounded number at a time, and releases those
//! that are committed. Receives refusals of the source, too.

use super::line::Line;
use super::one_by_one::{Next, OneByOne};
use super::release::Unreleased;
use super::withheld::{Due, Withheld};
use crate::confirm_sender::ConfirmSender;
use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{RecvTimeoutError, Sender};
use shared::broker::jetstream::{Consumer, Stream, released, sequence};
use shared::broker::{Broker, Connection, Incoming, status, status_reason};
use shared::budget::{Budget, Permit};
use shared::retry::Complaint;
use shared::supervisor::{Stop, ThreadContext};
use shared::wire::unpacked_bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages and bytes of one pull; more bytes where a single message may have more. Small messages come many at a time:
/// whoever floods the stream with them delays others the less.
const PULL_MESSAGES: usize = 200;
const PULL_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of messages, unpacked, that are pulled and not committed: they bound memory. A larger message is in
/// work alone.
const BYTES_IN_WORK: usize = 64 * 1024 * 1024;
/// What a stored message may have beyond its payload: subject and headers.
const ENVELOPE_BYTES: usize = 64 * 1024;
/// A pull expires after this time; if it brought nothing, the stream is drained.
const PULL_EXPIRES: Duration = Duration::from_secs(1);
/// While messages come, the next pull is made before the last expires: nats-server 2.9 drops one that expires
/// between two messages, and does not report it.
const PULL_RENEWED: Duration = Duration::from_millis(800);
/// A pull with no reply this long after it expired is assumed lost and reissued…
const PULL_GRACE: Duration = Duration::from_millis(250);
/// …but this many in a row mean that the stream does not answer.
const LOST_PULLS: u32 = 3;
/// A consumer that was just created may not listen yet; longer than this means that it does not.
const CONSUMER_STARTS: Duration = Duration::from_secs(2);
/// While pulling is paused, check this often whether to resume.
const PAUSE_CHECK: Duration = Duration::from_millis(50);

/// Logged where the server may not have received the request to delete a consumer.
const LEFT_BEHIND: &str = "a consumer may remain until the server expires it";

/// A message as pulled.
pub(crate) struct Pulled {
    /// Counted from 0 over the life of the process: the order in which messages came.
    pub(crate) number: u64,
    pub(crate) message: Incoming,
    /// For its bytes once it is unpacked. Given back when it is committed.
    _permit: Permit,
}

pub(crate) struct Puller {
    broker: Broker,
    stream: Stream,
    refusal_subject: String,
    confirm_sender: Arc<ConfirmSender>,
    budget: Budget,
    output: Sender<Pulled>,
    /// Recreated on every connection and after every pause; with it, what is to be released.
    consumer: Option<Consumer>,
    /// When the last one was created; none before the first.
    consumer_made_at: Option<Instant>,
    unreleased: Unreleased,
    /// Where the next consumer begins, if not at the first message.
    next_from: Option<u64>,
    /// The sequence of the last message that came in this session.
    last_sequence: u64,
    one_by_one: OneByOne,
    withheld: Withheld,
    pulled: u64,
    pulls: u64,
    /// How many of the last pulls in a row were lost.
    lost_pulls: u32,
    /// About a stream that releases nothing.
    complaint: Complaint,
}

impl Puller {
    pub(crate) fn new(
        broker: Broker,
        stream: Stream,
        refusal_subject: String,
        confirm_sender: Arc<ConfirmSender>,
        output: Sender<Pulled>,
    ) -> Puller {
        Puller {
            broker,
            stream,
            refusal_subject,
            confirm_sender,
            budget: Budget::new(BYTES_IN_WORK),
            output,
            consumer: None,
            consumer_made_at: None,
            unreleased: Unreleased::of_consumer(0),
            next_from: None,
            last_sequence: 0,
            one_by_one: OneByOne::new(PULL_MESSAGES),
            withheld: Withheld::new(Instant::now()),
            pulled: 0,
            pulls: 0,
            lost_pulls: 0,
            complaint: Complaint::default(),
        }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("pull", || {
            let ended = self.session(context);
            self.confirm_sender.set_connection(None);
            ended
        })
    }

    fn session(&mut self, context: &ThreadContext) -> Result<()> {
        let line = Line::open(&mut self.broker, &self.refusal_subject)?;
        self.stream.ensure(&line.connection)?;
        // Where the last connection was lost, its consumer still exists.
        self.delete_consumer(&line.connection);
        self.confirm_sender.set_connection(Some(line.connection.clone()));
        self.unreleased = self.unreleased.of_next_consumer();
        self.lost_pulls = 0;
        (self.next_from, self.last_sequence) = (None, 0);
        self.one_by_one.begin();
        let ended = self.work(&line, context);
        self.delete_consumer(&line.connection);
        if context.stop().requested()
            && let Err(error) = line.connection.flush()
        {
            log::debug!("{LEFT_BEHIND}: {error:#}");
        }
        ended
    }

    fn work(&mut self, line: &Line, context: &ThreadContext) -> Result<()> {
        while !context.stop().requested() {
            if !self.confirm_sender.is_leading() || self.confirm_sender.is_blocked() {
                self.pause(line, context)?;
            } else if self.one_by_one.is_reading() {
                self.read_one(line, context)?;
            } else {
                self.pull(line, context).inspect_err(|_| self.one_by_one.pull_failed(self.last_sequence))?;
            }
        }
        if let Some(before) = self.unreleased.committed(self.pulled - self.confirm_sender.in_work())
            && let Err(error) = self.stream.release_now(&line.connection, before)
        {
            log::info!(
                error:% = format!("{error:#}"); "the last messages stay in the stream and will be redelivered"
            );
        }
        Ok(())
    }

    /// Makes one pull and passes on its messages.
    fn pull(&mut self, line: &Line, context: &ThreadContext) -> Result<()> {
        let inbox = self.request_pull(line)?;
        let requested = Instant::now();
        let mut brought = 0;
        while brought < PULL_MESSAGES && !context.stop().requested() {
            self.attend_to(line)?;
            // Not while messages of this one wait here: they would pile up.
            if brought > 0 && line.answers.is_empty() && requested.elapsed() > PULL_RENEWED {
                return Ok(());
            }
            let message = match line.answers.recv_timeout(PAUSE_CHECK) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) if requested.elapsed() < PULL_EXPIRES + PULL_GRACE => continue,
                Err(RecvTimeoutError::Timeout) => return self.lost(),
                Err(RecvTimeoutError::Disconnected) => bail!("the connection is gone"),
            };
            if self.is_released(line, &message)? {
                continue;
            }
            self.lost_pulls = 0;
            let Some(status) = pull_status(line, &message) else {
                if brought == 0 {
                    self.report(context);
                }
                brought += 1;
                self.pass_on(sequence(&message)?, message, context.stop())?;
                continue;
            };
            // A late status of an earlier pull is ignored.
            if message.subject == inbox {
                if status == 503 && self.consumer_made_at.is_some_and(|at| at.elapsed() < CONSUMER_STARTS) {
                    log::debug!("the consumer does not listen yet");
                    context.stop().wait(PAUSE_CHECK);
                    return Ok(());
                }
                self.ended(status, &message, brought)?;
                if brought == 0 {
                    self.look_for_withheld(line)?;
                }
                self.report(context);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Requests messages, of a consumer that is created where there is none. Returns the subject to which a
    /// status comes.
    fn request_pull(&mut self, line: &Line) -> Result<String> {
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            none => {
                if self.next_from.is_none() {
                    self.unreleased = self.unreleased.of_next_consumer();
                }
                let consumer = none.insert(self.stream.consumer(self.next_from.take()));
                consumer.ensure(&line.connection)?;
                self.consumer_made_at = Some(Instant::now());
                consumer
            }
        };
        self.pulls += 1;
        let inbox = line.answers_to(self.pulls);
        let bytes = pull_bytes(line.connection.max_payload());
        consumer.pull(&line.connection, &inbox, PULL_MESSAGES, bytes, PULL_EXPIRES)?;
        Ok(inbox)
    }

    /// Waits while pulling is paused. Committed messages are still released.
    fn pause(&mut self, line: &Line, context: &ThreadContext) -> Result<()> {
        self.delete_consumer(&line.connection);
        // What was read may be dropped meanwhile: all is read again.
        self.next_from = None;
        self.one_by_one.begin_again();
        self.attend_to(line)?;
        self.take_releases(line)?;
        self.report(context);
        context.stop().wait(PAUSE_CHECK);
        Ok(())
    }

    /// Reads one message by itself, where one that is ahead breaks the connection.
    fn read_one(&mut self, line: &Line, context: &ThreadContext) -> Result<()> {
        self.attend_to(line)?;
        self.take_releases(line)?;
        match self.one_by_one.next(&self.stream, &line.connection) {
            Next::Message(stored) => {
                self.report(context);
                self.pass_on(stored.sequence, stored.message, context.stop())
            }
            Next::Through(next) => {
                self.next_from = Some(next).filter(|next| *next > 0);
                Ok(())
            }
        }
    }

    /// What is due besides reading.
    fn attend_to(&mut self, line: &Line) -> Result<()> {
        line.connection.check()?;
        line.receive_refusals(&self.confirm_sender)?;
        self.release(line)
    }

    /// Takes answers to releases. Messages that were under way are read again by the next consumer.
    fn take_releases(&mut self, line: &Line) -> Result<()> {
        for message in line.answers.try_iter() {
            self.is_released(line, &message)?;
        }
        Ok(())
    }

    /// Reports health. While pulling is not paused, call this only once a pull was answered.
    fn report(&mut self, context: &ThreadContext) {
        let Some(trouble) = self.unreleased.trouble(&self.stream) else { return context.healthy() };
        context.unhealthy(&trouble);
        if let Some(line) = self.complaint.due(&trouble) {
            log::warn!(next = "retrying"; "{line}");
        }
    }

    /// Deletes the consumer. Where the server does not receive that, it expires the consumer by itself.
    fn delete_consumer(&mut self, connection: &Connection) {
        self.confirm_sender.stops_pulling();
        if let Some(consumer) = &self.consumer
            && let Err(error) = consumer.delete(connection)
        {
            log::debug!("{LEFT_BEHIND}: {error:#}");
            return;
        }
        self.consumer = None;
    }

    /// Notes that a pull got no reply.
    fn lost(&mut self) -> Result<()> {
        self.lost_pulls += 1;
        if self.lost_pulls >= LOST_PULLS {
            // A stream that was deleted may not answer at all.
            bail!(
                "the stream {} does not answer a pull; the NATS user needs the right to publish to {}.*",
                self.stream.name,
                self.stream.pull_subject()
            );
        }
        log::debug!("a pull was lost");
        Ok(())
    }

    fn ended(&self, status: u16, message: &Incoming, brought: usize) -> Result<()> {
        match status {
            404 | 408 => {
                if brought == 0 {
                    self.confirm_sender.drained();
                }
                Ok(())
            }
            // The next message did not fit into the bytes that this pull had left.
            409 if brought > 0 && status_reason(message).contains("Message Size Exceeds MaxBytes") => Ok(()),
            409 => Err(anyhow!("the server ended the pull: {}", status_reason(message))),
            503 => bail!("the stream {} does not answer (no responders)", self.stream.name),
            status => bail!("the pull was answered with status {status}"),
        }
        .context("the consumer may be gone or moving to another node")
    }

    /// A pull brought nothing: now and then, sees to it that the stream has nothing.
    fn look_for_withheld(&mut self, line: &Line) -> Result<()> {
        match self.withheld.drained(self.last_sequence, Instant::now()) {
            Due::Nothing => {}
            Due::Look => {
                let stored = self.stream.last_stored(&line.connection)?;
                self.withheld.stored(stored, self.last_sequence, Instant::now());
            }
            Due::AnotherConsumer(stored) => {
                log::warn!(
                    "the stream {} has messages up to {stored}, and its consumer gives none behind {}: another consumer is made",
                    self.stream.name,
                    self.last_sequence
                );
                self.delete_consumer(&line.connection);
            }
            Due::AnotherStream(stored) => {
                let reason = format!(
                    "it has messages up to {stored}, and its consumers give none behind {}",
                    self.last_sequence
                );
                self.stream.delete_because(&reason, &line.connection)?;
                bail!("the stream {} gave no messages and was deleted", self.stream.name);
            }
        }
        Ok(())
    }

    /// Requests the release of committed messages; [`Puller::is_released`] takes the answer.
    fn release(&mut self, line: &Line) -> Result<()> {
        if let Some(before) = self.unreleased.due(self.pulled - self.confirm_sender.in_work()) {
            let answer_to = line.answers_to(self.unreleased.request(before));
            self.stream.release(&line.connection, &answer_to, before)?;
            shared::kill_point::reached("messages_released");
        }
        Ok(())
    }

    /// Takes the answer to a release; false where the message is another.
    fn is_released(&mut self, line: &Line, message: &Incoming) -> Result<bool> {
        line.token_of(message)
            .map_or(Ok(false), |token| self.unreleased.answered(token, || released(message)))
    }

    /// The right to have the message in work; none where a stop is requested.
    fn permit(&self, message: &Incoming, stop: &Stop) -> Option<Permit> {
        let bytes = unpacked_bytes(&message.data);
        loop {
            let permit = self.budget.take(bytes, PAUSE_CHECK);
            if permit.is_some() || stop.requested() {
                return permit;
            }
        }
    }

    /// Passes a message to the decoders; waits while they are busy, or what was pulled before is too much.
    fn pass_on(&mut self, sequence: u64, message: Incoming, stop: &Stop) -> Result<()> {
        let Some(permit) = self.permit(&message, stop) else { return Ok(()) };
        self.unreleased.pulled(self.pulled, sequence);
        self.withheld.brought();
        self.last_sequence = sequence;
        let pulled = Pulled { number: self.pulled, message, _permit: permit };
        self.confirm_sender.pulled();
        self.pulled += 1;
        crossbeam_channel::select! {
            recv(stop.receiver()) -> _ => Ok(()),
            send(self.output, pulled) -> sent => sent.context("the decoders are gone"),
        }
    }
}

/// The status by which the server answers a pull; none where the message is one of the stream, whatever headers whoever
/// published it gave it.
fn pull_status(line: &Line, message: &Incoming) -> Option<u16> {
    line.token_of(message).and_then(|_| status(message))
}

/// The bytes that a pull asks for: any message that the server stores must fit, or it is never delivered.
fn pull_bytes(max_payload: usize) -> usize {
    PULL_BYTES.max(max_payload.saturating_add(ENVELOPE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_message_that_a_server_takes_fits_into_a_pull() {
        const MIB: usize = 1024 * 1024;
        assert_eq!(pull_bytes(8 * MIB), PULL_BYTES);
        assert!(pull_bytes(32 * MIB) > 32 * MIB);
        assert!(pull_bytes(64 * MIB) > 64 * MIB);
        assert_eq!(pull_bytes(usize::MAX), usize::MAX);
    }
}
