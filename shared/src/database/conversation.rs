//! What the messages of a connection tell: whether the client awaits an answer.

use super::frames::Frames;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet ready for the first statement.
    Starting,
    Ready,
    /// The client has ended the session.
    Ending,
}

/// Both directions of a connection, from its first byte on.
pub(super) struct Conversation {
    sent: Frames,
    received: Frames,
    /// Requests for which the server has not yet reported that it is ready for the next.
    requests: u64,
    /// A request has begun and its end is not yet sent.
    unfinished: bool,
    phase: Phase,
}

impl Conversation {
    pub(super) fn new() -> Conversation {
        Conversation {
            sent: Frames::of_client(),
            received: Frames::of_server(),
            requests: 0,
            unfinished: false,
            phase: Phase::Starting,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn is_answer_awaited(&self) -> bool {
        self.requests > 0 || self.unfinished || self.phase == Phase::Ending
    }

    pub(super) fn note_sent(&mut self, bytes: &[u8]) {
        let Conversation { sent, requests, phase, unfinished, .. } = self;
        sent.pass(bytes, |kind| {
            *unfinished = true;
            match kind {
                // Startup, Query, Sync, FunctionCall: each is answered by one ReadyForQuery.
                0 | b'Q' | b'S' | b'F' => {
                    *requests += 1;
                    *unfinished = false;
                }
                // Terminate.
                b'X' => *phase = Phase::Ending,
                _ => {}
            }
        });
        self.unfinished |= self.sent.is_inside();
    }

    pub(super) fn note_received(&mut self, bytes: &[u8]) {
        let Conversation { received, requests, phase, .. } = self;
        received.pass(bytes, |kind| {
            // ReadyForQuery.
            if kind == b'Z' {
                *requests = requests.saturating_sub(1);
                if *phase == Phase::Starting {
                    *phase = Phase::Ready;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTUP: &[u8] = b"\0\0\0\x09\0\x03\0\0\0";
    const READY: &[u8] = b"Z\0\0\0\x05I";
    const PARSE: &[u8] = b"P\0\0\0\x08\0\0\0\0";
    const SYNC: &[u8] = b"S\0\0\0\x04";
    const TERMINATE: &[u8] = b"X\0\0\0\x04";

    #[test]
    fn an_answer_is_awaited_from_the_first_byte_of_a_request_until_the_server_is_ready() {
        let mut conversation = Conversation::new();
        assert!(!conversation.is_answer_awaited());
        conversation.note_sent(&STARTUP[..5]);
        assert!(conversation.is_answer_awaited());
        conversation.note_sent(&STARTUP[5..]);
        conversation.note_received(READY);
        assert_eq!((conversation.is_answer_awaited(), conversation.phase()), (false, Phase::Ready));
        conversation.note_sent(PARSE);
        assert!(conversation.is_answer_awaited(), "no Sync yet");
        conversation.note_sent(SYNC);
        conversation.note_received(b"1\0\0\0\x04");
        assert!(conversation.is_answer_awaited(), "ParseComplete is not the end");
        conversation.note_received(READY);
        assert!(!conversation.is_answer_awaited());
    }

    #[test]
    fn every_request_on_its_way_is_awaited() {
        let mut conversation = Conversation::new();
        conversation.note_sent(&[STARTUP, SYNC].concat());
        conversation.note_received(READY);
        assert!(conversation.is_answer_awaited());
        conversation.note_received(READY);
        assert!(!conversation.is_answer_awaited());
    }

    #[test]
    fn the_end_of_a_session_is_awaited() {
        let mut conversation = Conversation::new();
        conversation.note_sent(STARTUP);
        conversation.note_received(READY);
        conversation.note_sent(TERMINATE);
        assert_eq!((conversation.is_answer_awaited(), conversation.phase()), (true, Phase::Ending));
    }
}
