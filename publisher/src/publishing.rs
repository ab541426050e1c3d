//! The one ordered step of the publisher: batches leave in order, many in flight, and every one is
//! awaited until the stream has acknowledged it.
//!
//! After any failure nothing in flight is believed: the session ends, and the next one begins
//! behind the last acknowledged batch. What arrives twice by that, the target drops.

use crate::cursor::{Epoch, NO_EPOCH, Place};
use crate::encoder::{Encoded, MaxPayload, Message};
use crate::leadership::{Leadership, Term};
use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, never};
use shared::broker::jetstream::stored_sequence;
use shared::broker::{Broker, Connection, Incoming};
use shared::supervisor::ThreadContext;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages in flight.
const WINDOW_MESSAGES: usize = 256;
/// Bytes in flight.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// A message that is not acknowledged within this time is sent again.
const ACK_DEADLINE: Duration = Duration::from_secs(10);
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct Publishing {
    broker: Broker,
    subject: String,
    leadership: Arc<Leadership>,
    max_payload: Arc<MaxPayload>,
    input: Receiver<Encoded>,
    /// Nothing was acknowledged since something was sent: connecting again does not cure that.
    unanswered: bool,
}

impl Publishing {
    pub(crate) fn new(
        broker: Broker,
        subject: String,
        leadership: Arc<Leadership>,
        max_payload: Arc<MaxPayload>,
        input: Receiver<Encoded>,
    ) -> Publishing {
        Publishing { broker, subject, leadership, max_payload, input, unanswered: false }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("publish", || self.session(context))
    }

    fn session(&mut self, context: &ThreadContext) -> Result<()> {
        let mut line = Line::open(&mut self.broker, self.leadership.current())?;
        self.max_payload.set(line.connection.max_payload());
        if !self.unanswered {
            context.healthy();
        }
        let closed = never();
        loop {
            let input = if line.window.has_room() { &self.input } else { &closed };
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return Ok(()),
                recv(line.acks) -> ack => {
                    line.acknowledged(&ack.context("the connection is gone")?)?;
                    self.unanswered = false;
                    context.healthy();
                }
                recv(input) -> encoded => {
                    let Ok(encoded) = encoded else { return Ok(()) };
                    self.unanswered = true;
                    line.publish(&self.subject, encoded)?;
                }
                default(CHECK_INTERVAL) => {}
            }
            line.connection.check()?;
            line.window.check_deadline()?;
        }
    }
}

/// A connection, and what is in flight on it.
struct Line {
    connection: Connection,
    inbox: String,
    acks: Receiver<Incoming>,
    /// The term that the window is of; none while nothing was published in one.
    term: Option<Term>,
    window: Window,
}

impl Line {
    fn open(broker: &mut Broker, term: Option<Term>) -> Result<Line> {
        let connection = broker.connect()?;
        let inbox = Connection::new_inbox();
        let acks = connection.subscribe(&format!("{inbox}.*"))?;
        let epoch = term.as_ref().map_or(NO_EPOCH, |term| term.cursor().turn_to_acknowledged());
        Ok(Line { connection, inbox, acks, term, window: Window::new(epoch) })
    }

    fn publish(&mut self, subject: &str, encoded: Encoded) -> Result<()> {
        let Encoded { term, epoch, number, messages } = encoded;
        // The next term begins behind what is acknowledged in the source.
        if term.is_over() {
            return Ok(());
        }
        let current = term.cursor().epoch();
        if current != self.window.epoch {
            self.window = Window::after(&self.window, current);
        }
        self.term = Some(term);
        for message in self.window.in_order(epoch, number, messages)? {
            let number = self.window.sent(&message);
            self.connection.publish(subject, Some(&format!("{}.{number}", self.inbox)), message.payload)?;
            shared::kill_point::reached("batch_published");
        }
        Ok(())
    }

    fn acknowledged(&mut self, ack: &Incoming) -> Result<()> {
        let number = ack.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let number = number.with_context(|| format!("an answer on {}", ack.subject))?;
        stored_sequence(ack)?;
        if let (Some(place), Some(term)) = (self.window.acknowledged(number), &self.term) {
            term.acknowledge(self.window.epoch, place);
            shared::kill_point::reached("acknowledged");
        }
        Ok(())
    }
}

