//! Transactions arrive whole, in order, and with the right result.

use crate::harness::{Demo, Replication, assert_equal, wait_for};
use postgres::{Client, IsolationLevel};
use shared::schema::{Side, migrate};
use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

fn count(client: &mut Client, query: &str) -> i64 {
    client.query_one(query, &[]).unwrap().get(0)
}

#[test]
fn a_committed_row_arrives_through_both_clusters() {
    let replication = Replication::start("row_arrives");
    let mut source = replication.source();
    source
        .execute(
            "insert into users (name, email) values ('Ada \"Countess\" O''Lovelace, née Byron', 'ada@x')",
            &[],
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    let mut target = replication.target();
    let event = target
        .query_one("select event_id, operation, processed from inbox order by created_at desc limit 5", &[]);
    let event = event.unwrap();
    assert_eq!((event.get(1), event.get(2)), ("INSERT", true));
    let same: i64 = source
        .query_one(
            "select count(*) from outbox where event_id = $1 and processed and confirmed",
            &[&event.get::<_, Uuid>(0)],
        )
        .unwrap()
        .get(0);
    assert_eq!(same, 1);
    assert_eq!(count(&mut target, "select count(*) from processed_events"), 1);
}

#[test]
fn an_idle_publisher_is_woken_and_does_not_wait_for_its_poll() {
    // The poll alone would come after the deadline of every wait here.
    let replication = Replication::start_with("woken", &[("POLL_INTERVAL", "60")]);
    let mut source = replication.source();
    for number in 0..3 {
        // Until it sleeps.
        wait_for("the publisher asks to be woken", || {
            let wanted = count(&mut source, "select last_value from replication.wake_wanted");
            (wanted == 2).then_some(())
        });
        source
            .execute("insert into users (name, email) values ('N', $1)", &[&format!("{number}@x")])
            .unwrap();
        replication.wait_until_caught_up();
    }
    assert_eq!(assert_equal(&replication), (3, 0));
}

#[test]
fn a_late_committer_is_not_skipped_and_holds_up_nobody() {
    let replication = Replication::start("late_committer");
    let (mut late, mut other) = (replication.source(), replication.source());
    let mut target = replication.target();
    let mut late = late.transaction().unwrap();
    late.execute("insert into users (name, email) values ('Late', 'late@x')", &[]).unwrap();
    for number in 0..5 {
        // Each of these is in a tick that the late one, begun before, is not in.
        other.execute("insert into users (name, email) values ('N', $1)", &[&format!("{number}@x")]).unwrap();
        wait_for("the later transaction is there", || {
            (count(&mut target, "select count(*) from users") == number + 1).then_some(())
        });
    }
    late.execute(
        "insert into payments (user_id, amount, currency, description)
                  select id, 5, 'EUR', 'late' from users where email = 'late@x'",
        &[],
    )
    .unwrap();
    late.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (6, 1));
}

#[test]
fn commits_that_cross_ticks_arrive_in_the_order_of_their_rows() {
    let replication = Replication::start("crossing");
    let demo = Demo::add_users(&mut replication.source(), 2);
    let payment = demo.payments[0];
    let begun = Barrier::new(2);
    std::thread::scope(|scope| {
        let older = scope.spawn(|| {
            let mut client = replication.source();
            let mut transaction = client.transaction().unwrap();
            // An older transaction id than the other's, and events before and after it.
            transaction.execute("insert into users (name, email) values ('Older', 'older@x')", &[]).unwrap();
            begun.wait();
            begun.wait();
            transaction.execute("update payments set status = 'older' where id = $1", &[&payment]).unwrap();
            transaction.commit().unwrap();
        });
        begun.wait();
        let mut client = replication.source();
        client.execute("update payments set status = 'younger' where id = $1", &[&payment]).unwrap();
        begun.wait();
        older.join().unwrap();
    });
    replication.wait_until_caught_up();
    assert_equal(&replication);
    let status: String = replication
        .target()
        .query_one("select status from payments where id = $1", &[&payment])
        .unwrap()
        .get(0);
    assert_eq!(status, "older");
}

#[test]
fn what_was_rolled_back_never_arrives() {
    let replication = Replication::start("rolled_back");
    let mut source = replication.source();
    let demo = Demo::add_users(&mut source, 3);
    let mut transaction = source.transaction().unwrap();
    transaction.execute("insert into users (name, email) values ('Kept', 'kept@x')", &[]).unwrap();
    let mut savepoint = transaction.savepoint("abandoned").unwrap();
    savepoint.execute("update payments set amount = 0", &[]).unwrap();
    savepoint.execute("delete from payments where id = $1", &[&demo.payments[0]]).unwrap();
    savepoint.rollback().unwrap();
    transaction.execute("update payments set amount = 7 where id = $1", &[&demo.payments[1]]).unwrap();
    transaction.commit().unwrap();
    let mut transaction = source.transaction().unwrap();
    transaction.execute("delete from payments", &[]).unwrap();
    transaction.execute("delete from users", &[]).unwrap();
    transaction.rollback().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (4, 3));
}

