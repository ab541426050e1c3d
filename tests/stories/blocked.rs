//! What blocks apply, and how it is resumed: by itself, at once, or without a transaction.

use crate::harness::{
    Demo, Replication, add_user, assert_equal, count, record_no_snapshots, wait_for, wait_for_health,
    wait_until_blocked, wait_until_published,
};
use postgres::Client;

#[test]
fn an_event_that_the_target_cannot_take_holds_and_goes_on_when_it_is_mended() {
    let replication = Replication::start("held");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users rename to users_elsewhere").unwrap();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    let error = wait_until_blocked(&mut target);
    assert!(error.contains("the target has no table \"public\".\"users\""), "{error}");
    target.batch_execute("alter table users_elsewhere rename to users").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    let held: Option<String> =
        target.query_one("select held_error from replication.target_status", &[]).unwrap().get(0);
    assert_eq!(held, None);
}

#[test]
fn a_value_that_is_too_long_for_an_index_of_the_targets_own_holds_until_that_is_gone() {
    let replication = Replication::start("too_long");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("create index only_here on users (name)").unwrap();
    let insert = "insert into users (name, email)
        select string_agg(md5(random()::text), ''), '1@x' from generate_series(1, 320)";
    source.execute(insert, &[]).unwrap();
    let error = wait_until_blocked(&mut target);
    assert!(error.contains("index row requires"), "{error}");
    target.batch_execute("drop index only_here").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
}

#[test]
fn a_transaction_is_skipped_on_record_and_the_rest_goes_on() {
    let replication = Replication::start("skipped");
    let (mut source, mut target) = (replication.source(), replication.target());
    Demo::add_users(&mut source, 2);
    replication.wait_until_caught_up();
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    source.execute("insert into users (name, email) values ('bad', 'bad@x')", &[]).unwrap();
    add_user(&mut source, "good@x");
    let txid: i64 = wait_for("the target names the transaction that blocks apply", || {
        let query =
            "select txid from replication.hold_status where key is not null and data ->> 'name' = 'bad'";
        target.query_opt(query, &[]).unwrap().map(|row| row.get(0))
    });
    let refused = target.execute("select replication.skip_transaction(1, 'why not')", &[]).unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("is not pending behind a blocked apply"));
    target.execute("select replication.skip_transaction($1, 'a test')", &[&txid]).unwrap();
    replication.wait_until_caught_up();
    let row = target
        .query_one(
            "select reason, skipped_by, events -> 0 ->> 'row', jsonb_array_length(events) from replication.skipped_transaction",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "a test");
    assert!(row.get::<_, &str>(2).contains("bad@x") && row.get::<_, i32>(3) == 1);
    assert_eq!(count(&mut target, "select count(*) from users where email = 'good@x'"), 1);
    assert_eq!(count(&mut target, "select count(*) from users where email = 'bad@x'"), 0);
    // The repair: the rows are sent again once the target can take them.
    target.batch_execute("alter table users drop constraint no_bad").unwrap();
    source.execute("select replication.resend('public.users')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (4, 2));
}

#[test]
fn a_transaction_behind_the_one_that_is_held_is_skipped_after_a_restart_too() {
    let mut replication = Replication::start("skipped_behind");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    add_user(&mut source, "first@x");
    source.execute("insert into users (name, email) values ('bad', 'bad@x')", &[]).unwrap();
    add_user(&mut source, "unwanted@x");
    add_user(&mut source, "last@x");
    let txid: i64 = wait_for("the unwanted transaction waits", || {
        let query = "select txid from replication.hold_status where data ->> 'email' = 'unwanted@x'";
        target.query_opt(query, &[]).unwrap().map(|row| row.get(0))
    });
    target.execute("select replication.skip_transaction($1, 'a test')", &[&txid]).unwrap();
    replication.processor.kill();
    target.batch_execute("alter table users drop constraint no_bad").unwrap();
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select count(*) from users where email = 'unwanted@x'"), 0);
    assert_eq!(count(&mut target, "select count(*) from users"), 3);
    let skipped = "select count(*) from replication.skipped_transaction where applied_tick is not null";
    assert_eq!(count(&mut target, skipped), 1);
}

/// A bad user blocks apply; returns its transaction.
fn block(replication: &Replication, target: &mut Client) -> i64 {
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    replication.source().execute("insert into users (name, email) values ('bad', 'bad@x')", &[]).unwrap();
    wait_until_blocked(target);
    target.query_one("select min(txid) from replication.hold_status", &[]).unwrap().get(0)
}

