//! What is confirmed goes in time, and nothing else ever does.

use crate::harness::{
    Demo, Replication, add_user, applied_tick, assert_equal, count, start_with_tables, wait_for,
    wait_until_published,
};
use postgres::Client;
use shared::wire::{Confirm, confirm_subject};
use std::time::Duration;

const SHORT: [(&str, &str); 2] = [("OUTBOX_RETENTION", "1"), ("INBOX_RETENTION", "1")];

fn wait_until_pruned(client: &mut Client, query: &str, at_most: i64) {
    wait_for(&format!("{query} is at most {at_most}"), || (count(client, query) <= at_most).then_some(()));
}

#[test]
fn what_is_confirmed_and_old_leaves_both_sides_and_replication_goes_on() {
    let replication = Replication::start_with("pruned", &SHORT);
    let (mut source, mut target) = (replication.source(), replication.target());
    for round in 0..3 {
        source
            .execute(
                "insert into users (name, email) select 'U', $1 || i || '@x' from generate_series(1, 30000) i",
                &[&format!("{round}-")],
            )
            .unwrap();
        replication.wait_until_caught_up();
        // In a tick of its own.
        source
            .execute("insert into users (name, email) values ('Last', $1)", &[&format!("{round}@x")])
            .unwrap();
        replication.wait_until_caught_up();
        // All but what the last tick, which is kept, may still be needed for.
        wait_until_pruned(&mut source, "select count(*) from replication.outbox_event", 1);
        wait_until_pruned(&mut source, "select count(*) from replication.tick", 3);
        wait_until_pruned(&mut target, "select count(*) from replication.inbox_batch", 2);
        wait_until_pruned(&mut target, "select count(*) from processed_events", 1);
        wait_until_pruned(&mut target, "select count(*) from replication.applied_tick", 2);
    }
    assert_eq!(assert_equal(&replication), (90_003, 0));
    assert_eq!(count(&mut source, "select count(*) from outbox where not processed or not confirmed"), 0);
    assert_eq!(count(&mut target, "select count(*) from inbox where not processed"), 0);
}

#[test]
fn nothing_unconfirmed_is_pruned_however_old_it_is() {
    let mut replication = Replication::start_with("kept", &SHORT);
    let mut source = replication.source();
    let demo = Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    replication.processor.kill();
    // A transaction that began before what is confirmed now, and that commits long after.
    let mut late = replication.source();
    let mut late = late.transaction().unwrap();
    late.execute("insert into users (name, email) values ('Late', 'late@x')", &[]).unwrap();
    for _ in 0..20 {
        demo.move_money(&mut source);
    }
    let unconfirmed = "select count(*) from outbox where not confirmed";
    let waiting = count(&mut source, unconfirmed);
    assert_eq!(waiting, 40);
    // Several times the retention: the pruner has deleted what was confirmed.
    wait_until_pruned(&mut source, "select count(*) from outbox where confirmed", 10);
    let begun = "select count(*) from replication.tick where taken_at < clock_timestamp() - interval '3 seconds' and tick > (select confirmed_tick from replication.progress)";
    wait_for("what waits is older than the retention by far", || {
        (count(&mut source, begun) > 0).then_some(())
    });
    assert_eq!(count(&mut source, unconfirmed), waiting);
    late.commit().unwrap();
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (6, 5));
}

