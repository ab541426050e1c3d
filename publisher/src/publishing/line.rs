//! A connection to the stream, and what is in flight on it.

use super::window::{Ready, Window};
use crate::encoder::{Encoded, Message};
use crate::leadership::Term;
use crate::metrics::{Failure, METRICS};
use anyhow::{Context, Error, Result};
use crossbeam_channel::Receiver;
use outbox_publisher::rules::cursor::NO_EPOCH;
use shared::broker::jetstream::stored_sequence;
use shared::broker::{Broker, Connection, Incoming};

/// A connection, and what is in flight on it.
pub(super) struct Line {
    connection: Connection,
    inbox: String,
    acks: Receiver<Incoming>,
    /// The term of the window; none while nothing was published.
    term: Option<Term>,
    window: Window,
    /// Why the next message cannot be made. Nothing behind it is sent.
    stuck: Option<Error>,
}

impl Line {
    /// Connects; what was in flight on another connection counts as not published.
    pub(super) fn open(broker: &mut Broker, term: Option<Term>) -> Result<Line> {
        let connection = broker.connect().inspect_err(|_| METRICS.failed(Failure::Connection))?;
        let inbox = Connection::new_inbox();
        let acks = connection.subscribe(&format!("{inbox}.*"))?;
        let epoch = term.as_ref().map_or(NO_EPOCH, |term| term.cursor().turn_to_acknowledged());
        Ok(Line { connection, inbox, acks, term, window: Window::new(epoch), stuck: None })
    }

    /// Publishes what may be now that `encoded` is here; nothing of a term that is over.
    pub(super) fn publish(&mut self, subject: &str, encoded: Encoded) -> Result<()> {
        let Encoded { term, epoch, number, messages, error, permit } = encoded;
        if term.is_over() {
            return Ok(());
        }
        let current = term.cursor().epoch();
        if current != self.window.epoch() {
            self.window = Window::after(&self.window, current);
        }
        self.window.add(epoch, number, Ready { messages, error, _permit: permit });
        while let Some(Ready { messages, error, .. }) = self.window.next() {
            for message in messages {
                count(&message, &term);
                self.send(subject, message)?;
            }
            if let Some(error) = error {
                term.hold(&error);
                self.stuck = Some(error);
                break;
            }
        }
        self.term = Some(term);
        Ok(())
    }

    fn send(&mut self, subject: &str, message: Message) -> Result<()> {
        let number = self.window.sent(&message);
        self.connection.publish_signed(
            subject,
            Some(&format!("{}.{number}", self.inbox)),
            message.payload,
        )?;
        shared::kill_point::reached("batch_published");
        Ok(())
    }

    /// Takes an answer to a message on `subject`; fails where it is no acknowledgement.
    pub(super) fn acknowledged(&mut self, ack: &Incoming, subject: &str) -> Result<()> {
        let number = ack.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let number = number.with_context(|| format!("an answer on {}", ack.subject))?;
        stored_sequence(ack, subject).inspect_err(|_| METRICS.failed(Failure::Refused))?;
        if let (Some(position), Some(term)) = (self.window.acknowledged(number), &self.term) {
            term.acknowledge(self.window.epoch(), position);
            shared::kill_point::reached("acknowledged");
        }
        Ok(())
    }

    pub(super) fn acks(&self) -> &Receiver<Incoming> {
        &self.acks
    }

    /// Bytes that the server takes in one message.
    pub(super) fn max_payload(&self) -> usize {
        self.connection.max_payload()
    }

    pub(super) fn has_room(&self) -> bool {
        self.window.has_room() && self.stuck.is_none()
    }

    /// Fails when the connection does not work, or an acknowledgement is overdue, or a message cannot be made
    /// and all before it is acknowledged.
    pub(super) fn check(&mut self) -> Result<()> {
        self.connection.check().inspect_err(|_| METRICS.failed(Failure::Connection))?;
        if let Some(error) = self.stuck.take_if(|_| self.window.is_empty()) {
            METRICS.failed(Failure::CannotTravel);
            return Err(error);
        }
        self.window.check_deadline()
    }
}

fn count(message: &Message, term: &Term) {
    METRICS.published_batches.inc();
    METRICS.published_bytes.inc_by(message.payload.len() as u64);
    METRICS.published_events.inc_by(message.events);
    METRICS.published_transactions.inc_by(message.transactions);
    if let Some(reason) = term.note_sent(message.behind) {
        METRICS.resent(reason, message.events);
    }
}
