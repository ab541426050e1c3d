//! What an operator meets: settings, stops, and what the services say.

use crate::harness::{Replication, assert_equal, wait_for};

#[test]
fn a_bad_setting_stops_the_service_at_start_with_what_is_allowed() {
    let replication = Replication::prepare("bad_setting", &[]);
    for (name, value, allowed) in [
        ("BATCH_SIZE", "0", "it takes a whole number from 1 to 10000"),
        ("BATCH_SIZE", "3000", "it takes at most BATCH_SIZE_MAX, which is 2000"),
        ("GENERATION_INTERVAL", "0", "it takes seconds from 0.01 to 3600, fractions included"),
        ("POLL_INTERVAL", "soon", "it takes seconds from 0.01 to 60, fractions included"),
        ("SOURCE_STATEMENT_TIMEOUT", "0.5", "it takes a whole number from 1 to 3600"),
        ("NATS_URL", "http://127.0.0.1", "it takes nats://host:port"),
        ("NATS_URL", "nats://u:S3cret", "it takes nats://host:port"),
        ("NATS_URL", "nats://127.0.0.1:4222/?token=S3cret", "nothing behind the port"),
        ("NATS_PASSWORD", "S3\ncret", "it has a control character"),
        ("DATABASE_URL", "127.0.0.1", "DATABASE_URL is not valid"),
        ("DATABASE_URL", "postgres://u:S3cret@x@127.0.0.1/a", "an @ is written %40"),
        ("DATABASE_URL", "postgres://u:S3cret@127.0.0.1/a?sslmode=verify-full", "sslmode=verify-full"),
        ("RUST_LOG", "verbose", "it takes one of off, error, warn, info, debug, trace"),
        ("LOG_FORMAT", "xml", "it takes one of text, logfmt, json"),
    ] {
        let mut service = match name {
            "GENERATION_INTERVAL" => replication.generator.twin(),
            _ => replication.publisher.twin(),
        };
        service.set(name, value);
        service.start();
        assert_eq!(service.wait_for_end().code(), Some(2), "{name}={value}");
        let log = service.log();
        assert!(log.contains("cannot start") && log.contains(name) && log.contains(allowed), "{log}");
        assert!(!log.contains("S3") && !log.contains("cret@"), "{log}");
    }
    replication.without_stream();
}

#[test]
fn secrets_are_read_from_files_and_a_file_that_is_missing_is_named() {
    let mut replication = Replication::prepare("secrets", &[]);
    for service in [&mut replication.publisher, &mut replication.processor] {
        for name in ["DATABASE_URL", "NATS_URL", "NATS_PASSWORD"] {
            service.set_in_file(name);
        }
    }
    replication.start_services();
    replication.source().execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    assert_eq!(replication.publisher.stop().code(), Some(0));
    replication.publisher.set("NATS_PASSWORD_FILE", "/nowhere/password");
    replication.publisher.start();
    assert_eq!(replication.publisher.wait_for_end().code(), Some(2));
    let log = replication.publisher.log();
    let named = "cannot start: NATS_PASSWORD_FILE=/nowhere/password cannot be used: No such file";
    assert!(log.contains(named), "{log}");
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
        replication.stop_services();
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

/// Log rotation and process managers send these. By default each ends a process.
#[test]
fn signals_that_ask_for_nothing_end_no_service() {
    let mut replication = Replication::start("signals");
    for signal in ["USR1", "USR2"] {
        replication.publisher.signal(signal);
        replication.processor.signal(signal);
    }
    replication.source().execute("insert into users (name, email) values ('S', 's@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    replication.publisher.signal("HUP");
    assert_eq!(replication.publisher.wait_for_end().code(), Some(0));
    assert_eq!(replication.processor.stop().code(), Some(0));
}
