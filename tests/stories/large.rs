//! Ticks that are too large to be kept in memory: applied as they arrive, or from the inbox.

use crate::harness::{Replication, assert_equal, count, wait_for, wait_until_blocked, wait_until_published};
use postgres::Client;

/// More than the processor keeps in memory until a tick is complete.
const LARGE: i64 = 30_000;

fn add_users(client: &mut Client, count: i64) {
    client
        .execute(
            "insert into users (name, email) select 'U' || i, i || '@x' from generate_series(1, $1::bigint) i",
            &[&count],
        )
        .unwrap();
}

fn received(target: &mut Client) -> i64 {
    count(
        target,
        "select coalesce(sum(last_ordinal - first_ordinal + 1), 0)::bigint from replication.inbox_batch",
    )
}

#[test]
fn a_large_tick_in_which_unique_values_move_is_applied_from_the_inbox() {
    let replication = Replication::start("large_unique");
    let mut source = replication.source();
    add_users(&mut source, 2);
    replication.wait_until_caught_up();
    source
        .batch_execute(&format!(
            "begin;
             insert into users (name, email) select 'V' || i, 'v' || i || '@x' from generate_series(1, {LARGE}) i;
             update users set email = 'moving' where name = 'U1';
             update users set email = '1@x' where name = 'U2';
             update users set email = '2@x' where name = 'U1';
             delete from users where name = 'V7';
             commit"
        ))
        .unwrap();
    replication.wait_until_caught_up();
    assert_equal(&replication);
    let log = replication.processor.log();
    assert!(log.contains("the quick apply was refused; applying from the inbox by staging"), "{log}");
    assert!(!log.contains("Z ERROR "), "{log}");
}

#[test]
fn a_large_tick_goes_on_after_a_kill_in_its_middle() {
    let mut replication = Replication::start("large_killed");
    let (mut source, mut target) = (replication.source(), replication.target());
    for round in 1..=3 {
        replication.processor.kill();
        source.execute("delete from users", &[]).unwrap();
        add_users(&mut source, LARGE * 3);
        let before = received(&mut target);
        replication.processor.start();
        wait_for("a part of the tick is received", || {
            (received(&mut target) >= before + LARGE / round).then_some(())
        });
    }
    replication.processor.kill();
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication).0, usize::try_from(LARGE * 3).unwrap());
    let log = replication.processor.log();
    assert!(!log.contains("Z ERROR "), "{log}");
}

/// So a table looks that was vacuumed while its rows were deleted and could still be seen: PostgreSQL takes it for
/// empty until it is analyzed, whatever its size, and would read all of it for every key.
#[test]
fn rows_are_found_by_their_key_in_a_table_that_its_statistics_call_empty() {
    let replication = Replication::start("large_called_empty");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users set (autovacuum_enabled = off)").unwrap();
    add_users(&mut source, LARGE * 4);
    replication.wait_until_caught_up();
    let mut reader = replication.target();
    reader.batch_execute("begin isolation level repeatable read; select from users limit 1").unwrap();
    source.execute("delete from users", &[]).unwrap();
    replication.wait_until_caught_up();
    target.batch_execute("vacuum users").unwrap();
    reader.batch_execute("rollback").unwrap();
    add_users(&mut source, LARGE * 4);
    replication.wait_until_caught_up();
    let called_empty = "select count(*) from pg_class
         where oid = 'users'::regclass and reltuples = 0 and pg_relation_size(oid) > 4 << 20";
    assert_eq!(count(&mut target, called_empty), 1);
    source.execute("delete from users where name > 'U2'", &[]).unwrap();
    replication.wait_until_caught_up();
    assert!(assert_equal(&replication).0 > 0);
}

#[test]
fn a_large_tick_that_the_target_cannot_take_is_held_as_a_whole() {
    let mut replication = Replication::start("large_held");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add constraint no_last check (name <> 'U25000')").unwrap();
    let mut transaction = source.transaction().unwrap();
    transaction.execute("insert into users (name, email) values ('Gone', 'gone@x')", &[]).unwrap();
    transaction.execute("truncate users cascade", &[]).unwrap();
    transaction
        .execute(
            "insert into users (name, email) select 'U' || i, i || '@x' from generate_series(1, 30000) i",
            &[],
        )
        .unwrap();
    transaction.commit().unwrap();
    source.execute("insert into users (name, email) values ('Behind', 'behind@x')", &[]).unwrap();
    for restarted in [false, true] {
        if restarted {
            replication.processor.kill();
            target.execute("update replication.position set held_error = null", &[]).unwrap();
            replication.processor.start();
        }
        let error = wait_until_blocked(&mut target);
        assert!(error.contains("no_last"), "{error}");
        assert_eq!(count(&mut target, "select count(*) from users"), 0);
    }
    target.batch_execute("alter table users drop constraint no_last").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (30_001, 0));
}

/// A tick that waits for it, and another large one that waits for that.
#[test]
fn a_large_tick_that_was_held_is_followed_by_all_that_waited() {
    let mut replication = Replication::start("large_queue");
    let (mut source, mut target) = (replication.source(), replication.target());
    replication.processor.kill();
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    for tick in [
        "insert into users (name, email) select 'U' || i, 'u' || i || '@x' from generate_series(1, 20000) i;
         insert into users (name, email) values ('bad', 'bad@x')",
        "insert into users (name, email) values ('between', 'between@x')",
        "insert into users (name, email) select 'V' || i, 'v' || i || '@x' from generate_series(1, 20000) i",
    ] {
        source.batch_execute(tick).unwrap();
        wait_until_published(&mut source);
    }
    replication.processor.start();
    wait_for("apply is blocked, and all is received", || {
        let held = "select count(*) from replication.hold_status where key is not null";
        (count(&mut target, held) > 0 && received(&mut target) == 40_002).then_some(())
    });
    target.batch_execute("alter table users drop constraint no_bad").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (40_002, 0));
}