#[test]
fn one_statement_of_100_000_rows_becomes_visible_at_once() {
    let replication = Replication::start("large_statement");
    let mut source = replication.source();
    source
        .execute("insert into users (name, email) select 'U' || i, 'u' || i || '@x' from generate_series(1, 100000) i", &[])
        .unwrap();
    let mut target = replication.target();
    let mut looks = 0;
    wait_for("the rows are there", || {
        let seen = count(&mut target, "select count(*) from users");
        assert!(seen == 0 || seen == 100_000, "a reader saw {seen} rows of a transaction of 100000");
        looks += 1;
        (seen > 0).then_some(())
    });
    assert!(looks > 1, "nobody looked while the rows were on their way");
    source.execute("update users set status = 'checked'", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (100_000, 0));
    source.execute("delete from users", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (0, 0));
}

#[test]
fn a_transaction_larger_than_a_message_arrives_whole() {
    let replication = Replication::start("large_transaction");
    let (mut source, mut target) = (replication.source(), replication.target());
    let mut transaction = source.transaction().unwrap();
    // 24 MB in rows of 300 KB, quotes that JSON has to escape among them; a message takes 8 MB.
    for number in 0..80 {
        transaction
            .execute(
                "insert into users (name, email) values (repeat('\"x\\', 75000), $1)",
                &[&format!("{number}@x")],
            )
            .unwrap();
    }
    transaction.commit().unwrap();
    wait_for("the transaction is there", || {
        let seen = count(&mut target, "select count(*) from users");
        assert!(seen == 0 || seen == 80, "a reader saw {seen} rows of a transaction of 80");
        (seen > 0).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (80, 0));
    let messages = count(&mut target, "select count(*) from replication.inbox_batch");
    assert!(messages > 3, "24 MB came in {messages} messages of at most 8 MB");
}

#[test]
fn unique_values_may_move_between_rows_in_one_transaction() {
    let replication = Replication::start("unique_values");
    let mut source = replication.source();
    source
        .batch_execute("insert into users (name, email) values ('A', 'a@x'), ('B', 'b@x'), ('C', 'c@x')")
        .unwrap();
    replication.wait_until_caught_up();
    source
        .batch_execute(
            "begin;
             update users set email = 'swap@x' where name = 'A';
             update users set email = 'a@x' where name = 'B';
             update users set email = 'b@x' where name = 'A';
             delete from users where name = 'C';
             insert into users (name, email) values ('D', 'c@x');
             commit",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (3, 0));
}

#[test]
fn a_changed_key_a_rebirth_and_a_truncate_end_as_in_the_source() {
    let replication = Replication::start("keys");
    let mut source = replication.source();
    let demo = Demo::add_users(&mut source, 4);
    source.execute("update payments set id = gen_random_uuid() where id = $1", &[&demo.payments[0]]).unwrap();
    let mut transaction = source.transaction().unwrap();
    transaction.execute("delete from payments where id = $1", &[&demo.payments[1]]).unwrap();
    transaction
        .execute(
            "insert into payments (id, user_id, amount, currency, description)
             select $1, id, 1, 'EUR', 'born again' from users limit 1",
            &[&demo.payments[1]],
        )
        .unwrap();
    transaction.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (4, 4));
    source
        .batch_execute(
            "begin; truncate payments; insert into users (name, email) values ('Z', 'z@x'); commit",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (5, 0));
}

#[test]
fn a_reader_of_the_target_sees_only_whole_transactions() {
    // Small batches: most ticks come in several messages, and in several groups.
    let settings = [("BATCH_SIZE", "3"), ("BATCH_SIZE_MAX", "3")];
    let replication = Replication::start_with("whole_transactions", &settings);
    let demo = Demo::add_users(&mut replication.source(), 20);
    replication.wait_until_caught_up();
    let writing = AtomicBool::new(true);
    let states = std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch_total(&replication, &writing));
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = replication.source();
                    for _ in 0..500 {
                        demo.move_money(&mut client);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        replication.wait_until_caught_up();
        writing.store(false, Ordering::Release);
        reader.join().unwrap()
    });
    println!("a reader saw {states} distinct states of 2000 transfers");
    assert!(states >= 50, "the reader saw only {states} distinct states: it proves too little");
    assert_equal(&replication);
}

