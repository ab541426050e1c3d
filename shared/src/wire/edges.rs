//! Tests: every number of every message at its edges. What is taken can be counted with and stored.

use super::*;
use serde_json::{Value, json};

const MIN: i64 = i64::MIN;
const MAX: i64 = i64::MAX;

/// The message with another number at a place.
fn with(message: &Value, place: &str, number: &Value) -> String {
    let mut changed = message.clone();
    *changed.pointer_mut(place).unwrap() = number.clone();
    changed.to_string()
}

/// For each place, which of the edges a reader takes: 0, 1, -1, the least and the greatest of 32 and of 64 bits, and the
/// greatest without a sign.
fn assert_taken(message: &Value, takes: impl Fn(&str) -> bool, table: &[(&str, [bool; 8])]) {
    let edges = [
        json!(0),
        json!(1),
        json!(-1),
        json!(i32::MIN),
        json!(i32::MAX),
        json!(MIN),
        json!(MAX),
        json!(u64::MAX),
    ];
    for (place, expected) in table {
        for (edge, expected) in edges.iter().zip(expected) {
            assert_eq!(takes(&with(message, place, edge)), *expected, "{edge} at {place}");
        }
        for none in [json!(1.5), json!(1e300), json!("1"), json!(null)] {
            assert!(!takes(&with(message, place, &none)), "{none} at {place}");
        }
    }
}

pub(super) fn batch() -> Value {
    serde_json::from_str(include_str!("corpus/insert.json")).unwrap()
}

fn confirm() -> Value {
    let position = json!({"tick": {"number": 7, "id": uuid::Uuid::nil()}, "ordinal": 1, "total": MAX - 1});
    json!({
        "format": 1, "target": "7/b", "incarnation": uuid::Uuid::nil(), "term": 3, "counter": 4, "source": "7/a",
        "received": position, "applied": position["tick"], "gap": false, "idle": true, "reads": [1],
        "status": {"version": "0", "trouble": null, "events": 9},
        "figures": {"applied_tick": 7, "behind_ms": 1, "stream_nodes": 3}
    })
}

fn heartbeat() -> Value {
    json!({
        "format": 1, "source": "7/a", "tick": {"number": 7, "id": uuid::Uuid::nil()}, "as_of": "10:12:10",
        "looked_at_us": 1, "status": {"version": "0", "trouble": null, "events": 9},
        "figures": {"taken_tick": 7, "outbox_bytes": 1}
    })
}

#[test]
fn every_number_of_a_batch_at_its_edges() {
    let mut batch = batch();
    batch["first"] = json!(1);
    batch["total"] = json!(MAX - 1);
    let takes = |json: &str| {
        let Ok(batch) = Batch::from_json(json) else { return false };
        let end = batch.end();
        assert!(batch.first <= batch.last() && batch.last() < MAX && end.ordinal <= end.total);
        assert!(batch.tick.number.checked_add(1).is_some() && end.ordinal.checked_add(1).is_some());
        true
    };
    assert_taken(
        &batch,
        takes,
        &[
            // 0      1     -1     i32::MIN MAX   i64::MIN MAX  u64::MAX
            ("/format", [false, true, false, false, false, false, false, false]),
            ("/source/timeline", [true, true, true, true, true, true, true, false]),
            ("/tick/number", [false, true, false, false, true, false, false, false]),
            ("/first", [false, true, false, false, true, false, false, false]),
            ("/total", [false, true, false, false, true, false, false, false]),
            ("/taken_at_us", [true, true, true, true, true, false, false, false]),
            ("/events/0/txid", [true, true, true, true, true, true, true, false]),
            ("/shapes/0/id", [false, true, false, false, false, false, false, false]),
            ("/events/0/shape", [false, true, false, false, false, false, false, false]),
        ],
    );
    for (first, total, is_one) in
        [(MAX, MAX, false), (MAX - 1, MAX, false), (MAX - 1, MAX - 1, true), (2, 1, false)]
    {
        batch["first"] = json!(first);
        assert_eq!(takes(&with(&batch, "/total", &json!(total))), is_one, "{first} of {total}");
    }
}

#[test]
fn every_number_of_a_confirm_at_its_edges() {
    let takes = |json: &str| {
        let Ok(confirm) = Confirm::decode(json.as_bytes()) else { return false };
        let counted =
            |position: Position| position.ordinal.checked_add(1).is_some() && position.tick.number < MAX;
        assert!(confirm.received.is_none_or(counted));
        true
    };
    assert_taken(
        &confirm(),
        takes,
        &[
            ("/format", [false, true, false, false, false, false, false, false]),
            ("/term", [true, true, true, true, true, true, true, false]),
            ("/counter", [true, true, false, false, true, false, true, true]),
            ("/received/tick/number", [true, true, false, false, true, false, false, false]),
            ("/received/ordinal", [false, true, false, false, true, false, false, false]),
            ("/received/total", [false, true, false, false, true, false, false, false]),
            ("/applied/number", [true, true, false, false, true, false, false, false]),
            ("/reads/0", [true, true, false, false, true, false, false, false]),
            ("/status/events", [true, true, false, false, true, false, true, false]),
        ],
    );
}

#[test]
fn every_number_of_a_heartbeat_and_a_refusal_at_its_edges() {
    assert_taken(
        &heartbeat(),
        |json| Heartbeat::decode(json.as_bytes()).is_ok(),
        &[
            ("/format", [false, true, false, false, false, false, false, false]),
            ("/tick/number", [true, true, false, false, true, false, false, false]),
            ("/looked_at_us", [true, true, true, true, true, false, false, false]),
            ("/status/events", [true, true, false, false, true, false, true, false]),
        ],
    );
    let refusal = json!({"format": 1, "source": "7/a", "target": "7/b", "reason": "why"});
    let takes = |json: &str| Refusal::decode(json.as_bytes()).is_ok();
    assert_taken(&refusal, takes, &[("/format", [false, true, false, false, false, false, false, false])]);
}

#[test]
fn a_figure_may_be_unknown_and_is_a_whole_number_otherwise() {
    let takes_heartbeat = |json: &str| Heartbeat::decode(json.as_bytes()).is_ok();
    let takes_confirm = |json: &str| Confirm::decode(json.as_bytes()).is_ok();
    let (heartbeat, confirm) = (heartbeat(), confirm());
    for (number, expected) in [
        (json!(null), true),
        (json!(0), true),
        (json!(MAX), true),
        (json!(-1), false),
        (json!(1.5), false),
        (json!("1"), false),
    ] {
        assert_eq!(
            takes_heartbeat(&with(&heartbeat, "/figures/outbox_bytes", &number)),
            expected,
            "{number}"
        );
        assert_eq!(takes_confirm(&with(&confirm, "/figures/behind_ms", &number)), expected, "{number}");
    }
    assert!(takes_confirm(&with(&confirm, "/figures", &json!(null))));
    assert!(!takes_confirm(&with(&confirm, "/figures/stream_nodes", &json!(u64::MAX))));
}
