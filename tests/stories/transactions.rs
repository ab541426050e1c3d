//! Transactions arrive whole, in order, and with the right result.

use crate::harness::{Demo, Replication, assert_equal, count, wait_for};
use shared::schema::{Side, migrate};
use std::sync::Barrier;
use uuid::Uuid;

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
    assert!(looks > 1, "nobody read while the rows were in flight");
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
    assert!(applied >= 6, "{applied} files");
    replication.without_stream();
}
