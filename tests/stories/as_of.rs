//! What travels beside events: as of when the target shows its source, that the source is there, and which formats
//! the target reads.

use crate::harness::{Replication, count, wait_for, wait_for_health};
use postgres::Client;
use shared::wire::{Confirm, FORMAT, Heartbeat, confirm_subject, events_subject, heartbeat_subject};
use std::time::Duration;

/// The id of a transaction that did `work` in the source.
fn transaction(source: &mut Client, work: &str) -> i64 {
    let mut transaction = source.transaction().unwrap();
    transaction.batch_execute(work).unwrap();
    let id = transaction.query_one("select pg_current_xact_id()::text::bigint", &[]).unwrap().get(0);
    transaction.commit().unwrap();
    id
}

/// A replication that has carried its first transaction; its source and its target.
fn with_a_user(name: &str) -> (Replication, Client, Client) {
    let replication = Replication::start(name);
    let (mut source, target) = (replication.source(), replication.target());
    transaction(&mut source, "insert into users (name, email) values ('Ann', 'ann@x')");
    replication.wait_until_caught_up();
    (replication, source, target)
}

/// Whether the target shows a transaction of the source, as far as it knows.
fn is_shown(target: &mut Client, transaction: i64) -> bool {
    let shown = "select coalesce((select pg_visible_in_snapshot($1::bigint::text::xid8, snapshot) from replication.as_of), false)";
    target.query_one(shown, &[&transaction]).unwrap().get(0)
}

#[test]
fn the_target_knows_which_transactions_of_the_source_it_shows() {
    let replication = Replication::start("as_of");
    let (mut source, mut target) = (replication.source(), replication.target());
    let mut other = replication.source();
    let mut open = other.transaction().unwrap();
    open.batch_execute("insert into users (name, email) values ('Late', 'late@x')").unwrap();
    let late = open.query_one("select pg_current_xact_id()::text::bigint", &[]).unwrap().get(0);
    let first = transaction(&mut source, "insert into users (name, email) values ('Ann', 'ann@x')");
    replication.wait_until_caught_up();
    // At once, with the tick; no heartbeat is needed.
    assert!(is_shown(&mut target, first) && !is_shown(&mut target, late));
    // Nothing is captured of it: heartbeats tell of it.
    let elsewhere = transaction(&mut source, "create table elsewhere (id int)");
    wait_for("the target shows that nothing was captured since", || {
        is_shown(&mut target, elsewhere).then_some(())
    });
    assert!(!is_shown(&mut target, late));
    let moved = "select count(*) from replication.as_of a, replication.applied_tick t
                 where t.tick = a.tick and a.source_time > t.taken_at and a.source_trouble is null
                   and a.behind between interval '0' and interval '1 minute'";
    assert_eq!(count(&mut target, moved), 1);
    open.commit().unwrap();
    wait_for("the last transaction is shown", || is_shown(&mut target, late).then_some(()));
    assert_eq!(count(&mut target, "select count(*) from users where name = 'Late'"), 1);
    wait_for("the source knows how its target is", || {
        let healthy = "select count(*) from replication.heard_target where trouble is null and events >= 2";
        (count(&mut source, healthy) == 1).then_some(())
    });
}

#[test]
fn a_source_that_is_gone_is_told_from_one_in_which_nothing_happens() {
    let (mut replication, _, mut target) = with_a_user("gone");
    let is_heard = "select count(*) from replication.heard_source where looked_at is not null";
    wait_for("a heartbeat", || (count(&mut target, is_heard) == 1).then_some(()));
    replication.publisher.kill();
    let before = "select coalesce(max(looked_at), 'epoch') from replication.heard_source";
    let before: std::time::SystemTime = target.query_one(before, &[]).unwrap().get(0);
    // Also by a processor that is started meanwhile.
    replication.processor.kill();
    replication.processor.start();
    wait_for_health(&replication.processor, "the source was not heard for");
    // What nobody said is not claimed.
    let behind = "select count(*) from replication.as_of where behind > interval '25 seconds'";
    assert_eq!(count(&mut target, behind), 1);
    let later = target
        .query_one("select count(*) from replication.as_of where source_time > $1", &[&before])
        .unwrap();
    assert_eq!(later.get::<_, i64>(0), 0);
    replication.publisher.start();
    replication.processor.wait_until_healthy();
}

