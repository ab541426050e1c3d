//! Messages as somebody makes them who may publish and means no good, from genuine ones.

use serde_json::{Value, json};
use uuid::Uuid;

/// The edges of every number that a message has.
const NUMBERS: [fn() -> Value; 9] = [
    || json!(0),
    || json!(1),
    || json!(-1),
    || json!(i32::MIN),
    || json!(i32::MAX),
    || json!(i64::MIN),
    || json!(i64::MAX),
    || json!(u64::MAX),
    || json!(1.5),
];

/// What a text can have that steers a terminal, begins a line of a log, or that PostgreSQL has no text for.
const TEXTS: [fn() -> Value; 5] = [
    || json!(""),
    || json!("(a\0b)"),
    || json!("(forged)\n2026-01-01T00:00:00.000Z INFO  inbox_processor: all is well)"),
    || json!("(\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m)"),
    || json!(format!("({})", "x".repeat(100_000))),
];

/// The message with one value changed, for every value in it and each of its edges.
pub(super) fn changed_by_one_value(message: &Value) -> Vec<Value> {
    let mut changed = Vec::new();
    for place in places(message) {
        let value = message.pointer(&place).unwrap();
        let mut others: Vec<Value> = match value {
            Value::Number(_) => NUMBERS.map(|number| number()).to_vec(),
            Value::String(_) => TEXTS.map(|text| text()).to_vec(),
            Value::Array(items) => vec![json!([]), json!([items.as_slice(), items.as_slice()].concat())],
            _ => vec![],
        };
        others.extend([Value::Null, json!({}), json!("other")]);
        changed.extend(others.into_iter().map(|other| with(message, &place, other)));
    }
    changed
}

/// The message with another value at a place.
pub(super) fn with(message: &Value, place: &str, value: Value) -> Value {
    let mut changed = message.clone();
    *changed.pointer_mut(place).unwrap_or_else(|| panic!("{place} in {message}")) = value;
    changed
}

/// Where a message has values.
fn places(message: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match message {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().take(1).map(|item| ("0".to_owned(), item)).collect(),
        _ => vec![],
    };
    let mut places = Vec::new();
    for (name, value) in inner {
        places.push(format!("/{name}"));
        places.extend(places_within(&name, value));
    }
    places
}

fn places_within(name: &str, value: &Value) -> Vec<String> {
    places(value).into_iter().map(|place| format!("/{name}{place}")).collect()
}

/// The events of `last` once more, in the next tick.
pub(super) fn next_tick(last: &Value) -> Value {
    let mut next = with(last, "/tick/id", json!(Uuid::new_v4()));
    next["previous_id"] = last["tick"]["id"].clone();
    next["tick"]["number"] = json!(last["tick"]["number"].as_i64().unwrap() + 1);
    next["taken_at_us"] = json!(1);
    next
}

/// Batches that are no batch of a publisher, each in the place of the tick behind `last`, which nothing else of
/// them would keep out.
pub(super) fn next_ticks_that_cannot_be(last: &Value) -> Vec<Vec<u8>> {
    let next = next_tick(last);
    let names = |count: usize| -> Value { (0..count).map(|number| number.to_string()).collect() };
    let column = next["shapes"][0]["columns"][0].clone();
    let mut forged: Vec<Value> = Vec::new();
    let mut change = |place: &str, value: Value| forged.push(with(&next, place, value));
    for schema in [
        "replication",
        "pg_catalog",
        "information_schema",
        "pg_toast",
        "pg_temp",
        "pg_temp_3",
        "pg_toast_temp_1",
    ] {
        change("/shapes/0/schema", json!(schema));
    }
    for time in [i64::MIN, i64::MAX, 253_402_300_800_000_000] {
        change("/taken_at_us", json!(time));
    }
    for text in [
        "/shapes/0/schema",
        "/shapes/0/table",
        "/shapes/0/columns/0",
        "/shapes/0/types/0",
        "/source/id",
        "/events/0/row",
    ] {
        change(text, json!("(a\0)"));
    }
    change("/shapes/0/schema", json!(""));
    change("/shapes/0/table", json!(""));
    change("/shapes/0/table", json!("t".repeat(300)));
    change("/shapes/0/columns/0", json!(""));
    change("/shapes/0/columns/1", column.clone());
    change("/shapes/0/columns", names(1601));
    change("/shapes/0/key", json!([]));
    change("/shapes/0/key", json!(["number"]));
    change("/shapes/0/key", json!([column, column]));
    change("/shapes/0/key", names(33));
    change("/shapes/0/types", names(1601));
    change("/shapes/0/id", json!(4711));
    change("/shapes", json!([next["shapes"][0], next["shapes"][0]]));
    change("/events", json!([]));
    change("/events", vec![next["events"][0].clone(); 10_001].into());
    change("/events/0/row", json!("x"));
    change("/events/0/key", json!(""));
    change("/events/0/key", Value::Null);
    change("/events/0/event_id", json!(Uuid::new_v4().urn().to_string()));
    for number in [i64::MIN, -1, 0, 2, i64::MAX] {
        change("/first", json!(number));
    }
    for total in [i64::MIN, -1, 0, i64::MAX] {
        change("/total", json!(total));
    }
    let mut at_the_end = with(&next, "/first", json!(i64::MAX));
    at_the_end["total"] = json!(i64::MAX);
    forged.push(at_the_end);
    let mut bytes: Vec<Vec<u8>> = forged.iter().map(|batch| batch.to_string().into_bytes()).collect();
    let text = next.to_string();
    for field in
        [r#""\u0000""#.to_owned(), r#""\udc00""#.to_owned(), "[".repeat(100_000) + &"]".repeat(100_000)]
    {
        bytes.push(text.replacen('{', &format!("{{\"later\":{field},"), 1).into_bytes());
    }
    bytes.push(text.replacen("\"first\"", "\"first\":1,\"first\"", 1).into_bytes());
    bytes.push([b"LZ4\0", &134_217_728_u32.to_le_bytes()[..], text.as_bytes()].concat());
    bytes
}