#[test]
fn a_transaction_in_a_large_tick_is_skipped_on_record_and_the_rest_of_the_tick_is_applied() {
    let mut replication = Replication::start("large_skipped");
    let (mut source, mut target) = (replication.source(), replication.target());
    add_users(&mut source, 2);
    replication.wait_until_caught_up();
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    // What is written while there is no publisher is one tick.
    replication.publisher.kill();
    let in_one_tick = [
        format!(
            "insert into users (name, email) select 'W' || i, 'w' || i || '@x' from generate_series(1, {LARGE}) i;
             insert into users (name, email) values ('bad', 'bad@x');
             update users set name = 'changed beside' where email = '1@x'"
        ),
        "insert into users (name, email) select 'V' || i, 'v' || i || '@x' from generate_series(1, 9000) i".to_owned(),
        "update users set name = 'changed after' where email = '2@x'".to_owned(),
    ];
    for statements in in_one_tick {
        source.batch_execute(&format!("begin; {statements}; commit")).unwrap();
    }
    replication.publisher.start();
    let txid = count(&mut source, "select xmin::text::bigint from users where name = 'bad'");
    let held = format!(
        "select count(*) from (select from replication.hold_status where txid = {txid} limit 1) held"
    );
    wait_for("apply is blocked by the transaction", || (count(&mut target, &held) == 1).then_some(()));
    assert_eq!(count(&mut target, "select count(*) from users"), 2);
    // The order comes in the middle of a retry, when some of the events are read already.
    let mut locker = replication.target();
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("lock table replication.processed_events in share mode").unwrap();
    wait_for("a retry is under way", || {
        // The pruner may wait as well.
        let waits = "select count(*) from pg_locks join pg_stat_activity using (pid)
                     where relation = 'replication.processed_events'::regclass and not granted
                       and datname = current_database() and query like 'insert into replication.processed_events%'";
        (count(&mut target, waits) == 1).then_some(())
    });
    // Not by replication.skip_transaction, which waits until the retry has ended.
    let order = "insert into replication.skipped_transaction (txid, source, reason)
                 select $1, source, 'a test' from replication.position";
    target.execute(order, &[&txid]).unwrap();
    lock.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(
        count(&mut target, "select count(distinct tick) from replication.applied_tick where events > 10000"),
        1
    );
    let left_out = "select jsonb_array_length(events)::bigint from replication.skipped_transaction where reason = 'a test'";
    assert_eq!(count(&mut target, left_out), LARGE + 2);
    let named = |name: &str| format!("select count(*) from users where name like '{name}'");
    for (name, rows) in [("V%", 9000), ("W%", 0), ("bad", 0), ("changed beside", 0), ("changed after", 1)] {
        assert_eq!(count(&mut target, &named(name)), rows, "{name}");
    }
    // The repair.
    target.batch_execute("alter table users drop constraint no_bad").unwrap();
    source.execute("select replication.resend('public.users')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (9000 + 30_000 + 1 + 2, 0));
}

/// An order for a transaction that never comes stays open, and so every transaction is checked against it.
#[test]
fn a_large_tick_that_arrives_while_an_order_to_skip_is_open_is_applied_to_its_end() {
    let mut replication = Replication::start("large_order");
    let (mut source, mut target) = (replication.source(), replication.target());
    source.execute("insert into users (name, email) values ('Before', 'before@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    replication.processor.kill();
    target
        .execute(
            "insert into replication.skipped_transaction (txid, source, reason)
             select 1, source, 'a test' from replication.position",
            &[],
        )
        .unwrap();
    replication.processor.start();
    add_users(&mut source, LARGE);
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (usize::try_from(LARGE).unwrap() + 1, 0));
}

#[test]
fn a_large_tick_of_which_a_transaction_is_skipped_before_the_rest_has_arrived_is_applied_to_its_end() {
    // Many messages: only some of them are in flight when apply is blocked.
    let small_batches = [("BATCH_SIZE", "50"), ("BATCH_SIZE_MAX", "50")];
    let mut replication = Replication::start_with("large_order_early", &small_batches);
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    replication.processor.kill();
    source.batch_execute("insert into users (name, email) values ('bad', 'bad@x')").unwrap();
    wait_until_published(&mut source);
    // What is written while there is no publisher is one tick.
    replication.publisher.kill();
    source.batch_execute("insert into users (name, email) values ('skipped', 'skipped@x')").unwrap();
    add_users(&mut source, LARGE);
    replication.publisher.start();
    wait_until_published(&mut source);
    replication.processor.start();
    let txid = count(&mut source, "select xmin::text::bigint from users where name = 'skipped'");
    let held = format!("select count(*) from replication.hold_status where txid = {txid}");
    wait_for("apply is blocked, and the transaction is received", || {
        (count(&mut target, &held) == 1).then_some(())
    });
    let received = received(&mut target);
    assert!(received < LARGE, "{received} events are received: all of the tick");
    target.execute("select replication.skip_transaction($1, 'a test')", &[&txid]).unwrap();
    target.batch_execute("alter table users drop constraint no_bad").unwrap();
    replication.wait_until_caught_up();
    let named = |name: &str| format!("select count(*) from users where name like '{name}'");
    for (name, rows) in [("bad", 1), ("skipped", 0), ("U%", LARGE)] {
        assert_eq!(count(&mut target, &named(name)), rows, "{name}");
    }
}