/// What is in flight in one epoch.
struct Window {
    epoch: Epoch,
    /// The number of the next batch to send; later ones that were encoded sooner wait.
    next_batch: u64,
    early: BTreeMap<u64, Result<Vec<Message>>>,
    /// Messages sent on this connection, over all epochs.
    sent: u64,
    in_flight: VecDeque<InFlight>,
    bytes: usize,
}

struct InFlight {
    number: u64,
    behind: Place,
    bytes: usize,
    sent_at: Instant,
    acknowledged: bool,
}

impl Window {
    fn new(epoch: Epoch) -> Window {
        Window { epoch, next_batch: 0, early: BTreeMap::new(), sent: 0, in_flight: VecDeque::new(), bytes: 0 }
    }

    /// An empty window for a new epoch on the same connection.
    fn after(old: &Window, epoch: Epoch) -> Window {
        Window { sent: old.sent, ..Window::new(epoch) }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < WINDOW_MESSAGES && self.bytes < WINDOW_BYTES
    }

    /// The messages that are to be sent now that those of batch `number` are here; none of another epoch.
    fn in_order(
        &mut self,
        epoch: Epoch,
        number: u64,
        messages: Result<Vec<Message>>,
    ) -> Result<Vec<Message>> {
        if epoch != self.epoch {
            return Ok(Vec::new());
        }
        self.early.insert(number, messages);
        let mut ready = Vec::new();
        while let Some(messages) = self.early.remove(&self.next_batch) {
            ready.extend(messages?);
            self.next_batch += 1;
        }
        Ok(ready)
    }

    /// Notes a message as sent; returns the number by which its answer will be known.
    fn sent(&mut self, message: &Message) -> u64 {
        self.sent += 1;
        self.bytes += message.payload.len();
        self.in_flight.push_back(InFlight {
            number: self.sent,
            behind: message.behind,
            bytes: message.payload.len(),
            sent_at: Instant::now(),
            acknowledged: false,
        });
        self.sent
    }

    /// Notes an answer; returns the place up to which everything is now acknowledged, if it moved.
    fn acknowledged(&mut self, number: u64) -> Option<Place> {
        // The number of an earlier epoch is below the first one here.
        let index = number.checked_sub(self.in_flight.front()?.number)?;
        self.in_flight.get_mut(usize::try_from(index).ok()?)?.acknowledged = true;
        let mut moved = None;
        while self.in_flight.front().is_some_and(|first| first.acknowledged) {
            let done = self.in_flight.pop_front()?;
            self.bytes -= done.bytes;
            moved = Some(done.behind);
        }
        moved
    }

    fn check_deadline(&self) -> Result<()> {
        match self.in_flight.front() {
            Some(first) if first.sent_at.elapsed() > ACK_DEADLINE => {
                bail!("no acknowledgement within {} s", ACK_DEADLINE.as_secs())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(number: u64) -> Vec<Message> {
        let behind = Place::start_of(i64::try_from(number).unwrap() + 1);
        vec![Message { behind, payload: vec![0; 10] }]
    }

    #[test]
    fn batches_leave_in_order_however_they_were_encoded() {
        let mut window = Window::new(7);
        assert!(window.in_order(7, 1, Ok(messages(1))).unwrap().is_empty());
        let ready = window.in_order(7, 0, Ok(messages(0))).unwrap();
        assert_eq!(ready.iter().map(|message| message.behind.tick).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn work_of_another_epoch_is_dropped() {
        let mut window = Window::new(7);
        assert!(window.in_order(6, 0, Ok(messages(0))).unwrap().is_empty());
        assert_eq!(window.in_order(7, 0, Ok(messages(0))).unwrap().len(), 1);
    }

    #[test]
    fn only_an_unbroken_row_of_answers_counts() {
        let mut window = Window::new(0);
        for number in 0..3 {
            for message in window.in_order(0, number, Ok(messages(number))).unwrap() {
                window.sent(&message);
            }
        }
        assert_eq!(window.acknowledged(2), None);
        assert_eq!(window.acknowledged(1), Some(Place::start_of(2)));
        assert_eq!(window.acknowledged(1), None);
        assert_eq!(window.acknowledged(3), Some(Place::start_of(3)));
        assert_eq!(window.bytes, 0);
    }
}
