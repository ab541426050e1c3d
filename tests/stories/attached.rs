//! What the source tells about its attached tables: what is followed, refused, or reported.

use crate::harness::{Replication, assert_same, attach, count, make_in_both, wait_for};

#[test]
fn a_hole_in_the_capture_is_reported_loudly() {
    let mut replication = Replication::start("audit");
    let mut source = replication.source();
    let problems = "select count(*) from replication.capture_problem";
    assert_eq!(count(&mut source, problems), 0);
    source.batch_execute("alter table users disable trigger replication_update").unwrap();
    source.batch_execute("drop trigger replication_delete on payments").unwrap();
    assert_eq!(count(&mut source, problems), 2);
    // It checks at its start, and then once a minute.
    replication.publisher.kill();
    replication.publisher.start();
    wait_for("the publisher complains", || {
        let log = replication.publisher.log();
        let complains = log.contains("public.users: its capture trigger for update is not enabled always")
            && log.contains("public.payments: its capture trigger for delete is missing");
        complains.then_some(())
    });
    source.batch_execute("select replication.attach('users'), replication.attach('payments')").unwrap();
    let escaped =
        "select count(*) from replication.capture_problem where problem like 'changes of it escaped%'";
    assert_eq!([count(&mut source, problems), count(&mut source, escaped)], [2, 2]);
    source.batch_execute("select replication.resend('users'), replication.resend('payments')").unwrap();
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

/// Makes room for something else of the name that a table has.
const SWAP: &str = "alter schema app rename to app_old; create schema app";

#[test]
fn a_schema_that_is_renamed_takes_its_tables_along() {
    let replication = Replication::start("schema_renamed");
    make_in_both(&replication, "create schema app; create table app.t (id int primary key, v text)");
    attach(&replication, &["app.t"]);
    let mut source = replication.source();
    source.batch_execute("insert into app.t values (1, 'before')").unwrap();
    replication.wait_until_caught_up();
    replication
        .target()
        .batch_execute(&format!("{SWAP}; create table app.t (id int primary key, v text)"))
        .unwrap();
    source
        .batch_execute(&format!(
            "begin; insert into app.t values (2, 'same transaction'); {SWAP}; create table app.t (id int primary key, v text);
             insert into app.t values (1, 'another'); update app_old.t set v = 'after' where id = 1;
             insert into app_old.t values (3, 'after'); commit; update app_old.t set v = v || '!'"
        ))
        .unwrap();
    // Captured under the name of the time; that one is another table's in the target by now.
    replication
        .target()
        .batch_execute(
            "insert into app_old.t values (2, 'to be written') on conflict do nothing; delete from app.t",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["app_old.t"]), [3]);
    source.batch_execute("alter index app_old.t rename to renamed").unwrap();
    replication.target().batch_execute("alter index app_old.t rename to renamed").unwrap();
    source.batch_execute("delete from app_old.renamed where id = 3").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["app_old.renamed"]), [2]);
    let another = "select count(*) from replication.capture_problem where problem like '%this is another one%attach(''app.t'')%'";
    assert_eq!(count(&mut source, another), 1);
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 1);
}

#[test]
fn a_table_whose_renaming_was_not_followed_is_not_captured_under_a_wrong_name() {
    let replication = Replication::start("not_followed");
    make_in_both(&replication, "create schema app; create table app.t (id int primary key, v text)");
    attach(&replication, &["app.t"]);
    let mut source = replication.source();
    // As where the schema was installed without superuser rights.
    source
        .batch_execute(&format!(
            "insert into app.t values (1, 'before'); drop event trigger replication_follow_ddl; {SWAP};
             create table who (name text);
             create function app.code() returns text language sql as 'insert into public.who values (current_user) returning name';
             create view app.t as select 1 as id, app.code() as v"
        ))
        .unwrap();
    let problem: String =
        source.query_one("select problem from replication.capture_problem", &[]).unwrap().get(0);
    assert!(problem.contains("it is app_old.t now") && problem.contains("attach('app_old.t')"), "{problem}");
    for write in [
        "update app_old.t set v = 'x'",
        "delete from app_old.t",
        "truncate app_old.t",
        "insert into app_old.t values (2)",
        "set datestyle = 'German'; insert into app_old.t values (3)",
        "select replication.resend('app_old.t')",
    ] {
        let refused = source.batch_execute(write).unwrap_err();
        let refused = refused.as_db_error().unwrap();
        assert!(
            refused.message().contains("the replicated table app_old.t was app.t"),
            "{write}: {refused:?}"
        );
        assert_eq!(refused.hint(), Some("select replication.attach('app_old.t');"), "{write}");
    }
    assert_eq!(count(&mut source, "select count(*) from who"), 0);
    replication.target().batch_execute("alter schema app rename to app_old").unwrap();
    source.batch_execute("select replication.attach('app_old.t'); update app_old.t set v = 'known'; insert into app_old.t values (2)").unwrap();
    source.batch_execute("select replication.resend('app_old.t')").unwrap();
}

