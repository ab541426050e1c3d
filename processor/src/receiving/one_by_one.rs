//! Finds the message that breaks each connection over which it comes. The `nats` crate fails on headers that it cannot
//! read, and whoever may publish can have such a message stored: the stream is then read message by message until that
//! one is behind.

use shared::broker::Connection;
use shared::broker::jetstream::{Stored, Stream};
use shared::retry::Complaint;

/// So many pulls in a row that break in one place are no accident.
const BREAKS: u32 = 2;

pub(super) struct OneByOne {
    /// Messages of one pull: the one that breaks it is at most so far behind the last that came.
    reach: u64,
    /// The sequence of the last message that came before the first of the breaks.
    behind: u64,
    breaks: u32,
    reading: Option<Reading>,
    complaint: Complaint,
}

#[derive(Default)]
struct Reading {
    next: u64,
    found: bool,
    /// How many messages in a row could be read since the last that could not.
    whole: u64,
}

/// What [`OneByOne::next`] found.
pub(super) enum Next {
    Message(Stored),
    /// From this sequence on, pulls go on.
    Through(u64),
}

impl OneByOne {
    pub(super) fn new(reach: usize) -> OneByOne {
        OneByOne { reach: reach as u64, behind: 0, breaks: 0, reading: None, complaint: Complaint::default() }
    }

    /// Notes that a pull failed, and which message was the last to come before.
    pub(super) fn pull_failed(&mut self, last: u64) {
        if self.breaks == 0 || last > self.behind.saturating_add(self.reach) {
            (self.behind, self.breaks) = (last, 0);
        }
        self.breaks += 1;
    }

    /// Begins a session: from the stream's first message on, where pulls broke again and again.
    pub(super) fn begin(&mut self) {
        self.reading = (self.breaks >= BREAKS).then(Reading::default);
    }

    /// Where it reads, it does so again from the stream's first message on.
    pub(super) fn begin_again(&mut self) {
        if let Some(reading) = &mut self.reading {
            *reading = Reading::default();
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// The next message, while there is one, and the one that breaks pulls may be ahead. Waits like every call of the API.
    pub(super) fn next(&mut self, stream: &Stream, connection: &Connection) -> Next {
        let Some(reading) = &mut self.reading else { return Next::Through(0) };
        if !reading.is_past(self.reach) {
            match stream.stored_from(connection, reading.next) {
                Ok(Some(stored)) => {
                    reading.take(&stored);
                    if stored.malformed
                        && let Some(line) = self.complaint.due(&format!(
                            "a message of the stream {} has headers that cannot be read, which breaks the connection: it was read by \
                             itself, without them",
                            stream.name
                        ))
                    {
                        log::warn!("{line}");
                    }
                    return Next::Message(stored);
                }
                Ok(None) => {}
                Err(error) => {
                    log::warn!(error:% = format!("{error:#}"); "looking for the message that breaks the connection");
                }
            }
        }
        let next = reading.next;
        (self.reading, self.breaks) = (None, 0);
        Next::Through(next)
    }
}

impl Reading {
    fn take(&mut self, stored: &Stored) {
        self.next = stored.sequence + 1;
        if stored.malformed {
            (self.found, self.whole) = (true, 0);
        } else {
            self.whole += 1;
        }
    }

    fn is_past(&self, reach: u64) -> bool {
        self.found && self.whole >= reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::broker::Incoming;

    fn reads_after(breaks: &[u64]) -> bool {
        let mut one_by_one = OneByOne::new(200);
        for last in breaks {
            one_by_one.pull_failed(*last);
        }
        one_by_one.begin();
        one_by_one.is_reading()
    }

    #[test]
    fn pulls_that_break_in_one_place_are_suspicious() {
        assert!(!reads_after(&[]));
        assert!(!reads_after(&[7]));
        assert!(reads_after(&[7, 7]));
        assert!(reads_after(&[7, 100]));
        assert!(reads_after(&[0, 0]));
        assert!(!reads_after(&[7, 1000]));
        assert!(reads_after(&[7, 1000, 1001]));
    }

    #[test]
    fn the_message_is_behind_once_a_whole_pull_could_be_read() {
        let stored = |sequence, malformed| Stored {
            sequence,
            message: Incoming::new("events", None, "", None),
            malformed,
        };
        let mut reading = Reading::default();
        for sequence in 1..1000 {
            reading.take(&stored(sequence, false));
        }
        assert!(!reading.is_past(200));
        reading.take(&stored(1000, true));
        for sequence in 1001..1200 {
            reading.take(&stored(sequence, false));
            assert!(!reading.is_past(200));
        }
        reading.take(&stored(1200, false));
        assert!(reading.is_past(200));
        assert_eq!(reading.next, 1201);
    }
}
