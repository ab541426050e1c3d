//! Tables that change while they are replicated.

use crate::harness::{
    Replication, assert_equal, assert_same, attach, count, make_in_both, wait_for, wait_until_blocked,
};
use postgres::IsolationLevel;

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

/// In memory, in a large tick as it arrives, and in one that is applied from the inbox.
#[test]
fn what_goes_behind_an_alter_table_of_one_tick_stays_gone() {
    let replication = Replication::start("altered_and_gone");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add column phone text").unwrap();
    let swap = "update users set email = 'moving' where name = 'U1'; update users set email = 'u1@x' where name = 'U2';
                update users set email = 'u2@x' where name = 'U1';";
    for (filling, moving) in [(10, ""), (20_000, ""), (20_000, swap)] {
        source
            .batch_execute(
                "insert into users (name, email) values ('0', 'gone@x'), ('0', 'often@x');
                 insert into users (name, email) select 'U' || i, 'u' || i || '@x' from generate_series(1, 2) i",
            )
            .unwrap();
        replication.wait_until_caught_up();
        source
            .batch_execute(&format!(
                "begin;
                 insert into users (name, email) select 'F', i || '@x' from generate_series(1, {filling}) i;
                 {moving}
                 update users set name = '1' where name = '0';
                 alter table users add column phone text;
                 delete from users where email = 'gone@x';
                 update users set name = '2' where email = 'often@x';
                 alter table users drop column phone;
                 update users set name = '3' where email = 'often@x';
                 commit"
            ))
            .unwrap();
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["users"]), [filling + 3], "after {filling} rows {moving}");
        source
            .batch_execute(&format!(
                "begin;
                 insert into users (name, email) select 'G', 'g' || i || '@x' from generate_series(1, {filling}) i;
                 alter table users add column phone text;
                 truncate users cascade;
                 insert into users (name, email) values ('After', 'after@x');
                 alter table users drop column phone;
                 commit;
                 delete from users"
            ))
            .unwrap();
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["users"]), [0], "after {filling} rows {moving}");
    }
    let log = replication.processor.log();
    assert_eq!(
        log.matches("the quick apply was refused; applying from the inbox by staging").count(),
        1,
        "{log}"
    );
}

#[test]
fn a_column_of_the_target_that_is_widened_takes_values_as_they_are_from_then_on() {
    let replication = Replication::start("widened");
    let (mut source, mut target) = (replication.source(), replication.target());
    source
        .batch_execute("create table measured (id int primary key, value double precision, code text)")
        .unwrap();
    target.batch_execute("create table measured (id int primary key, value real, code int)").unwrap();
    attach(&replication, &["measured"]);
    source.execute("insert into measured values (1, 0.1, '7')", &[]).unwrap();
    replication.wait_until_caught_up();
    target
        .batch_execute(
            "alter table measured alter column value type double precision, alter column code type text",
        )
        .unwrap();
    source.execute("insert into measured values (2, 0.1, '007')", &[]).unwrap();
    replication.wait_until_caught_up();
    let as_it_is = "select count(*) from measured where id = 2 and value = 0.1::float8 and code = '007'";
    assert_eq!(count(&mut target, as_it_is), 1);
}

#[test]
fn a_large_table_of_the_target_is_emptied_part_by_part_by_one_transaction() {
    let replication = Replication::start("emptied");
    let (mut source, mut target) = (replication.source(), replication.target());
    source
        .batch_execute("create table plain (id int primary key, filling text); create table parted (like plain including all)")
        .unwrap();
    // A row of either fills a block.
    target
        .batch_execute(
            "create table plain (id int primary key, filling text);
             alter table plain alter column filling set storage plain;
             create table parted (like plain including all) partition by range (id);
             create table parted_1 partition of parted for values from (0) to (6000);
             create table parted_2 partition of parted for values from (6000) to (9000);
             insert into plain select i, repeat('x', 7000) from generate_series(1, 4200) i;
             insert into parted select i + 100, repeat('x', 7000) from generate_series(1, 6100) i;
             create table emptying (name text, remaining bigint);
             create function note() returns trigger language plpgsql as $$begin
                 execute format('insert into public.emptying select %L, count(*) from public.%1$I', tg_table_name);
                 return null;
             end$$;
             create trigger note after delete on plain execute function note();
             alter table plain enable always trigger note;
             create trigger note after delete on parted execute function note();
             alter table parted enable always trigger note",
        )
        .unwrap();
    attach(&replication, &["plain", "parted"]);
    // Somebody moves a row from the last blocks to the first ones, and takes their time.
    target.batch_execute("delete from plain where id <= 100").unwrap();
    target.batch_execute("vacuum plain").unwrap();
    target.batch_execute("truncate emptying").unwrap();
    let mut somebody = replication.target();
    let mut moving = somebody.transaction().unwrap();
    let moved = moving
        .query_one("update plain set filling = filling || 'y' where id = 4200 returning (ctid::text::point)[0] < 200", &[])
        .unwrap();
    assert!(moved.get::<_, bool>(0));
    source.batch_execute("truncate plain; truncate parted; insert into plain values (1, 'new'); insert into parted values (7000, 'new')").unwrap();
    wait_for("the processor waits for them", || {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        (count(&mut target, waiting) > 0).then_some(())
    });
    moving.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["plain", "parted"]), [1, 1]);
    for table in ["plain", "parted"] {
        let statements = count(&mut target, &format!("select count(*) from emptying where name = '{table}'"));
        assert!(statements > 1, "{table} was emptied by {statements} statements");
        assert_eq!(
            count(&mut target, &format!("select min(remaining) from emptying where name = '{table}'")),
            0
        );
    }
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
    let error = wait_until_blocked(&mut target);
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