#[test]
fn a_primary_key_that_was_changed_unseen_is_reported() {
    let replication = Replication::start("key_changed");
    let mut source = replication.source();
    source
        .batch_execute(
            "create table pair (a int not null, b int not null, constraint pair_key primary key (a));
             select replication.attach('pair'); alter event trigger replication_follow_ddl disable;
             alter table pair drop constraint pair_key, add primary key (b, a)",
        )
        .unwrap();
    let problem =
        "select count(*) from replication.capture_problem where problem like 'its primary key was changed%'";
    assert_eq!(count(&mut source, problem), 1);
    source.batch_execute("select replication.attach('pair')").unwrap();
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
}

#[test]
fn a_primary_key_that_is_initially_deferred_is_refused_or_reported() {
    let replication = Replication::start("deferred_key");
    let mut source = replication.source();
    let late = "create table late (id int primary key deferrable initially deferred, v text)";
    source.batch_execute(late).unwrap();
    let refused = source.execute("select replication.attach('late')", &[]).unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(refused.message().contains("its primary key is INITIALLY DEFERRED"), "{refused:?}");
    source
        .batch_execute(
            "alter table late drop constraint late_pkey, add primary key (id) deferrable initially immediate;
             select replication.attach('late')",
        )
        .unwrap();
    let problems =
        "select count(*) from replication.capture_problem where problem like '%INITIALLY DEFERRED%'";
    assert_eq!(count(&mut source, problems), 0);
    source
        .batch_execute(
            "alter table late drop constraint late_pkey, add primary key (id) deferrable initially deferred",
        )
        .unwrap();
    assert_eq!(count(&mut source, problems), 1);
    // Nobody is kept from changing tables by that.
    source.batch_execute("create table another (id int); alter table late add column w int").unwrap();
}

#[test]
fn a_table_that_a_subscription_writes_to_is_refused_or_reported() {
    let replication = Replication::start("subscribed");
    let mut source = replication.source();
    // Rolled back whatever happens: a database with a subscription cannot be dropped.
    let mut transaction = source.transaction().unwrap();
    // As CREATE SUBSCRIPTION leaves it, without a server to subscribe to.
    transaction
        .batch_execute(
            "create table fed (id int primary key); create table later (id int primary key); select replication.attach('later');
             create subscription subscribed_sub connection 'dbname=nowhere' publication nothing with (connect = false);
             insert into pg_subscription_rel (srsubid, srrelid, srsubstate)
             select s.oid, c.oid, 'i' from pg_subscription s, pg_class c
             where s.subname = 'subscribed_sub' and c.relname in ('fed', 'later')",
        )
        .unwrap();
    let mut attempt = transaction.transaction().unwrap();
    let refused = attempt.execute("select replication.attach('fed')", &[]).unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(
        refused.message().contains("cannot attach public.fed: a logical subscription writes to it"),
        "{refused:?}"
    );
    attempt.rollback().unwrap();
    let problem: String = transaction
        .query_one("select problem from replication.capture_problem where table_name = 'public.later'", &[])
        .unwrap()
        .get(0);
    assert!(problem.contains("a logical subscription writes to it"), "{problem}");
    // Nobody is kept from changing tables by that.
    let ddl = "create table another (id int); alter table another add v int; alter table later add v int";
    transaction.batch_execute(ddl).unwrap();
}
