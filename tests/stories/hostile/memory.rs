//! What one message costs in memory, however it is made.

use super::{SET_ASIDE, Victim};
use crate::harness::{count, wait_for};
use serde_json::json;
use shared::wire::{UNPACKED_MAX, events_subject};
use uuid::Uuid;

/// A row of the publisher's own may be unpacked to [`UNPACKED_MAX`]: its text, the row out of it, and what is made of
/// that on the way to PostgreSQL. No message may cost more than a small multiple.
const COST_MAX_KIB: u64 = 4 * (UNPACKED_MAX as u64 / 1024);
/// As much as fits.
const BYTES: usize = UNPACKED_MAX - 10_000;

fn packed(text: &str) -> Vec<u8> {
    [b"LZ4\0", &lz4_flex::block::compress_prepend_size(text.as_bytes())[..]].concat()
}

/// The genuine batch with a text in the place of a value, which may be no JSON.
fn batch_with(victim: &Victim, place: &str, text: &str) -> Vec<u8> {
    let marked = super::forging::with(&victim.batch, place, json!("MARK")).to_string();
    packed(&marked.replacen("\"MARK\"", text, 1))
}

fn messages(victim: &Victim) -> Vec<(&'static str, Vec<u8>)> {
    let string = |of: &str| format!("\"{}\"", of.repeat(BYTES / of.len()));
    let list = |of: &str| format!("[{}null]", of.repeat(BYTES / of.len()));
    let mut elsewhere = victim.batch.clone();
    elsewhere["source"]["id"] = json!("1/other");
    elsewhere["events"][0]["row"] = json!(format!("({})", "x".repeat(BYTES)));
    let event = victim.batch["events"][0].to_string() + ",";
    vec![
        ("a genuine row of another source", packed(&elsewhere.to_string())),
        ("20 bytes that claim 128 MiB", [b"LZ4\0", &134_217_728_u32.to_le_bytes()[..], b"x"].concat()),
        ("names of columns without end", batch_with(victim, "/shapes/0/columns", &list("\"\","))),
        ("shapes without end", batch_with(victim, "/shapes", &list("{},"))),
        ("events without end", batch_with(victim, "/events", &list(&event))),
        ("formats that are all alike", batch_with(victim, "/format", &list("1,"))),
        ("levels without end", batch_with(victim, "/events", &"[".repeat(BYTES))),
        ("an operation that the error quotes", batch_with(victim, "/events/0/operation", &string("x"))),
        ("a number that is a text, escaped", batch_with(victim, "/first", &string("\\n"))),
        ("a uuid without end", batch_with(victim, "/events/0/event_id", &string("0"))),
        ("a key without end", batch_with(victim, "/events/0/key", &string("("))),
        ("garbage as large as NATS takes", Uuid::new_v4().to_string().repeat(200_000).into_bytes()),
    ]
}

#[test]
fn no_message_costs_more_than_a_small_multiple_of_what_a_publisher_sends() {
    let victim = Victim::start("hostile_memory");
    let subject = events_subject(victim.replication.name());
    let mut target = victim.replication.target();
    let at_rest = victim.replication.processor.memory_peak_kib();
    println!("at rest: {} MiB", at_rest / 1024);
    for (number, (what, payload)) in (1..).zip(messages(&victim)) {
        let bytes = payload.len();
        victim.send(&subject, payload);
        wait_for(what, || (count(&mut target, SET_ASIDE) == number).then_some(()));
        let peak = victim.replication.processor.memory_peak_kib();
        println!("{what} ({bytes} bytes sent): peak {} MiB", peak / 1024);
        assert!(peak.saturating_sub(at_rest) < COST_MAX_KIB, "{what}: {peak} KiB");
    }
    victim.assert_unharmed("behind@x");
}
