//! Tables that change while they are replicated.

use crate::harness::{Replication, assert_equal, count, wait_for};

#[test]
fn alter_table_is_followed_between_two_rows() {
    let replication = Replication::start("alter_table");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add column phone text, alter column name drop not null").unwrap();
    source
        .batch_execute(
            "begin;
             insert into users (name, email) values ('Before', 'before@x');
             alter table users add column phone text;
             insert into users (name, email, phone) values ('After', 'after@x', '+47 (0) 1, \"2\"');
             commit",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));

    // The same number of columns, others: a row read by the old list would end up in the wrong columns.
    target.batch_execute("alter table users rename column phone to telephone").unwrap();
    source
        .batch_execute(
            "alter table users rename column phone to telephone;
             update users set telephone = '1' where email = 'before@x'",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
}

#[test]
fn a_column_that_the_target_lacks_holds_it_until_it_is_added() {
    let replication = Replication::start("column_lacking");
    let (mut source, mut target) = (replication.source(), replication.target());
    source
        .batch_execute(
            "alter table users add column phone text;
             insert into users (name, email, phone) values ('N', 'n@x', '1')",
        )
        .unwrap();
    let error: String = wait_for("the target says that it is held", || {
        let row = target.query_opt("select held_error from replication.target_status", &[]).unwrap();
        row.and_then(|row| row.get(0))
    });
    assert!(error.contains("has no column \"phone\""), "{error}");
    assert_eq!(count(&mut target, "select count(*) from users"), 0);
    target.batch_execute("alter table users add column phone text").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
}

#[test]
fn a_target_table_that_was_changed_and_mended_meanwhile_is_looked_at_anew() {
    let replication = Replication::start("target_changed");
    let (mut source, mut target) = (replication.source(), replication.target());
    source.execute("insert into users (name, email) values ('Known', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    target.batch_execute("alter table users drop column status").unwrap();
    source.execute("insert into users (name, email) values ('Held', '2@x')", &[]).unwrap();
    wait_for("the target says that it is held", || {
        let held = "select count(*) from replication.target_status where held_error like '%status%'";
        (count(&mut target, held) == 1).then_some(())
    });
    // Another type and another place than before; the rows that were there have lost their values.
    target.batch_execute("alter table users add column status varchar(20)").unwrap();
    source.execute("update users set status = 'checked'", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select count(*) from users where status = 'checked'"), 2);
}

#[test]
fn a_hole_in_the_capture_is_reported_loudly() {
    let mut replication = Replication::start("audit");
    let mut source = replication.source();
    let problems = "select count(*) from replication.capture_problem";
    assert_eq!(count(&mut source, problems), 0);
    source.batch_execute("alter table users disable trigger replication_update").unwrap();
    source.batch_execute("drop trigger replication_delete on payments").unwrap();
    assert_eq!(count(&mut source, problems), 2);
    // It looks when it starts, and then once a minute.
    replication.publisher.kill();
    replication.publisher.start();
    wait_for("the publisher complains", || {
        let log = replication.publisher.log();
        let complains = log.contains("public.users: its capture trigger for update is not enabled always")
            && log.contains("public.payments: its capture trigger for delete is missing");
        complains.then_some(())
    });
    source.batch_execute("select replication.attach('users'), replication.attach('payments')").unwrap();
    assert_eq!(count(&mut source, problems), 0);
}

#[test]
fn a_detached_table_is_no_longer_captured_and_removal_leaves_no_trace() {
    let mut replication = Replication::start("detached");
    let mut source = replication.source();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    source.execute("select replication.detach('users')", &[]).unwrap();
    source.execute("insert into users (name, email) values ('N', '2@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 1);
    assert_eq!(count(&mut source, "select count(*) from outbox"), 1);

    assert_eq!(replication.publisher.stop().code(), Some(0));
    source.execute("select replication.remove()", &[]).unwrap();
    let left = "select (select count(*) from pg_trigger where tgname like 'replication%')
                     + (select count(*) from pg_event_trigger)
                     + (select count(*) from pg_class where relname in ('outbox', 'inbox', 'processed_events'))";
    assert_eq!(count(&mut source, left), 0);
    source.execute("insert into users (name, email) values ('N', '3@x')", &[]).unwrap();
}
