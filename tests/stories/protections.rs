//! What is there in case something else fails: each story turns red when one protection is taken out, which
//! `./test-replication.sh --mutations` does.

use crate::harness::{
    Demo, PrivateServer, Replication, assert_equal, assert_nothing_applied_twice, audit_writes, count,
    messages, record_no_snapshots, wait_for, wait_until_blocked, wait_until_published,
};
use shared::wire::{Batch, events_subject};
use std::time::{Duration, Instant};

/// The position and what belongs to it are set back, as if restored by hand, and `processed_events` is not.
#[test]
fn events_that_were_processed_have_no_effect_again_though_the_position_lies() {
    let mut replication = Replication::start("lying_position");
    let (mut source, mut target) = (replication.source(), replication.target());
    let demo = Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    audit_writes(&mut target);
    let before = count(&mut target, "select applied_tick from replication.position");
    for _ in 0..20 {
        demo.move_money(&mut source);
    }
    replication.wait_until_caught_up();
    let writes = count(&mut target, "select count(*) from audit");
    replication.processor.kill();
    target
        .batch_execute(&format!(
            "begin;
             update replication.position p set received_tick = a.tick, received_id = a.tick_id,
                 received_ordinal = a.events, received_total = a.events, applied_tick = a.tick, applied_id = a.tick_id
             from replication.applied_tick a where a.tick = {before};
             delete from replication.inbox_batch where tick > {before};
             delete from replication.applied_tick where tick > {before};
             commit"
        ))
        .unwrap();
    replication.processor.start();
    wait_for("the target has received it all again", || {
        let again = count(&mut target, "select count(*) from replication.applied_tick");
        let position = count(&mut target, "select applied_tick from replication.position");
        let last = count(&mut source, "select max(tick) from replication.tick");
        (again > 0 && position == last).then_some(())
    });
    replication.wait_until_caught_up();
    assert_equal(&replication);
    assert_nothing_applied_twice(&mut target);
    assert_eq!(count(&mut target, "select count(*) from audit"), writes, "events had an effect again");
    let log = replication.processor.log();
    assert!(log.contains("were processed before although the position did not say so"), "{log}");
}

/// The server flushes nothing by itself: only what waits for the disk is there after its crash.
#[test]
fn a_tick_that_the_target_has_outlives_the_crash_of_the_source() {
    let server = PrivateServer::create("tick_outlives", 30, &["wal_writer_delay=10s", "max_connections=40"]);
    let replication = Replication::start_from("tick_outlives", &server);
    let mut source = replication.source();
    Demo::add_users(&mut source, 2);
    replication.wait_until_caught_up();
    let mut target = replication.target();
    for round in 1..=3 {
        source.execute("insert into users (name, email) values ('N', $1)", &[&format!("{round}@x")]).unwrap();
        wait_for("it is in the target", || {
            (count(&mut target, "select count(*) from users") == 2 + round).then_some(())
        });
        server.kill();
        server.start();
        source = wait_for("the source is back", || replication.source_door().connect());
    }
    source.execute("update payments set amount = 7", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (5, 2));
}

#[test]
fn a_message_is_released_only_once_its_transaction_is_committed() {
    let replication = Replication::start("released_late");
    let (mut source, mut target, mut other) =
        (replication.source(), replication.target(), replication.target());
    let nats = replication.nats_b();
    let messages = || messages(&nats, replication.name());
    let mut lock = other.transaction().unwrap();
    lock.batch_execute("lock table users in access exclusive mode").unwrap();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    wait_for("the processor waits for the table", || {
        let waiting = "select count(*) from pg_locks where not granted and relation = 'users'::regclass";
        (count(&mut target, waiting) > 0).then_some(())
    });
    // For longer than it takes until what can be released is released.
    for _ in 0..30 {
        assert_eq!(messages(), 1, "a message is gone from the stream whose transaction is not committed");
        std::thread::sleep(Duration::from_millis(100));
    }
    lock.commit().unwrap();
    replication.wait_until_caught_up();
    wait_for("the message is released", || (messages() == 0).then_some(()));
}

#[test]
fn what_is_settled_while_the_target_is_held_is_released_and_not_set_aside_twice() {
    let mut replication = Replication::start("settled_in_hold");
    let (mut source, mut target) = (replication.source(), replication.target());
    let nats = replication.nats_b();
    replication.processor.kill();
    target.batch_execute("alter table users rename to users_elsewhere").unwrap();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    wait_until_published(&mut source);
    for _ in 0..3 {
        nats.publish(&events_subject(replication.name()), None, b"garbage".to_vec()).unwrap();
    }
    wait_for("all of it is in the stream", || (messages(&nats, replication.name()) == 4).then_some(()));
    replication.processor.start();
    wait_until_blocked(&mut target);
    let begun = Instant::now();
    wait_for("the stream is empty", || {
        let kept = messages(&nats, replication.name());
        assert!(begun.elapsed() < Duration::from_secs(15), "the stream holds {kept} messages");
        (kept == 0).then_some(())
    });
    assert_eq!(count(&mut target, "select count(held_error) from replication.target_status"), 1);
    target.batch_execute("alter table users_elsewhere rename to users").unwrap();
    source.execute("insert into users (name, email) values ('N', '2@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
    assert_eq!(count(&mut target, "select count(*) from replication.quarantine"), 3);
}

#[test]
fn events_of_a_transaction_stay_together_behind_those_that_it_waited_for() {
    let mut replication = Replication::start("together");
    let nats = replication.nats_b();
    let (mut one, mut two) = (replication.source(), replication.source());
    let demo = Demo::add_users(&mut one, 1);
    replication.wait_until_caught_up();
    let wire = nats.subscribe(&events_subject(replication.name())).unwrap();
    // Both in one tick, taken by the next publisher.
    replication.publisher.kill();
    record_no_snapshots(&mut one);
    let payment = demo.payments[0];
    let insert = "insert into users (name, email) values ('N', $1)";
    let (mut older, mut younger) = (one.transaction().unwrap(), two.transaction().unwrap());
    older.execute(insert, &[&"1@x"]).unwrap();
    younger.execute(insert, &[&"2@x"]).unwrap();
    younger.execute("update payments set status = 'younger' where id = $1", &[&payment]).unwrap();
    let younger_id: String = younger.query_one("select pg_current_xact_id()::text", &[]).unwrap().get(0);
    younger.commit().unwrap();
    // Only after the other's commit can it have that row.
    older.execute("update payments set status = 'older' where id = $1", &[&payment]).unwrap();
    older.commit().unwrap();
    replication.publisher.start();
    let batch = Batch::decode(&wire.recv_timeout(Duration::from_secs(30)).unwrap().data).unwrap();
    let transactions: Vec<i64> = batch.events.iter().map(|event| event.txid).collect();
    let younger_id: i64 = younger_id.parse().unwrap();
    assert_eq!(transactions.len(), 4);
    assert_eq!(transactions[..2], [younger_id, younger_id], "transactions are mixed: {transactions:?}");
    assert_eq!(transactions[2], transactions[3]);
    replication.wait_until_caught_up();
    assert_equal(&replication);
}