/// How many sessions on this database wait for a lock.
const WAITING: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'";
const OPEN_ORDERS: &str = "select count(*) from replication.skipped_transaction where applied_tick is null";

/// Found by the model checker of tests/model: the quick way did not know of the order, and it stayed open for
/// ever.
#[test]
fn an_order_to_skip_that_comes_before_the_first_attempt_of_a_session_is_carried_out() {
    let mut replication = Replication::start("skip_early");
    let mut target = replication.target();
    let txid = block(&replication, &mut target);
    replication.processor.kill();
    let mut operator = replication.target();
    let mut order = operator.transaction().unwrap();
    order.batch_execute("select from replication.position for update").unwrap();
    replication.processor.start();
    wait_for("the processor's first attempt waits", || (count(&mut target, WAITING) == 1).then_some(()));
    order.batch_execute("alter table users drop constraint no_bad").unwrap();
    order.execute("select replication.skip_transaction($1, 'a test')", &[&txid]).unwrap();
    order.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, OPEN_ORDERS), 0);
    assert_eq!(count(&mut target, "select count(*) from users"), 0);
}

/// Found by the model checker of tests/model: the order was accepted, and stayed open for ever.
#[test]
fn an_order_to_skip_a_transaction_that_is_being_applied_waits_and_is_refused() {
    let replication = Replication::start("skip_late");
    let mut target = replication.target();
    let txid = block(&replication, &mut target);
    let (mut operator, mut locker) = (replication.target(), replication.target());
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("lock table replication.processed_events in share mode").unwrap();
    target.batch_execute("alter table users drop constraint no_bad").unwrap();
    wait_for("a retry is under way", || (count(&mut target, WAITING) == 1).then_some(()));
    let order = std::thread::scope(|scope| {
        let order =
            scope.spawn(|| operator.execute("select replication.skip_transaction($1, 'a test')", &[&txid]));
        wait_for("the order waits, or is accepted", || {
            (order.is_finished() || count(&mut target, WAITING) == 2).then_some(())
        });
        lock.commit().unwrap();
        order.join().unwrap()
    });
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, OPEN_ORDERS), 0);
    assert_eq!(count(&mut target, "select count(*) from users"), 1);
    assert!(order.is_err());
}

