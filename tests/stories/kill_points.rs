//! A kill between every two steps of the protocol: the service dies exactly there, and is started again.
//!
//! The services are builds with the cargo feature `kill-points`; those that are released have nothing of it.

use crate::harness::{
    Demo, Replication, Service, assert_equal, assert_nothing_applied_twice, audit_writes, count, meanwhile,
};
use shared::config::Environment;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

const SIGABRT: i32 = 6;
/// More than the processor keeps in memory until a tick is complete.
const LARGE: i32 = 30_000;

fn directory(variable: &str) -> PathBuf {
    PathBuf::from(Environment::read().optional(variable).unwrap_or_else(|| panic!("{variable} is not set")))
}

type Which = fn(&mut Replication) -> &mut Service;

fn publisher(replication: &mut Replication) -> &mut Service {
    &mut replication.publisher
}

fn processor(replication: &mut Replication) -> &mut Service {
    &mut replication.processor
}

fn with_kill_points(name: &str) -> Replication {
    let binaries = directory("TEST_KILL_POINTS_DIR");
    let mut replication = Replication::prepare(name, &[]);
    replication.publisher.with_kill_points(&binaries);
    replication.processor.with_kill_points(&binaries);
    replication.start_services();
    replication
}

/// Aborts the service at this point, under load, and restarts it.
fn dies_at(point: &str, which: Which) {
    let mut replication = with_kill_points(&format!("dies_{point}"));
    let demo = Demo::add_users(&mut replication.source(), 10);
    replication.wait_until_caught_up();
    audit_writes(&mut replication.target());
    let mut client = replication.source();
    meanwhile([|| demo.move_money(&mut client)], || {
        let service = which(&mut replication);
        service.kill_at(point);
        let ended = service.wait_for_end();
        service.start();
        assert_eq!(ended.signal(), Some(SIGABRT), "it ended otherwise than at {point}");
    });
    replication.wait_until_caught_up();
    assert_equal(&replication);
    assert_nothing_applied_twice(&mut replication.target());
}

#[test]
fn a_publisher_that_dies_once_a_tick_is_stored_goes_on() {
    dies_at("tick_stored", publisher);
}

#[test]
fn a_publisher_that_dies_once_a_batch_is_published_goes_on() {
    dies_at("batch_published", publisher);
}

#[test]
fn a_publisher_that_dies_once_a_batch_is_acknowledged_goes_on() {
    dies_at("acknowledged", publisher);
}

#[test]
fn a_publisher_that_dies_once_its_progress_is_stored_goes_on() {
    dies_at("progress_stored", publisher);
}

#[test]
fn a_publisher_that_dies_once_the_target_has_confirmed_goes_on() {
    dies_at("confirmed", publisher);
}

#[test]
fn a_processor_that_dies_once_the_inbox_is_written_goes_on() {
    dies_at("inbox_written", processor);
}

#[test]
fn a_processor_that_dies_once_a_tick_is_applied_and_not_committed_goes_on() {
    dies_at("applied", processor);
}

#[test]
fn a_processor_that_dies_once_a_tick_is_committed_goes_on() {
    dies_at("committed", processor);
}

#[test]
fn a_processor_that_dies_once_messages_are_released_goes_on() {
    dies_at("messages_released", processor);
}

#[test]
fn a_processor_that_dies_once_it_has_confirmed_goes_on() {
    dies_at("confirm_sent", processor);
}

#[test]
fn a_processor_that_dies_between_storing_a_tick_and_applying_it_applies_it_from_the_inbox() {
    let mut replication = with_kill_points("dies_stored");
    let mut source = replication.source();
    source.batch_execute("insert into users (name, email) values ('1', '1@x'), ('2', '2@x')").unwrap();
    replication.wait_until_caught_up();
    replication.processor.kill_at("stored");
    // No order of these rows fits the target's unique values, so the quick way is refused.
    source
        .batch_execute(
            "begin; update users set email = 'moving' where name = '1'; update users set email = '1@x' where name = '2';
             update users set email = '2@x' where name = '1'; commit",
        )
        .unwrap();
    assert_eq!(replication.processor.wait_for_end().signal(), Some(SIGABRT));
    let mut target = replication.target();
    assert_eq!(count(&mut target, "select count(*) from inbox where not processed"), 3);
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
}

#[test]
fn a_processor_that_dies_in_the_middle_of_a_large_tick_goes_on() {
    let mut replication = with_kill_points("dies_large");
    let mut source = replication.source();
    audit_writes(&mut replication.target());
    replication.processor.kill_at("large_tick_half_applied");
    source
        .execute(
            "insert into users (name, email) select 'U' || i, i || '@x' from generate_series(1, $1::int) i",
            &[&LARGE],
        )
        .unwrap();
    assert_eq!(replication.processor.wait_for_end().signal(), Some(SIGABRT));
    let mut target = replication.target();
    let written: i64 = target.query_one("select count(*) from users", &[]).unwrap().get(0);
    assert_eq!(written, 0, "half of a tick is there");
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (usize::try_from(LARGE).unwrap(), 0));
    assert_nothing_applied_twice(&mut target);
}

#[test]
fn a_release_has_no_kill_points() {
    let contains = |variable: &str, service: &str| {
        let binary = std::fs::read(directory(variable).join(service)).unwrap();
        binary.windows(10).any(|window| window == b"KILL_POINT")
    };
    for service in ["outbox-publisher", "inbox-processor"] {
        assert!(
            contains("TEST_KILL_POINTS_DIR", service),
            "{service}: the search finds nothing where something is"
        );
        assert!(!contains("TEST_BIN_DIR", service), "{service} has kill points");
    }
}
