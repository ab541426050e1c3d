use super::super::encoding::{FORMAT, PACKED};
use super::super::shape::{COLUMNS_MAX, KEY_MAX};
use super::*;

fn batch() -> Batch {
    Batch {
        format: FORMAT,
        source: Source { id: "7/transactions".to_owned(), timeline: 1 },
        tick: TickRef { number: 7, id: Uuid::from_u128(7) },
        previous_id: Uuid::from_u128(6),
        first: 1,
        total: 2,
        taken_at_us: 1_500_000,
        shapes: vec![Shape {
            id: 3,
            schema: "public".to_owned(),
            table: "users".to_owned(),
            columns: vec!["id".to_owned(), "name".to_owned()],
            key: vec!["id".to_owned()],
            types: vec!["bigint".to_owned(), "text".to_owned()],
            generated: vec![],
            key_collations: None,
        }],
        events: vec![Event {
            event_id: Uuid::from_u128(9),
            txid: 11,
            shape: 3,
            operation: Operation::Insert,
            key: Some("(1)".to_owned()),
            row: Some("(1,\"O'Neil, \"\"Pat\"\"\")".to_owned()),
            moved_to: None,
        }],
        skipped: None,
        snapshot: None,
    }
}

#[test]
fn a_batch_survives_the_wire() {
    let snapshot = Some(Snapshot::try_from("10:12:10".to_owned()).unwrap());
    for sent in [batch(), Batch { snapshot, ..batch() }] {
        assert_eq!(Batch::decode(&sent.encode().unwrap()).unwrap(), sent);
    }
}

#[test]
fn an_event_that_is_skipped_keeps_its_place() {
    let skipped = Some(Skipped { event_id: Uuid::from_u128(9), table: "public.users".to_owned() });
    let sent = Batch { shapes: vec![], events: vec![], first: 2, skipped: skipped.clone(), ..batch() };
    let received = Batch::decode(&sent.encode().unwrap()).unwrap();
    assert_eq!(received, sent);
    assert!(received.last() == 2 && received.end().is_complete());
    // Not beside others, and no batch without any.
    assert!(Batch::decode(&forged(&Batch { skipped, ..batch() })).is_err());
    assert!(!String::from_utf8(batch().encode().unwrap()).unwrap().contains("skipped"));
}

#[test]
fn a_large_batch_is_compressed_and_a_broken_one_is_refused() {
    let mut sent = batch();
    sent.total = 100;
    sent.events = vec![sent.events[0].clone(); 100];
    let packed = sent.encode().unwrap();
    assert!(packed.starts_with(PACKED) && packed.len() < 2000, "{}", packed.len());
    assert_eq!(Batch::decode(&packed).unwrap(), sent);
    assert!(Batch::decode(&packed[..packed.len() - 1]).is_err());
    assert!(Batch::decode(&[PACKED, &[0xff; 20]].concat()).is_err());
    assert!(Batch::decode(PACKED).is_err());
}