/// A heartbeat, or what claims to be one, is believed only from the source that the target follows, and for the tick
/// that it has applied.
#[test]
fn a_heartbeat_of_another_source_or_tick_moves_nothing() {
    let (mut replication, _, mut target) = with_a_user("heartbeats");
    let nats = replication.nats_b();
    let heartbeats = nats.subscribe(&heartbeat_subject(replication.name())).unwrap();
    let own = wait_for("a heartbeat of an idle source", || {
        let message = heartbeats.recv_timeout(Duration::from_secs(30)).unwrap();
        Some(Heartbeat::decode(&message.data).unwrap()).filter(|heartbeat| heartbeat.as_of.is_some())
    });
    replication.publisher.kill();
    let future = i64::MAX / 4;
    let forged = Heartbeat { as_of: Some(format!("{future}:{future}:").try_into().unwrap()), ..own.clone() };
    let another_source = Heartbeat { source: "1/other".to_owned(), ..forged.clone() };
    let mut another_tick = forged.clone();
    another_tick.tick.id = uuid::Uuid::new_v4();
    another_tick.status.version = "forged".to_owned();
    for heartbeat in [&another_source, &another_tick] {
        nats.publish(&heartbeat_subject(replication.name()), None, heartbeat.encode().unwrap()).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    }
    nats.publish(&heartbeat_subject(replication.name()), None, b"{\"format\": 1}".to_vec()).unwrap();
    wait_for("the heartbeat of another tick is heard", || {
        (count(&mut target, "select count(*) from replication.heard_source where version = 'forged'") == 1)
            .then_some(())
    });
    assert!(!is_shown(&mut target, future - 1));
    wait_for("the one that cannot be read is noted", || {
        replication.processor.log().contains("ignoring a heartbeat: ").then_some(())
    });
}

#[test]
fn a_message_of_a_format_that_is_not_read_yet_is_left_to_the_outbox() {
    let (replication, mut source, mut target) = with_a_user("newer_format");
    let nats = replication.nats_b();
    let newer = format!("{{\"format\": {}, \"of\": \"another shape\"}}", FORMAT + 1);
    nats.publish(&events_subject(replication.name()), None, newer.into_bytes()).unwrap();
    wait_for_health(&replication.processor, "upgrade the older one of outbox-publisher and inbox-processor");
    transaction(&mut source, "insert into users (name, email) values ('Ben', 'ben@x')");
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select count(*) from users"), 2);
    assert_eq!(count(&mut target, "select count(*) from replication.quarantine"), 0);
}

#[test]
fn nothing_is_published_that_the_target_does_not_read() {
    let (mut replication, mut source, mut target) = with_a_user("no_common_format");
    let nats = replication.nats_b();
    let confirms = nats.subscribe(&confirm_subject(replication.name())).unwrap();
    let last = Confirm::decode(&confirms.recv_timeout(Duration::from_secs(30)).unwrap().data).unwrap();
    replication.processor.kill();
    let mut counter = last.counter + 100;
    wait_for("publishing is paused", || {
        counter += 1;
        let newer = Confirm { reads: vec![FORMAT + 1], counter, ..last.clone() };
        nats.publish(&confirm_subject(replication.name()), None, newer.encode().unwrap()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        replication.publisher.health().contains("reads no format of messages").then_some(())
    });
    transaction(&mut source, "insert into users (name, email) values ('Ben', 'ben@x')");
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select count(*) from users"), 2);
}
