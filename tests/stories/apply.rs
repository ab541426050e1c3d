//! The awkward cases of applying: whatever the order of rows, B ends as A.

use crate::harness::{
    Replication, assert_same, count, start_with_tables as start, wait_for, wait_until_blocked,
};

/// Runs each of the transactions, once all in one tick and once a tick for each; after each, both sides
/// must be the same. `reset` brings the beginning back.
fn check(replication: &Replication, tables: &[&str], reset: &str, transactions: &[&str]) {
    let mut source = replication.source();
    source.batch_execute(reset).unwrap();
    for transaction in transactions {
        source.batch_execute(&format!("begin; {transaction}; commit")).unwrap();
        replication.wait_until_caught_up();
        assert_same(replication, tables);
    }
    let mut all_at_once = format!("begin; {reset}; {}; commit", transactions.join("; "));
    all_at_once = all_at_once.replace("set constraints all deferred", "select 1");
    source.batch_execute("begin; set constraints all deferred").unwrap();
    source.batch_execute(all_at_once.trim_start_matches("begin;")).unwrap();
    replication.wait_until_caught_up();
    assert_same(replication, tables);
    assert_no_trouble(replication);
}

fn assert_no_trouble(replication: &Replication) {
    let mut target = replication.target();
    let drift = "select deletes_missing + inserts_overwritten from replication.target_drift";
    assert_eq!(count(&mut target, drift), 0, "the target was thought to be changed by others");
    let log = replication.processor.log();
    assert!(!log.contains("Z ERROR "), "{log}");
}

#[test]
fn a_child_is_moved_to_another_parent_and_the_old_parent_is_deleted() {
    let tables = ["parent", "child"];
    let replication = start(
        "moved_child",
        "create table parent (id int primary key); create table child (id int primary key, parent_id int not null references parent)",
        &tables,
    );
    check(
        &replication,
        &tables,
        "delete from child; delete from parent; insert into parent values (1), (2); insert into child values (1, 1), (2, 1)",
        &[
            "update child set parent_id = 2; delete from parent where id = 1",
            "insert into parent values (3); update child set parent_id = 3 where id = 1; delete from child where id = 2; delete from parent where id = 2",
            "with p as (insert into parent values (4) returning id) insert into child select 4, id from p",
            "with c as (delete from child where id = 4 returning parent_id) delete from parent where id in (select parent_id from c)",
        ],
    );
}

#[test]
fn unique_values_are_used_again_swapped_and_passed_along_chains() {
    let tables = ["seat"];
    let replication = start(
        "unique_chains",
        "create table seat (id int primary key, place text unique, row_no int, number int, unique (row_no, number),
                            exclude using gist (box(point(row_no * 10, number * 10), point(row_no * 10 + 1, number * 10 + 1)) with &&));
         create unique index on seat (lower(place)); create unique index on seat (row_no) where number = 7",
        &tables,
    );
    check(
        &replication,
        &tables,
        "delete from seat; insert into seat select i, 'P' || i, i, 7 from generate_series(1, 6) i",
        &[
            "delete from seat where id = 6; insert into seat values (16, 'P6', 6, 7)",
            "update seat set place = 'tmp', row_no = -1 where id = 1; update seat set place = 'P1', row_no = 1 where id = 2;
             update seat set place = 'P2', row_no = 2 where id = 1",
            "update seat set place = 'p9', row_no = 99 where id = 5; update seat set place = 'P5', row_no = 5 where id = 4;
             update seat set place = 'P4', row_no = 4 where id = 3; update seat set place = 'P3', row_no = 3 where id = 5",
            "update seat set id = id + 100; update seat set place = upper(place) || '!' where id > 102",
            "delete from seat where id = 101; insert into seat values (101, 'again', 77, 1); update seat set place = 'P2' where id = 101",
        ],
    );
}

