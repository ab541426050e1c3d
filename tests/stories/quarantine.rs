//! Messages that cannot be decoded: counted, kept, and in nobody's way.

use crate::harness::{Replication, assert_equal, count, wait_for};

#[test]
fn what_cannot_be_a_message_of_ours_is_set_aside_and_stops_nothing() {
    let replication = Replication::start("garbage");
    let nats = replication.nats_b();
    let subject = shared::wire::events_subject(replication.name());
    for garbage in [&b"\xff\x00 not json"[..], b"{}", b"{\"format\": \"x\"}"] {
        nats.publish(&subject, None, garbage.to_vec()).unwrap();
    }
    replication.source().execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    let rows = replication
        .target()
        .query("select reason, payload from replication.quarantine order by id", &[])
        .unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows[2].get::<_, &str>(0).contains("invalid type"), "{:?}", rows[2].get::<_, &str>(0));
    assert_eq!(rows[0].get::<_, &[u8]>(1), b"\xff\x00 not json");
}

#[test]
fn quarantine_keeps_the_last_messages_the_beginning_of_long_ones_and_counts_all() {
    const FLOOD: usize = 1_500;
    let replication = Replication::start("flood");
    let nats = replication.nats_b();
    let subject = shared::wire::events_subject(replication.name());
    let mut target = replication.target();
    for number in 0..FLOOD {
        nats.publish(&subject, None, format!("garbage {number}").into_bytes()).unwrap();
    }
    // As long as NATS lets through, compressed to a size that cannot be, and with a reason that quotes what
    // PostgreSQL has no text for.
    let long = vec![b'x'; 7 * 1024 * 1024];
    let bomb = [&b"LZ4\0"[..], &u32::MAX.to_le_bytes(), b"x"].concat();
    let unprintable = br#"{"format": 1, "\u0000": 1, "events": [{"operation": "\u0000"}]}"#;
    for odd in [&long[..], &bomb, unprintable] {
        nats.publish(&subject, None, odd.to_vec()).unwrap();
    }
    replication.source().execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    let all = i64::try_from(FLOOD + 3).unwrap();
    wait_for("all of it is counted", || {
        (count(&mut target, "select messages from replication.quarantine_status") == all).then_some(())
    });
    let row = target.query_one("select unseen, kept from replication.quarantine_status", &[]).unwrap();
    // Of those that come together, some are only counted.
    let kept: i64 = row.get(1);
    assert!(row.get::<_, i64>(0) == all && (100..=1000).contains(&kept), "{kept}");
    let longest = "select max(octet_length(payload))::bigint from replication.quarantine";
    assert_eq!(count(&mut target, longest), 65536);
    assert_eq!(count(&mut target, "select max(bytes) from replication.quarantine"), 7 * 1024 * 1024);
    assert_eq!(count(&mut target, "select replication.quarantine_acknowledge()"), all);
    assert_eq!(count(&mut target, "select replication.quarantine_acknowledge()"), 0);
    assert_eq!(count(&mut target, "select unseen from replication.quarantine_status"), 0);
}

#[test]
fn what_is_in_quarantine_counts_until_somebody_has_looked() {
    let replication = Replication::start("acknowledged");
    let subject = shared::wire::events_subject(replication.name());
    replication.nats_b().publish(&subject, None, b"garbage".to_vec()).unwrap();
    let mut target = replication.target();
    let unseen = "select count(*) from replication.quarantine
                  where id > coalesce((select max(up_to_id) from replication.quarantine_seen), 0)";
    wait_for("the message is set aside", || (count(&mut target, unseen) == 1).then_some(()));
    assert_eq!(count(&mut target, "select replication.quarantine_acknowledge()"), 1);
    assert_eq!(count(&mut target, unseen), 0);
}