#[test]
fn a_table_that_holds_rows_is_sent_as_a_whole_and_a_target_that_differs_is_repaired() {
    let replication = Replication::start("resent");
    let tables = "create table stock (id int primary key, v text)";
    make_in_both(&replication, tables);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("insert into stock select i, 'old ' || i from generate_series(1, 30000) i").unwrap();
    let refused = source.execute("select replication.resend('stock')", &[]).unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("stock is not attached"), "{refused:?}");
    attach(&replication, &["stock"]);
    source.execute("update stock set v = 'new' where id = 7", &[]).unwrap();
    source.batch_execute("begin; select replication.resend('stock'); insert into stock values (0, 'same transaction'); commit").unwrap();
    wait_for("the rows are there", || {
        let seen = count(&mut target, "select count(*) from stock");
        assert!([0, 1, 30_001].contains(&seen), "a reader saw {seen} rows of 30001");
        (seen == 30_001).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["stock"]), [30_001]);

    target.batch_execute("update stock set v = 'spoilt' where id < 100; delete from stock where id > 29000; insert into stock values (-1, 'stray')").unwrap();
    source.execute("select replication.resend('stock')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["stock"]), [30_001]);
}

#[test]
fn what_is_sent_again_is_what_was_there_after_the_wait_for_those_who_write() {
    let replication = Replication::start("resent_late");
    let mut source = replication.source();
    let mut transaction =
        source.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().unwrap();
    transaction.query("select from users", &[]).unwrap();
    // Captured before the rows that are sent, which do not have it.
    replication.source().execute("insert into users (name, email) values ('New', 'new@x')", &[]).unwrap();
    let refused = transaction.execute("select replication.resend('users')", &[]).unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(
        refused.message().contains("replication.resend must run in a READ COMMITTED transaction"),
        "{refused:?}"
    );
    transaction.rollback().unwrap();
    source.execute("select replication.resend('users')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
}

#[test]
fn row_security_cannot_hide_rows_from_what_is_sent_again() {
    let replication = Replication::start("resent_in_part");
    let mut source = replication.source();
    source
        .batch_execute(
            "insert into users (name, email) values ('Seen', 'seen@x'), ('Hidden', 'hidden@x');
             do $$begin create role resent_owner; exception when duplicate_object then null; end$$;
             select replication.grant_to_publisher('resent_owner'); alter table payments owner to resent_owner;
             alter table users owner to resent_owner; alter table users force row level security, enable row level security;
             create policy seen on users using (name = 'Seen')",
        )
        .unwrap();
    // Read by a role that no policy concerns, whoever asks for it.
    let sent = "set role resent_owner; select replication.resend('users'); reset role";
    source.batch_execute(sent).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 2);
    // By one that policies concern, as where no superuser attached the table.
    source
        .batch_execute(
            "do $$begin execute format('alter function replication.capture_rows_%s() owner to resent_owner',
                                       'users'::regclass::oid); end$$",
        )
        .unwrap();
    let refused = source.batch_execute(sent).unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(refused.message().contains("would be affected by row-level security policy"), "{refused:?}");
    source
        .batch_execute("reset role; select replication.attach('users'); select replication.resend('users')")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 2);
    source
        .batch_execute(
            "alter table users owner to current_user; alter table payments owner to current_user;
             drop owned by resent_owner; drop role resent_owner",
        )
        .unwrap();
}

#[test]
fn a_column_that_goes_with_its_type_is_followed() {
    let replication = Replication::start("type_dropped");
    let tables = "create type mood as enum ('good', 'bad'); create domain code as int;
                  create table felt (id int primary key, m mood, v text); create table coded (id code primary key)";
    make_in_both(&replication, tables);
    attach(&replication, &["felt", "coded"]);
    let mut source = replication.source();
    source.batch_execute("insert into felt values (1, 'good', 'a')").unwrap();
    replication.wait_until_caught_up();
    source
        .batch_execute(
            "begin; update felt set v = 'b'; drop type mood cascade; insert into felt values (2, 'c'); commit;
             update felt set v = v || '!'",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["felt"]), [2]);
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    // With its key it cannot go.
    let refused = source.batch_execute("drop domain code cascade").unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(
        refused.message().contains("the replicated table public.coded cannot be changed so"),
        "{refused:?}"
    );
    // What nobody replicates goes as ever, and so does all of it.
    source
        .batch_execute(
            "create table other (id int, c code); drop table other; drop schema if exists none cascade",
        )
        .unwrap();
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
        .batch_execute("insert into app_old.t values (2, 'to be written'); delete from app.t")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["app_old.t"]), [3]);
    source.batch_execute("alter index app_old.t rename to renamed").unwrap();
    replication.target().batch_execute("alter index app_old.t rename to renamed").unwrap();
    source.batch_execute("delete from app_old.renamed where id = 3").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["app_old.renamed"]), [2]);
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
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
