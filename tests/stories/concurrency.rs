//! Many writers at once, late and long transactions, and readers of the target meanwhile.

use crate::harness::{Demo, Replication, assert_equal, count, meanwhile, wait_for};
use postgres::{Client, IsolationLevel};
use std::collections::HashSet;
use std::sync::Barrier;

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
fn a_reader_of_the_target_sees_only_whole_transactions() {
    // Small batches: most ticks come in several messages, and in several groups.
    let settings = [("BATCH_SIZE", "3"), ("BATCH_SIZE_MAX", "3")];
    let replication = Replication::start_with("whole_transactions", &settings);
    let demo = Demo::add_users(&mut replication.source(), 20);
    replication.wait_until_caught_up();
    let (mut reader, mut states) = (replication.target(), HashSet::new());
    let read = || {
        states.insert(whole_state(&mut reader));
    };
    meanwhile([read], || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = replication.source();
                    for _ in 0..500 {
                        demo.move_money(&mut client);
                    }
                });
            }
        });
        replication.wait_until_caught_up();
    });
    let states = states.len();
    println!("a reader saw {states} distinct states of 2000 transfers");
    assert!(states >= 50, "the reader saw only {states} distinct states: it proves too little");
    assert_equal(&replication);
}

/// Reads all payments; fails if it sees a part of a transaction. Returns a fingerprint of the state.
fn whole_state(target: &mut Client) -> String {
    let row = target
        .query_one(
            "select sum(amount)::text, md5(string_agg(id || ' ' || amount, ',' order by id)) from payments",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "20000.00", "a reader saw part of a transaction");
    row.get(1)
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
