//! What is in flight: batches in order, messages until they are acknowledged.

use crate::encoder::Message;
use crate::metrics::{Failure, METRICS};
use anyhow::{Error, Result, bail};
use outbox_publisher::rules::cursor::{CursorPosition, Epoch};
use shared::budget::Permit;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Messages in flight.
const WINDOW_MESSAGES: usize = 256;
/// Bytes in flight.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// A message that is not acknowledged within this time is sent again.
const ACK_DEADLINE: Duration = Duration::from_secs(10);

/// What is in flight in one epoch.
pub(super) struct Window {
    epoch: Epoch,
    /// The number of the next batch to send. Later ones that were encoded sooner wait.
    next_batch: u64,
    early: BTreeMap<u64, Ready>,
    /// Messages sent on this connection, over all epochs.
    sent: u64,
    in_flight: VecDeque<InFlight>,
    bytes: usize,
}

/// The messages of a batch, and why the next one cannot be made.
pub(super) struct Ready {
    pub(super) messages: Vec<Message>,
    pub(super) error: Option<Error>,
    /// Given back once they are sent.
    pub(super) _permit: Permit,
}

struct InFlight {
    number: u64,
    behind: CursorPosition,
    bytes: usize,
    sent_at: Instant,
    acknowledged: bool,
}

impl Window {
    pub(super) fn new(epoch: Epoch) -> Window {
        Window { epoch, next_batch: 0, early: BTreeMap::new(), sent: 0, in_flight: VecDeque::new(), bytes: 0 }
    }

    /// An empty window for a new epoch on the same connection.
    pub(super) fn after(old: &Window, epoch: Epoch) -> Window {
        Window { sent: old.sent, ..Window::new(epoch) }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < WINDOW_MESSAGES && self.bytes < WINDOW_BYTES
    }

    /// Adds batch `number`, unless it is of another epoch. Bounded by the bytes that may be in work.
    pub(super) fn add(&mut self, epoch: Epoch, number: u64, ready: Ready) {
        if epoch == self.epoch {
            self.early.insert(number, ready);
        }
    }

    /// The next batch in order, if it is here.
    pub(super) fn next(&mut self) -> Option<Ready> {
        let ready = self.early.remove(&self.next_batch)?;
        self.next_batch += 1;
        Some(ready)
    }

    /// Whether nothing waits for an acknowledgement.
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Notes a message as sent; returns the number that its answer will carry.
    pub(super) fn sent(&mut self, message: &Message) -> u64 {
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

    /// Notes an answer; returns the cursor position before which everything is acknowledged now, if it moved.
    pub(super) fn acknowledged(&mut self, number: u64) -> Option<CursorPosition> {
        // The number of an earlier epoch is below the first one here.
        let index = number.checked_sub(self.in_flight.front()?.number)?;
        self.in_flight.get_mut(usize::try_from(index).ok()?)?.acknowledged = true;
        let mut moved = None;
        while self.in_flight.front().is_some_and(|first| first.acknowledged) {
            let done = self.in_flight.pop_front()?;
            METRICS.publish_ack.observe(done.sent_at.elapsed().as_secs_f64());
            self.bytes -= done.bytes;
            moved = Some(done.behind);
        }
        moved
    }

    pub(super) fn check_deadline(&self) -> Result<()> {
        match self.in_flight.front() {
            Some(first) if first.sent_at.elapsed() > ACK_DEADLINE => {
                METRICS.failed(Failure::NoAcknowledgement);
                bail!("no acknowledgement within {} s", ACK_DEADLINE.as_secs())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::budget::Budget;

    fn ready(number: u64) -> Ready {
        let behind = CursorPosition::start_of(i64::try_from(number).unwrap() + 1);
        let permit = Budget::new(0).take(0, Duration::ZERO).unwrap();
        Ready {
            messages: vec![Message { behind, payload: vec![0; 10], events: 1, transactions: 1 }],
            error: None,
            _permit: permit,
        }
    }

    fn ticks(window: &mut Window) -> Vec<i64> {
        std::iter::from_fn(|| window.next()).map(|ready| ready.messages[0].behind.tick).collect()
    }

    #[test]
    fn batches_leave_in_order_however_they_were_encoded() {
        let mut window = Window::new(7);
        window.add(7, 1, ready(1));
        assert!(window.next().is_none());
        window.add(7, 0, ready(0));
        assert_eq!(ticks(&mut window), [1, 2]);
    }

    #[test]
    fn work_of_another_epoch_is_dropped() {
        let mut window = Window::new(7);
        window.add(6, 0, ready(0));
        assert!(window.next().is_none());
        window.add(7, 0, ready(0));
        assert_eq!(ticks(&mut window), [1]);
    }

    #[test]
    fn only_an_unbroken_row_of_answers_counts() {
        let mut window = Window::new(0);
        for number in 0..3 {
            window.sent(&ready(number).messages[0]);
        }
        assert_eq!(window.acknowledged(2), None);
        assert_eq!(window.acknowledged(1), Some(CursorPosition::start_of(2)));
        assert_eq!(window.acknowledged(1), None);
        assert_eq!(window.acknowledged(3), Some(CursorPosition::start_of(3)));
        assert_eq!(window.bytes, 0);
    }
}