#[test]
fn tables_and_rows_that_refer_to_each_other_and_to_themselves() {
    let tables = ["person", "team", "tree"];
    let replication = start(
        "cycles",
        "create table person (id int primary key, team_id int);
         create table team (id int primary key, lead_id int references person deferrable initially deferred);
         alter table person add foreign key (team_id) references team deferrable initially immediate;
         create table tree (id int primary key, up int references tree on delete cascade on update cascade)",
        &tables,
    );
    check(
        &replication,
        &tables,
        "update person set team_id = null; delete from team; delete from person; delete from tree; insert into person values (1, null), (2, null)",
        &[
            "insert into team values (1, 1); update person set team_id = 1; insert into team values (2, 3); insert into person values (3, 2)",
            "insert into tree values (1, null), (2, 1), (3, 2), (4, 3), (5, 5)",
            "update tree set id = 20 where id = 2; delete from tree where id = 3",
            "update team set lead_id = 2 where id = 2; delete from person where id = 3; update tree set up = 20 where id = 1",
            "delete from tree where id = 1",
        ],
    );
}

#[test]
fn deferrable_constraints_let_rows_pass_through_each_other() {
    let tables = ["queue"];
    let replication = start(
        "deferrable",
        "create table queue (id int primary key deferrable initially immediate, place int unique deferrable initially deferred, note text)",
        &tables,
    );
    check(
        &replication,
        &tables,
        "delete from queue; insert into queue select i, i, 'n' || i from generate_series(1, 10) i",
        &[
            "update queue set id = id + 1, place = 11 - place",
            "set constraints all deferred; insert into queue values (5, 77, 'second five'); delete from queue where note = 'n4'",
            "update queue set id = -id where id < 6; update queue set id = -id where id < 0",
        ],
    );
}

#[test]
fn a_key_that_is_deleted_and_born_again_in_one_transaction() {
    let tables = ["thing"];
    let replication = start("reborn", "create table thing (id int primary key, a text, b text)", &tables);
    check(
        &replication,
        &tables,
        "delete from thing; insert into thing values (1, 'a', 'b'), (2, 'a', 'b')",
        &[
            "delete from thing where id = 1; insert into thing (id, a) values (1, 'again')",
            "insert into thing values (3, 'x'); delete from thing where id = 3; insert into thing values (3, 'y'); delete from thing where id = 3",
            "truncate thing; insert into thing values (1, 'after'); truncate thing; insert into thing values (2, 'twice')",
            "insert into thing values (9); savepoint s; delete from thing; rollback to s; update thing set b = 'kept'",
        ],
    );
}

#[test]
fn only_triggers_that_are_meant_for_replication_fire_in_the_target() {
    let replication = start("triggers", "create table noted (id int primary key, v text)", &["noted"]);
    let mut target = replication.target();
    target
        .batch_execute(
            "create table public.fired (name text);
             create function public.fire() returns trigger language plpgsql as
                 $$begin insert into public.fired values (tg_name); return new; end$$;
             create trigger ordinary before insert on noted for each row execute function public.fire();
             create trigger for_replica before insert on noted for each row execute function public.fire();
             create trigger for_all before insert on noted for each row execute function public.fire();
             alter table noted enable replica trigger for_replica, enable always trigger for_all",
        )
        .unwrap();
    replication.source().execute("insert into noted values (1, 'x')", &[]).unwrap();
    replication.wait_until_caught_up();
    let fired: String =
        target.query_one("select string_agg(name, ' ' order by name) from fired", &[]).unwrap().get(0);
    assert_eq!(fired, "for_all for_replica");
}

#[test]
fn the_source_wins_over_rows_that_others_changed_in_the_target() {
    let replication = start("drift", "create table stock (id int primary key, n int, v text)", &["stock"]);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("insert into stock select i, i, 'A' from generate_series(1, 5) i").unwrap();
    replication.wait_until_caught_up();
    target
        .batch_execute(
            "delete from stock where id in (1, 2); update stock set v = 'B' where id = 3;
             insert into stock values (10, 0, 'B'), (11, 0, 'B')",
        )
        .unwrap();
    source
        .batch_execute(
            "delete from stock where id = 1; update stock set n = 20 where id in (2, 3);
             insert into stock values (10, 1, 'A')",
        )
        .unwrap();
    replication.wait_until_caught_up();
    let rows: String =
        target.query_one("select string_agg(s::text, ' ' order by id) from stock s", &[]).unwrap().get(0);
    assert_eq!(rows, "(2,20,A) (3,20,A) (4,4,A) (5,5,A) (10,1,A) (11,0,B)");
    let drift = target
        .query_one("select deletes_missing, inserts_overwritten from replication.target_drift", &[])
        .unwrap();
    assert_eq!((drift.get::<_, i64>(0), drift.get::<_, i64>(1)), (1, 1));
    assert!(replication.processor.log().contains("somebody else writes to the target"));
}

