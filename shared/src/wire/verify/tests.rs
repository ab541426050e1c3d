//! Tests: messages of the verification survive the wire, within their bounds.

use super::super::encoding::FORMAT;
use super::*;

fn verify(message: Message) -> Verify {
    let shape = Shape {
        id: 1,
        schema: "public".to_owned(),
        table: "users".to_owned(),
        columns: vec!["id".to_owned()],
        key: vec!["id".to_owned()],
        types: vec!["integer".to_owned()],
        generated: vec![],
        key_collations: None,
    };
    Verify { format: FORMAT, source: "1/a".to_owned(), timeline: 1, id: Uuid::from_u128(1), shape, message }
}

fn compare(rows: Vec<KeyHash>) -> Message {
    let snapshot = Snapshot::try_from("1:1:".to_owned()).unwrap();
    let columns = vec!["id".to_owned()];
    Message::Compare(Compare { snapshot, tick: None, columns, range: None, rows })
}

fn survives(sent: &Verify) -> bool {
    Verify::decode(&sent.encode().unwrap()).is_ok_and(|read| read == *sent)
}

#[test]
fn a_question_survives_the_wire_within_its_bounds() {
    let row = |hash: &str| KeyHash("(1)".to_owned(), Some(hash.to_owned()));
    assert!(survives(&verify(compare(vec![row("0123456789abcdef"), KeyHash("(2)".to_owned(), None)]))));
    assert!(!survives(&verify(compare(vec![row(&"0".repeat(HASH_MAX + 1))]))));
    assert!(survives(&verify(compare(vec![row("0"); SLICE_ROWS_MAX]))));
    assert!(!survives(&verify(compare(vec![row("0"); SLICE_ROWS_MAX + 1]))));
    let mut of_ours = verify(compare(vec![]));
    of_ours.shape.schema = "replication".to_owned();
    assert!(!survives(&of_ours));
}

#[test]
fn texts_for_people_are_escaped_wherever_they_come_from() {
    let answer = Answer::Unknown("\u{1b}[2J".repeat(10_000));
    let verified = Verified {
        format: FORMAT,
        target: "2/b".to_owned(),
        source: "1/a".to_owned(),
        id: Uuid::from_u128(1),
        answer,
    };
    let read = Verified::decode(&verified.encode().unwrap()).unwrap();
    let Answer::Unknown(reason) = read.answer else { panic!("{read:?}") };
    assert!(!reason.contains('\u{1b}') && reason.len() < 10_000, "{reason}");
}
