//! What an operator meets: settings, stops, and what the services say.

use crate::harness::{Replication, assert_equal, count, wait_for};

#[test]
fn a_bad_setting_stops_the_service_at_start_with_what_is_allowed() {
    for (name, value, allowed) in [
        ("BATCH_SIZE", "0", "it takes a whole number from 1 to 10000"),
        ("BATCH_SIZE", "3000", "it takes at most BATCH_SIZE_MAX, which is 2000"),
        ("GENERATION_INTERVAL", "0", "it takes seconds from 0.01 to 3600, fractions included"),
        ("POLL_INTERVAL", "soon", "it takes seconds from 0.01 to 60, fractions included"),
        ("NATS_URL", "http://127.0.0.1", "it takes nats://host:port"),
        ("DATABASE_URL", "127.0.0.1", "DATABASE_URL cannot be read"),
    ] {
        let mut replication = Replication::prepare("bad_setting", &[(name, value)]);
        let service = match name {
            "GENERATION_INTERVAL" => &mut replication.generator,
            _ => &mut replication.publisher,
        };
        service.start();
        assert_eq!(service.wait_for_end().code(), Some(2), "{name}={value}");
        let log = service.log();
        assert!(log.contains("cannot start") && log.contains(name) && log.contains(allowed), "{log}");
        replication.without_stream();
    }
}

#[test]
fn the_generator_goes_on_after_a_kill_and_writes_believable_data() {
    let mut replication = Replication::start_with("generator", &[("GENERATION_INTERVAL", "0.01")]);
    let mut source = replication.source();
    let mut target = 0;
    for killed in [true, false] {
        replication.generator.start();
        replication.generator.wait_until_healthy();
        target += 40;
        wait_for("more users have signed up", || {
            let users: i64 = source.query_one("select count(*) from users", &[]).unwrap().get(0);
            (users >= target).then_some(())
        });
        if killed {
            replication.generator.kill();
        } else {
            assert_eq!(replication.generator.stop().code(), Some(0));
        }
    }
    replication.wait_until_caught_up();
    let (users, payments) = assert_equal(&replication);
    println!("the generator made {users} users and {payments} payments");
    assert!((2..8).contains(&(payments / users)), "about four payments come with a user");
}

#[test]
fn a_stop_is_clean_and_a_start_goes_on() {
    let mut replication = Replication::start("clean_stop");
    let mut source = replication.source();
    for round in 0..2 {
        source.execute("insert into users (name, email) values ('N', $1)", &[&format!("{round}@x")]).unwrap();
        replication.wait_until_caught_up();
        assert_eq!(replication.publisher.stop().code(), Some(0));
        assert_eq!(replication.processor.stop().code(), Some(0));
        source
            .execute("insert into users (name, email) values ('N', $1)", &[&format!("{round}-down@x")])
            .unwrap();
        replication.publisher.start();
        replication.processor.start();
    }
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (4, 0));
    let logs = replication.publisher.log() + &replication.processor.log();
    assert!(!logs.contains("ERROR") && !logs.contains("did not stop in time"), "{logs}");
}

#[test]
fn an_event_that_the_target_cannot_take_holds_and_goes_on_when_it_is_mended() {
    let replication = Replication::start("held");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users rename to users_elsewhere").unwrap();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    let error: String = wait_for("the target says that it is held", || {
        let row = target.query_opt("select held_error from replication.target_status", &[]).unwrap();
        row.and_then(|row| row.get(0))
    });
    assert!(error.contains("the target has no table \"public\".\"users\""), "{error}");
    target.batch_execute("alter table users_elsewhere rename to users").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    let held: Option<String> =
        target.query_one("select held_error from replication.target_status", &[]).unwrap().get(0);
    assert_eq!(held, None);
}

#[test]
fn what_cannot_be_a_message_of_ours_is_set_aside_and_stops_nothing() {
    let replication = Replication::start("garbage");
    let nats = replication.nats_b();
    let subject = shared::wire::events_subject(replication.name());
    for garbage in [&b"\xff\x00 not json"[..], b"{}", b"{\"format\": 99}"] {
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
    assert!(rows[2].get::<_, &str>(0).contains("format 99"));
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
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (all, 1000));
    let longest = "select max(octet_length(payload))::bigint from replication.quarantine";
    assert_eq!(count(&mut target, longest), 65536);
    assert_eq!(count(&mut target, "select max(bytes) from replication.quarantine"), 7 * 1024 * 1024);
    assert_eq!(count(&mut target, "select replication.quarantine_acknowledge()"), all);
    assert_eq!(count(&mut target, "select replication.quarantine_acknowledge()"), 0);
    assert_eq!(count(&mut target, "select unseen from replication.quarantine_status"), 0);
}