#[test]
fn a_lacking_column_or_table_is_named_with_what_to_run_and_goes_on_once_it_is_run() {
    let replication = Replication::start("lacking");
    let mut source = replication.source();
    let mut target = replication.target();
    source
        .batch_execute(
            r#"create schema s; create type s.kind as enum ('a', 'b');
               create table s.wide (id int primary key, "Some ""Price""" numeric(10, 2), kinds s.kind[], twice int generated always as (id * 2) stored);
               select replication.attach('s.wide');
               insert into s.wide values (1, 1.5, '{a,b}')"#,
        )
        .unwrap();
    let error = wait_until_blocked(&mut target);
    assert!(error.contains(r#"has no table "s"."wide"; create it as it is in the source"#), "{error}");
    target
        .batch_execute("create schema s; create type s.kind as enum ('a', 'b'); create table s.wide (id int)")
        .unwrap();
    for (wanted, remedy) in [
        ("ADD COLUMN", ""),
        ("ADD PRIMARY KEY", ""),
        (
            "",
            "alter table s.wide drop column twice, add column twice int generated always as (id * 2) stored",
        ),
    ] {
        let error = wait_for(&format!("it says {wanted}"), || {
            Some(wait_until_blocked(&mut target)).filter(|error| error.contains(wanted))
        });
        if let Some((_, command)) = error.split_once("run: ") {
            target.batch_execute(command).unwrap();
        }
        target.batch_execute(remedy).unwrap();
        if wanted == "ADD COLUMN" {
            assert!(
                error.contains(r#"run: ALTER TABLE "s"."wide" ADD COLUMN "Some ""Price""" numeric(10,2), ADD COLUMN "kinds" s.kind[]"#),
                "{error}"
            );
        }
        if wanted == "ADD PRIMARY KEY" {
            break;
        }
    }
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["s.wide"]), [1]);
}

#[test]
fn a_value_that_does_not_fit_holds_with_the_row_that_has_it() {
    let replication = start(
        "does_not_fit",
        "create table sized (id int, part text, v text, primary key (id, part))",
        &["sized"],
    );
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table sized alter column v type int using v::int").unwrap();
    source
        .batch_execute("insert into sized select i, 'p', case when i = 700 then 'seven' else i::text end from generate_series(1, 900) i")
        .unwrap();
    let error = wait_until_blocked(&mut target);
    assert!(
        error.contains("the row is (700,p) of public.sized") && error.contains("invalid input syntax"),
        "{error}"
    );
    assert_eq!(count(&mut target, "select count(*) from sized"), 0);
    source.batch_execute("update sized set v = '7' where id = 700").unwrap();
    assert_eq!(
        count(&mut target, "select count(*) from sized"),
        0,
        "a later transaction overtook the one that blocks apply"
    );
    target.batch_execute("alter table sized alter column v type text").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["sized"]), [900]);
}

#[test]
fn columns_that_only_the_target_has_are_left_alone() {
    let replication =
        start("own_columns", "create table member (id int primary key, email text unique)", &["member"]);
    let (mut source, mut target) = (replication.source(), replication.target());
    target
        .batch_execute("alter table member add column note text not null default 'new', add column seen int")
        .unwrap();
    source.batch_execute("insert into member select i, i || '@x' from generate_series(1, 4) i").unwrap();
    replication.wait_until_caught_up();
    target.batch_execute("alter table member alter column note drop default; update member set note = 'note ' || id, seen = id").unwrap();
    source
        .batch_execute(
            "begin; update member set email = 'tmp' where id = 1; update member set email = '1@x' where id = 2;
             update member set email = '2@x' where id = 1; update member set email = upper(email) where id = 3;
             delete from member where id = 4; commit",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["member"]), [3]);
    let kept: String = target
        .query_one("select string_agg(m.note || '/' || m.seen, ' ' order by id) from member m", &[])
        .unwrap()
        .get(0);
    assert_eq!(kept, "note 1/1 note 2/2 note 3/3");
    // A row of the source's has no value for it.
    source.batch_execute("insert into member values (9, '9@x')").unwrap();
    let error = wait_until_blocked(&mut target);
    assert!(error.contains("note") && error.contains("the row is (9) of public.member"), "{error}");
    target.batch_execute("alter table member alter column note set default 'none'").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["member"]), [4]);
}
