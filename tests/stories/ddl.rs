//! DDL on attached tables under other names than ALTER TABLE, and the replication's part in everybody's DDL.

use crate::harness::{Replication, assert_same, make_in_both, start_with_tables};
use postgres::Client;

fn capture_problems(source: &mut Client) -> Vec<String> {
    let rows = source.query("select problem from replication.capture_problem", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_typed_table_follows_its_type() {
    let replication = start_with_tables(
        "typed",
        "create type person as (id int, name text); create table people of person (primary key (id))",
        &["people"],
    );
    let mut source = replication.source();
    source.batch_execute("insert into people values (1, 'a')").unwrap();
    replication.wait_until_caught_up();
    for ddl in [
        "alter type person add attribute born date cascade",
        "alter type person rename attribute name to full_name cascade",
        "alter type person drop attribute born cascade",
    ] {
        make_in_both(&replication, ddl);
        source.batch_execute("update people set id = id + 10; insert into people (id) values (1)").unwrap();
        replication.wait_until_caught_up();
        assert_eq!(capture_problems(&mut source), Vec::<String>::new(), "{ddl}");
        assert_same(&replication, &["people"]);
    }
}

#[test]
fn a_column_is_renamed_by_whatever_command_takes_a_table() {
    let replication =
        start_with_tables("renamed_by", "create table rn (id int primary key, b text)", &["rn"]);
    let mut source = replication.source();
    source.batch_execute("insert into rn values (1, 'a')").unwrap();
    replication.wait_until_caught_up();
    for (kind, from, to) in [
        ("view", "b", "c"),
        ("materialized view", "c", "d"),
        ("foreign table", "d", "e"),
        ("index", "e", "f"),
    ] {
        let ddl = match kind {
            "index" => format!("alter table rn rename column {from} to {to}"),
            kind => format!("alter {kind} rn rename column {from} to {to}"),
        };
        make_in_both(&replication, &ddl);
        source
            .batch_execute(&format!(
                "update rn set {to} = '{to}'; insert into rn values (ascii('{to}'), '{to}')"
            ))
            .unwrap();
        replication.wait_until_caught_up();
        assert_eq!(capture_problems(&mut source), Vec::<String>::new(), "{ddl}");
        assert_same(&replication, &["rn"]);
    }
}

/// What a type contains at the time of capture counts, not what it contained when the table was attached.
#[test]
fn a_composite_type_that_gets_an_attribute_is_written_independently_of_the_sessions_settings() {
    let replication = start_with_tables(
        "composite",
        "create type comp as (a int); create table cc (id int primary key, c comp, m comp[])",
        &["cc"],
    );
    make_in_both(
        &replication,
        "alter type comp add attribute i interval; alter type comp add attribute d date; alter type comp add attribute f float8",
    );
    let mut source = replication.source();
    let row = "row(1, '-1 day -2:03:04', '2020-02-01', 0.1::float8 + 0.2::float8)::comp";
    source
        .batch_execute(&format!(
            "set intervalstyle = sql_standard; set datestyle = 'SQL, DMY'; set extra_float_digits = 0;
             insert into cc values (1, {row}, array[{row}]); update cc set id = 2;
             insert into cc values (3, {row}, array[{row}])"
        ))
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["cc"]), [2]);
}

/// One table that cannot be captured any more concerns nobody else's DDL.
#[test]
fn an_attached_table_that_cannot_be_captured_does_not_make_others_ddl_fail() {
    let replication =
        start_with_tables("others_ddl", "create table parent (id int primary key, b text)", &["parent"]);
    let mut source = replication.source();
    // A superuser can go around the event trigger.
    source
        .batch_execute(
            "begin; alter event trigger replication_follow_ddl disable;
             create table child () inherits (parent);
             alter event trigger replication_follow_ddl enable always; commit",
        )
        .unwrap();
    assert!(!capture_problems(&mut source).is_empty());
    source
        .batch_execute("create temp table unrelated (a int); alter table unrelated add column b int")
        .unwrap();
    let refused = source.batch_execute("create table another () inherits (parent)").unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("other tables inherit from it"), "{refused:?}");
    let foreign = "create foreign data wrapper dummy; create server s0 foreign data wrapper dummy;
                   create table fp (id int primary key); select replication.attach('fp')";
    source.batch_execute(foreign).unwrap();
    let refused = source.batch_execute("create foreign table fc () inherits (fp) server s0").unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("other tables inherit from it"), "{refused:?}");
}

/// Each table used to cost 0.1 s here, for compiling (JIT) a plan that looked expensive.
#[test]
fn ddl_costs_little_also_in_a_session_that_disables_planner_methods() {
    let replication = Replication::start("planner_methods");
    let mut source = replication.source();
    for number in 0..60 {
        source
            .batch_execute(&format!(
                "create table many_{number} (id int primary key); select replication.attach('many_{number}')"
            ))
            .unwrap();
    }
    source
        .batch_execute(
            "analyze; set statement_timeout = '4s'; set enable_nestloop = off; set enable_hashjoin = off;
             set enable_mergejoin = off; set enable_bitmapscan = off",
        )
        .unwrap();
    source.batch_execute("create temp table x (a int)").unwrap();
    source.batch_execute("alter table x add column b int").unwrap();
}