#[test]
fn a_target_that_was_held_and_is_restored_under_a_living_processor_goes_on() {
    let mut replication = Replication::start("held_restored");
    let mut source = replication.source();
    add_user(&mut source, "first@x");
    replication.wait_until_caught_up();
    replication.processor.kill();
    replication.copy_target("held_restored_backup");
    replication.processor.start();
    replication.processor.wait_until_healthy();
    replication
        .target()
        .batch_execute("alter table users add constraint no_bad check (name <> 'bad')")
        .unwrap();
    source.execute("insert into users (name, email) values ('bad', 'bad@x')", &[]).unwrap();
    wait_for_health(&replication.processor, "apply is blocked");
    replication.put_in_place_of_target("held_restored_backup");
    wait_for("the restored target is where the source is", || {
        let mut target = replication.target_door().connect()?;
        (count(&mut target, "select count(*) from users") == 2).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
}

#[test]
fn another_try_at_what_is_held_comes_at_once_when_it_is_asked_for() {
    let replication = Replication::start("retried");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    source.execute("insert into users (name, email) values ('bad', 'bad@x')", &[]).unwrap();
    wait_for("apply is blocked", || {
        (count(&mut target, "select count(*) from replication.hold_status") > 0).then_some(())
    });
    target
        .batch_execute("alter table users drop constraint no_bad; select replication.retry_hold()")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    assert_eq!(count(&mut target, "select count(*) from replication.hold_status"), 0);
}

/// An error of the application's own, or of anything else that is not known to be temporary.
#[test]
fn an_error_with_whatever_code_holds_and_can_be_skipped() {
    let replication = Replication::start("any_code");
    let (mut source, mut target) = (replication.source(), replication.target());
    target
        .batch_execute(
            "create function app_ok(name text) returns bool language plpgsql immutable as $$ begin
                 if name like 'bad%' then raise exception 'the name % is not allowed', name using errcode = substr(name, 5); end if;
                 return true;
             end $$;
             alter table users add constraint app_ok check (app_ok(name))",
        )
        .unwrap();
    for code in ["AP001", "3F000", "39000", "XX000"] {
        source
            .execute(
                "insert into users (name, email) values ('bad ' || $1::text, $1::text || '@x')",
                &[&code],
            )
            .unwrap();
        let error = wait_until_blocked(&mut target);
        assert!(error.contains("is not allowed") && error.contains("the row is"), "{error}");
        let query = format!("select txid from replication.hold_status where data ->> 'name' = 'bad {code}'");
        let txid: i64 = wait_for("the transaction can be skipped", || {
            target.query_opt(&query, &[]).unwrap().map(|row| row.get(0))
        });
        target.execute("select replication.skip_transaction($1, 'a test')", &[&txid]).unwrap();
        replication.wait_until_caught_up();
    }
    assert_eq!(count(&mut target, "select count(*) from users"), 0);
}

/// The source transaction of the user with this address.
fn transaction_of(source: &mut Client, email: &str) -> i64 {
    let query =
        "select e.txid::text::bigint from replication.outbox_event e where e.row_text like '%' || $1 || '%'";
    source.query_one(query, &[&email]).unwrap().get(0)
}

#[test]
fn what_comes_before_a_refused_transaction_is_applied() {
    let mut replication = Replication::start("before_refused");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add constraint no_bad check (email <> 'bad@x')").unwrap();
    replication.processor.kill();
    for email in ["1@x", "2@x", "3@x", "bad@x", "5@x"] {
        add_user(&mut source, email);
        wait_until_published(&mut source);
    }
    let refused = transaction_of(&mut source, "bad@x");
    replication.processor.start();
    let error = wait_until_blocked(&mut target);
    assert!(error.contains(&format!("transaction {refused}: ")), "{error}");
    assert!(error.contains("public.users") && error.contains("no_bad"), "{error}");
    assert_eq!(count(&mut target, "select count(*) from users"), 3);
    let listed = "select count(*) from replication.hold_status where refused";
    assert_eq!(count(&mut target, &format!("{listed} and txid = {refused}")), 1);
    assert_eq!(count(&mut target, listed), 1);
    assert_eq!(count(&mut target, "select count(*) from replication.hold_status where not refused"), 1);
    target.execute("select replication.skip_transaction($1, 'a test')", &[&refused]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select count(*) from users"), 4);
}

#[test]
fn of_a_tick_with_several_transactions_the_refused_one_is_named() {
    let mut replication = Replication::start("refused_named");
    let (mut source, mut target) = (replication.source(), replication.target());
    target
        .batch_execute(
            "create function refuse() returns trigger language plpgsql as $$ begin
                 if new.email = 'bad@x' then raise 'no bad one'; end if; return null; end $$;
             create constraint trigger refuse after insert on users deferrable initially deferred
                 for each row execute function refuse();
             alter table users enable always trigger refuse",
        )
        .unwrap();
    replication.publisher.kill();
    record_no_snapshots(&mut source);
    for email in ["1@x", "2@x", "bad@x", "4@x", "5@x", "6@x"] {
        add_user(&mut source, email);
    }
    let refused = transaction_of(&mut source, "bad@x");
    replication.publisher.start();
    let error = wait_until_blocked(&mut target);
    assert!(error.contains(&format!("transaction {refused}: check deferred constraints")), "{error}");
    assert_eq!(count(&mut target, "select count(*) from replication.hold_status where refused"), 1);
    assert_eq!(count(&mut target, "select count(*) from replication.hold_status"), 6);
    target.execute("select replication.skip_transaction($1, 'a test')", &[&refused]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select count(*) from users"), 5);
}

/// Has the target take so long for each user.
fn slow_down(target: &mut Client, seconds: u32) {
    target
        .batch_execute(&format!(
            "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep({seconds}); return new; end $$;
             create trigger slow before insert on users for each row execute function slow();
             alter table users enable always trigger slow"
        ))
        .unwrap();
}

#[test]
fn a_statement_that_takes_longer_than_its_timeout_gets_more_time() {
    let replication = Replication::start_with("more_time", &[("TARGET_STATEMENT_TIMEOUT", "1")]);
    let (mut source, mut target) = (replication.source(), replication.target());
    slow_down(&mut target, 3);
    add_user(&mut source, "1@x");
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    assert!(!replication.processor.log().contains("apply is blocked"), "{}", replication.processor.log());
}

#[test]
fn a_statement_that_takes_longer_however_much_time_it_gets_blocks() {
    let replication = Replication::start_with("no_more_time", &[("TARGET_STATEMENT_TIMEOUT", "1")]);
    let (mut source, mut target) = (replication.source(), replication.target());
    slow_down(&mut target, 600);
    add_user(&mut source, "1@x");
    let error = wait_until_blocked(&mut target);
    assert!(error.contains("statement timeout") && error.contains("users"), "{error}");
    target.batch_execute("drop trigger slow on users").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
}