/// The guard is against applications. The services write the rows, so they prune as well.
/// The target asks for what it has not received, receives it all the same, and confirms it, before the publisher
/// has read it again.
#[test]
fn what_was_pruned_before_it_was_sent_again_is_passed_over() {
    let mut replication = Replication::start_with("pruned_again", &SHORT);
    let mut source = replication.source();
    Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    let before = applied_tick(&mut replication.target());
    let nats = replication.nats_b();
    let confirms = nats.subscribe(&confirm_subject(replication.name())).unwrap();
    let heard = wait_for("the target says where it is", || {
        let confirm = Confirm::decode(&confirms.recv_timeout(Duration::from_secs(60)).unwrap().data).unwrap();
        (confirm.applied.map(|applied| applied.number) == Some(before)).then_some(confirm)
    });
    replication.processor.kill();
    for number in 1..=4 {
        add_user(&mut source, &format!("{number}@x"));
        wait_until_published(&mut source);
    }
    let mut locker = replication.source();
    let mut lock = locker.transaction().unwrap();
    // The reader looks there each time it is sent back, before it reads.
    lock.batch_execute("lock table replication.skipped_event in access exclusive mode").unwrap();
    let gap = Confirm { counter: heard.counter + 1, gap: true, idle: false, ..heard };
    nats.publish(&confirm_subject(replication.name()), None, gap.encode().unwrap()).unwrap();
    let waits = "select count(*) from pg_locks where relation = 'replication.skipped_event'::regclass and not granted";
    wait_for("the reader is sent back", || (count(&mut source, waits) == 1).then_some(()));
    replication.processor.start();
    wait_for("what it was to read is pruned", || {
        (count(&mut source, "select min(tick) from replication.tick") > before + 1).then_some(())
    });
    lock.commit().unwrap();
    wait_for("the reader passes over it", || {
        replication
            .publisher
            .log()
            .contains("need not be sent again: the target has confirmed them")
            .then_some(())
    });
    add_user(&mut source, "later@x");
    replication.wait_until_caught_up();
    replication.publisher.wait_until_healthy();
    assert_eq!(assert_equal(&replication), (10, 5));
}

#[test]
fn databases_that_are_read_only_by_default_are_written_and_pruned() {
    let mut replication = Replication::prepare("read_only", &SHORT);
    for mut client in [replication.source(), replication.target()] {
        let database: String = client.query_one("select current_database()", &[]).unwrap().get(0);
        client
            .batch_execute(&format!("alter database {database} set default_transaction_read_only = on"))
            .unwrap();
    }
    replication.processor.start();
    replication.publisher.start();
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("set default_transaction_read_only = off").unwrap();
    for round in 0..3 {
        source.execute("insert into users (name, email) values ('U', $1)", &[&format!("{round}@x")]).unwrap();
        replication.wait_until_caught_up();
    }
    wait_until_pruned(&mut source, "select count(*) from replication.outbox_event", 1);
    wait_until_pruned(&mut target, "select count(*) from replication.inbox_batch", 1);
    assert_eq!(assert_equal(&replication), (3, 0));
}

/// Prunes a little of a table; fails if that reads all of it.
fn assert_prunes_without_reading_all(client: &mut Client, prune: &str, table: &str) {
    client.batch_execute(&format!("analyze replication.{table}")).unwrap();
    let mut transaction = client.transaction().unwrap();
    let pruned: i64 = transaction.query_one(prune, &[]).unwrap().get(0);
    assert!(pruned >= 1000, "{pruned} rows went");
    let scans = format!(
        "select seq_scan from pg_stat_xact_user_tables where relid = 'replication.{table}'::regclass"
    );
    assert_eq!(
        transaction.query_one(&scans, &[]).unwrap().get::<_, i64>(0),
        0,
        "{table} was read as a whole"
    );
}