#[test]
fn another_format_is_refused_before_the_rest_is_read() {
    let error = Batch::decode(br#"{"format": 2, "tick": "who knows"}"#).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "the message has format 2, this program reads format 1");
}

/// As anybody can make it: what [`Batch::encode`] refuses, too.
fn forged(batch: &Batch) -> Vec<u8> {
    pack(serde_json::to_vec(batch).unwrap()).unwrap()
}

#[test]
fn a_batch_that_cannot_be_is_neither_made_nor_read() {
    let wrong = |change: &dyn Fn(&mut Batch)| {
        let mut batch = batch();
        change(&mut batch);
        let error = format!("{:#}", Batch::decode(&forged(&batch)).unwrap_err());
        assert!(batch.encode().unwrap_err().is::<Unreadable>(), "{error}");
        assert!(error.len() < 500, "{error}");
    };
    wrong(&|batch| batch.first = 3);
    wrong(&|batch| batch.events.clear());
    wrong(&|batch| batch.events[0].shape = 4);
    wrong(&|batch| batch.events[0].key = None);
    wrong(&|batch| batch.events[0].operation = Operation::Truncate);
    wrong(&|batch| batch.shapes.push(batch.shapes[0].clone()));
    wrong(&|batch| batch.shapes[0].schema = "replication".to_owned());
    wrong(&|batch| batch.shapes[0].columns[1] = "id".to_owned());
    wrong(&|batch| batch.source.id = "x".repeat(300));
    wrong(&|batch| batch.source.id.clear());
    // The view of the inbox takes the brackets off.
    for text in ["", "(", "x", "1)", "(1", ")("] {
        wrong(&|batch| batch.events[0].key = Some(text.to_owned()));
        wrong(&|batch| batch.events[0].row = Some(text.to_owned()));
        wrong(&|batch| batch.events[0].moved_to = Some(text.to_owned()));
    }
    wrong(&|batch| {
        batch.events.clear();
        let table = "t".repeat(TABLE_BYTES_MAX + 1);
        batch.skipped = Some(Skipped { event_id: Uuid::from_u128(9), table });
    });
}

#[test]
fn what_postgresql_has_no_text_for_is_refused_wherever_it_is() {
    let all: [fn(&mut Batch, String); 8] = [
        |batch, text| batch.source.id = text,
        |batch, text| batch.shapes[0].table = text,
        |batch, text| batch.shapes[0].columns[1] = text,
        |batch, text| batch.shapes[0].types[1] = text,
        |batch, text| batch.shapes[0].generated = vec![text],
        |batch, text| batch.shapes[0].key_collations = Some(vec![text]),
        |batch, text| batch.events[0].key = Some(text),
        |batch, text| batch.events[0].row = Some(text),
    ];
    for change in all {
        let mut nul = batch();
        change(&mut nul, "(a\0)".to_owned());
        assert!(Batch::decode(&forged(&nul)).is_err(), "{nul:?}");
        let mut about_nul = batch();
        change(&mut about_nul, r"(a\u0000)".to_owned());
        assert_eq!(Batch::decode(&about_nul.encode().unwrap()).unwrap(), about_nul);
    }
    // What this program does not know, a view of the inbox reads, too.
    let json = String::from_utf8(batch().encode().unwrap()).unwrap();
    let with = |field: &str| Batch::from_json(&json.replacen('{', &format!("{{\"later\":{field},"), 1));
    assert_eq!(with(r#"["x", 1e400, null]"#).unwrap(), batch());
    for field in [r#""\u0000""#, r#""\ud800""#, &("[".repeat(200_000) + &"]".repeat(200_000))] {
        assert!(with(field).is_err());
    }
    let urn =
        json.replace("00000000-0000-0000-0000-000000000009", "urn:uuid:00000000-0000-0000-0000-000000000009");
    assert!(Batch::from_json(&urn).is_err());
    assert!(Batch::from_json(&json.replacen("\"first\"", "\"first\":1,\"first\"", 1)).is_err());
}

#[test]
fn lists_are_bounded_while_they_are_read() {
    let (mut columns, mut key, mut events, mut names) = (batch(), batch(), batch(), batch());
    columns.shapes[0].columns = (0..=COLUMNS_MAX).map(|number| number.to_string()).collect();
    key.shapes[0].columns = (0..=KEY_MAX).map(|number| number.to_string()).collect();
    key.shapes[0].key = key.shapes[0].columns.clone();
    events.events = vec![events.events[0].clone(); EVENTS_MAX + 1];
    events.total = i64::MAX - 1;
    names.shapes[0].types = vec![String::new(); COLUMNS_MAX];
    names.shapes = (0..320).map(|id| Shape { id, ..names.shapes[0].clone() }).collect();
    for wrong in [columns, key, events, names] {
        let error = format!("{:#}", Batch::decode(&forged(&wrong)).unwrap_err());
        assert!(error.contains("a list has more than"), "{error}");
        assert!(wrong.encode().unwrap_err().is::<Unreadable>());
    }
}
