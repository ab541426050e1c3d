//! Messages with headers that no client library writes. They are sent as bytes: a server does not read headers, and
//! stores them as they are.

use super::{SET_ASIDE, Victim};
use crate::harness::{count, messages, wait_for};
use shared::wire::{confirm_subject, events_subject, heartbeat_subject, refusal_subject};

/// What a server writes into messages of its own.
const STATUSES: [&[u8]; 3] = [
    b"NATS/1.0 404 No Messages\r\n\r\n",
    b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
    b"NATS/1.0\r\nStatus: 503\r\n\r\n",
];
const MALFORMED: [&[u8]; 5] = [
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n",
    b"\r\n\r\n",
    b"\0",
];
/// More than one pull asks for.
const MANY: usize = 250;

impl Victim {
    /// Waits until at least so many messages are set aside; returns how many are.
    fn wait_until_set_aside(&self, messages: usize) -> usize {
        let mut target = self.replication.target();
        let mut set_aside = || usize::try_from(count(&mut target, SET_ASIDE)).unwrap();
        wait_for("each is set aside", || Some(set_aside()).filter(|set_aside| *set_aside >= messages))
    }
}

#[test]
fn a_message_that_looks_like_a_word_of_the_server_is_a_message() {
    let victim = Victim::start("hostile_statuses");
    let subject = events_subject(victim.replication.name());
    let messages: Vec<_> =
        STATUSES.iter().cycle().take(MANY).map(|headers| (*headers, b"garbage".as_slice())).collect();
    victim.replication.publish_with_headers(&subject, &messages);
    assert_eq!(victim.wait_until_set_aside(MANY), MANY);
    victim.assert_unharmed("behind@x");
}

#[test]
fn a_message_whose_headers_break_the_connection_is_read_by_itself() {
    let victim = Victim::start("hostile_headers");
    let name = victim.replication.name().to_owned();
    let of_the_batch = victim.batch.to_string().into_bytes();
    let malformed: Vec<_> = MALFORMED.iter().map(|headers| (*headers, b"garbage".as_slice())).collect();
    // One of them, behind a whole one, carries a batch that is known: it is no garbage.
    let known: [(&[u8], &[u8]); 2] = [(b"NATS/1.0\r\n\r\n", &of_the_batch), (MALFORMED[0], &of_the_batch)];
    victim.replication.publish_with_headers(&events_subject(&name), &known);
    victim.replication.publish_with_headers(&events_subject(&name), &malformed);
    victim.wait_until_set_aside(MALFORMED.len());
    victim.assert_carries_on("behind@x");
    // The stream keeps none of them: another session finds nothing that breaks it, and sets nothing aside once more.
    let nats = victim.replication.nats_b();
    let wait_until_released =
        || wait_for("all of it is released", || (messages(&nats, &name) == 0).then_some(()));
    wait_until_released();
    let many: Vec<_> = malformed.iter().cycle().take(MANY).copied().collect();
    victim.replication.publish_with_headers(&events_subject(&name), &many);
    let set_aside = victim.wait_until_set_aside(MALFORMED.len() + MANY);
    // What was not released when the connection broke comes again, and is counted again.
    assert!(set_aside <= 2 * (MALFORMED.len() + MANY), "{set_aside}");
    victim.assert_carries_on("behind_many@x");
    wait_until_released();
    let complaints = victim.replication.processor.log().matches("has headers that cannot be read").count();
    assert!((1..=20).contains(&complaints), "{complaints}");
}

#[test]
fn headers_that_break_a_connection_on_the_other_subjects_cost_one_connection() {
    let victim = Victim::start("hostile_headers_beside");
    let name = victim.replication.name().to_owned();
    for subject in [confirm_subject(&name), heartbeat_subject(&name), refusal_subject(&name)] {
        victim.replication.publish_with_headers(&subject, &[(MALFORMED[0], b"garbage")]);
        victim.assert_carries_on(&format!("{subject}@x"));
    }
}