#[test]
fn pruning_reads_what_goes_and_not_what_stays() {
    let replication = Replication::start("prunes");
    let (mut source, mut target) = (replication.source(), replication.target());
    source
        .batch_execute(
            "insert into users (name, email) select 'U', i || '@x' from generate_series(1, 60000) i",
        )
        .unwrap();
    replication.wait_until_caught_up();
    // In a tick of its own: what the last one, which is kept, does not need may go.
    source.execute("insert into users (name, email) values ('Last', 'last@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    let outbox = "select replication.prune_outbox('0', 1000)";
    assert_prunes_without_reading_all(&mut source, outbox, "outbox_event");
    let inbox = "select replication.prune_inbox('0', '0', 1000)";
    assert_prunes_without_reading_all(&mut target, inbox, "processed_events");
}

/// How many scans of the outbox's index there were, and how many entries they read.
fn index_reads(source: &mut Client) -> (i64, i64) {
    let row = source
        .query_one(
            "select idx_scan, idx_tup_read from pg_stat_user_indexes where indexrelid = 'replication.outbox_event_pkey'::regclass",
            &[],
        )
        .unwrap();
    (row.get(0), row.get(1))
}

/// Carries small ticks one by one; returns how many entries of the outbox's index were read for each, by
/// everybody.
fn index_entries_read_for_a_tick(replication: &Replication, name: &str) -> i64 {
    const TICKS: i64 = 20;
    let mut source = replication.source();
    let (scans, entries) = index_reads(&mut source);
    let (mut writer, mut target) = (replication.source(), replication.target());
    for number in 0..TICKS {
        writer
            .execute("insert into users (name, email) values ('Small', $1)", &[&format!("{name}{number}@x")])
            .unwrap();
        // Not with the help of the outbox, whose reads are counted.
        let arrived = format!("select count(*) from users where email = '{name}{number}@x'");
        wait_for("a small tick arrives", || (count(&mut target, &arrived) == 1).then_some(()));
    }
    // The services' sessions tell what they did with a delay. Each tick is two scans at least.
    wait_for("the reads are counted", || (index_reads(&mut source).0 - scans >= 2 * TICKS).then_some(()));
    (index_reads(&mut source).1 - entries) / TICKS
}

#[test]
fn a_small_tick_reads_little_of_an_outbox_that_one_transaction_has_filled() {
    // Small rows: they make it tempting to keep all of them.
    let replication = start_with_tables("small_tick", "create table thin (id int primary key)", &["thin"]);
    let mut source = replication.source();
    source.batch_execute("insert into thin select i from generate_series(1, 100000) i").unwrap();
    replication.wait_until_caught_up();
    // What autovacuum finds out about the outbox: any transaction has as many events as there are.
    source.batch_execute("analyze replication.outbox_event").unwrap();
    let entries = index_entries_read_for_a_tick(&replication, "s");
    assert!(entries < 10_000, "{entries} entries of the index were read for a tick of one event");
}

#[test]
fn a_small_tick_does_not_read_what_an_open_transaction_has_captured() {
    let replication = Replication::start("small_tick_beside");
    let mut open = replication.source();
    let mut open = open.transaction().unwrap();
    open.batch_execute(
        "insert into users (name, email) select 'U', i || '@x' from generate_series(1, 100000) i",
    )
    .unwrap();
    // The first tick beside it has still to pass by its events; it is contained in the last tick's snapshot
    // then.
    replication.source().execute("insert into users (name, email) values ('First', 'first@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    let entries = index_entries_read_for_a_tick(&replication, "b");
    assert!(entries < 50_000, "{entries} entries of the index were read for a tick of one event");
    open.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (100_021, 0));
}

#[test]
fn a_look_for_work_does_not_read_what_an_open_transaction_has_captured() {
    let replication = Replication::start_with("looks_beside", &[("POLL_INTERVAL", "0.05")]);
    let mut source = replication.source();
    source.execute("insert into users (name, email) values ('First', 'first@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    let mut open = replication.source();
    let mut open = open.transaction().unwrap();
    open.batch_execute(
        "insert into users (name, email) select 'U', i || '@x' from generate_series(1, 30000) i",
    )
    .unwrap();
    let (scans, entries) = index_reads(&mut source);
    // No tick is taken meanwhile.
    wait_for("it looked for work", || (index_reads(&mut source).0 - scans >= 100).then_some(()));
    let read = index_reads(&mut source).1 - entries;
    assert!(read < 300_000, "{read} entries of the index were read by polls that found nothing");
    open.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (30_001, 0));
}

/// A target restored from a backup may ask for any tick that is left.
#[test]
fn whatever_is_left_of_the_ticks_between_two_steps_of_the_pruner_is_left_in_full() {
    let mut replication = Replication::start("pruned_in_steps");
    let mut source = replication.source();
    for round in 0..5 {
        source.execute("insert into users (name, email) values ('N', $1)", &[&format!("{round}@x")]).unwrap();
        replication.wait_until_caught_up();
    }
    assert_eq!(replication.publisher.stop().code(), Some(0));
    let ticks = "select count(*) from replication.tick t
                 where t.tick > (select min(tick) from replication.tick)
                   and not exists (select from replication.outbox_event e
                                   join replication.tick before on before.tick = t.tick - 1
                                   where pg_visible_in_snapshot(e.txid, t.snapshot)
                                     and not pg_visible_in_snapshot(e.txid, before.snapshot))";
    let mut steps = 0;
    while count(&mut source, "select replication.prune_outbox(interval '0', 1)") > 0 {
        steps += 1;
        assert_eq!(count(&mut source, ticks), 0, "ticks without their events after step {steps}");
    }
    assert_eq!(steps, 4);
    assert_eq!(count(&mut source, "select count(*) from replication.tick"), 2);
}