/// Reads the sum of all payments while others write; returns how many distinct states it saw.
fn watch_total(replication: &Replication, writing: &AtomicBool) -> usize {
    let mut target = replication.target();
    let mut states: HashSet<String> = HashSet::new();
    while writing.load(Ordering::Acquire) {
        let row = target
            .query_one("select sum(amount)::text, md5(string_agg(id || ' ' || amount, ',' order by id)) from payments", &[])
            .unwrap();
        let total: &str = row.get(0);
        assert_eq!(total, "20000.00", "a reader saw part of a transaction");
        states.insert(row.get(1));
    }
    states.len()
}

#[test]
fn source_and_target_are_equal_after_four_concurrent_writers() {
    let replication = Replication::start("four_writers");
    let demo = Demo::add_users(&mut replication.source(), 50);
    let (long_begun, writers_done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        let long = scope.spawn(|| {
            let mut client = replication.source();
            let mut transaction =
                client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().unwrap();
            transaction.execute("insert into users (name, email) values ('Long', 'long@x')", &[]).unwrap();
            long_begun.wait();
            // Open for as long as all the others write.
            writers_done.wait();
            transaction
                .execute("insert into users (name, email) values ('Longer', 'longer@x')", &[])
                .unwrap();
            transaction.commit().unwrap();
        });
        long_begun.wait();
        let (replication, demo) = (&replication, &demo);
        let writers: Vec<_> =
            (0..4).map(|number| scope.spawn(move || write_mixed(replication, demo, number))).collect();
        for writer in writers {
            writer.join().unwrap();
        }
        writers_done.wait();
        long.join().unwrap();
    });
    replication.wait_until_caught_up();
    let (users, payments) = assert_equal(&replication);
    println!("equal: {users} users, {payments} payments");
    assert!(users > 200 && payments > 200, "too little was written to prove anything");
}

/// Inserts, updates, deletes, rollbacks and savepoints, as one of several writers.
fn write_mixed(replication: &Replication, demo: &Demo, writer: i32) {
    let mut client = replication.source();
    for round in 0..150 {
        demo.move_money(&mut client);
        let email = format!("{writer}-{round}@x");
        let mut transaction = client.transaction().unwrap();
        transaction.execute("insert into users (name, email) values ('New', $1)", &[&email]).unwrap();
        transaction
            .execute(
                "insert into payments (user_id, amount, currency, description)
                 select id, i, 'EUR', 'first ' || i from users, generate_series(1, 3) i where email = $1",
                &[&email],
            )
            .unwrap();
        let mut savepoint = transaction.savepoint("maybe").unwrap();
        savepoint.execute("update users set status = 'vip' where email = $1", &[&email]).unwrap();
        if round % 3 == 0 {
            savepoint.rollback().unwrap();
        } else {
            savepoint.commit().unwrap();
        }
        if round % 5 == 0 {
            transaction.rollback().unwrap();
        } else {
            transaction.commit().unwrap();
        }
        if round % 4 == 0 {
            let gone = format!("{writer}-{}@x", round / 2);
            let mut transaction = client.transaction().unwrap();
            transaction
                .execute("delete from payments using users u where u.id = user_id and u.email = $1", &[&gone])
                .unwrap();
            transaction.execute("delete from users where email = $1", &[&gone]).unwrap();
            transaction.commit().unwrap();
        }
    }
}

#[test]
fn the_reference_load_leaves_nothing_unprocessed() {
    let replication = Replication::start("reference_load");
    let mut source = replication.source();
    for number in 0..400 {
        let email = format!("{number}@x");
        let mut transaction = source.transaction().unwrap();
        transaction.execute("insert into users (name, email) values ('User', $1)", &[&email]).unwrap();
        transaction
            .execute(
                "insert into payments (user_id, amount, currency, description)
                 select id, i * 10, 'EUR', 'payment ' || i from users, generate_series(1, 4) i where email = $1",
                &[&email],
            )
            .unwrap();
        transaction.commit().unwrap();
    }
    source.execute("update payments set status = 'completed' where amount = 10", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (400, 1600));
    assert_eq!(count(&mut source, "select count(*) from outbox where processed = false"), 0);
    assert_eq!(count(&mut source, "select count(*) from outbox"), 2400);
    let mut target = replication.target();
    assert_eq!(count(&mut target, "select count(*) from inbox"), 2400);
    assert_eq!(count(&mut target, "select count(*) from processed_events"), 2400);
}

#[test]
fn the_schema_is_applied_once_however_many_apply_it() {
    let replication = Replication::prepare("schema", &[]);
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = replication.target();
                start.wait();
                // A database may be the target of one replication and the source of another.
                migrate(&mut client, Side::Target).unwrap();
                migrate(&mut client, Side::Source).unwrap();
                migrate(&mut client, Side::Target).unwrap();
            });
        }
    });
    let applied = count(&mut replication.target(), "select count(*) from replication.schema_version");
    assert_eq!(applied, 6);
    replication.without_stream();
}
