//! DDL on attached tables under other names than ALTER TABLE, and the replication's part in everybody's DDL.

use crate::harness::{Replication, assert_same, capture_problems, make_in_both, start_with_tables};

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

#[test]
fn a_domain_that_is_renamed_or_moved_is_followed() {
    let replication = start_with_tables(
        "domain",
        "create schema types; create domain code as int; create domain price as numeric(10, 2);
         create table priced (id code primary key, p price, a price[])",
        &["priced"],
    );
    let mut source = replication.source();
    for ddl in [
        "alter domain price rename to amount",
        "alter domain amount set schema types",
        "alter domain code add constraint positive check (value > 0)",
        "alter domain code rename to number",
    ] {
        make_in_both(&replication, ddl);
        source
            .batch_execute(
                "delete from priced; insert into priced values (1, 1.5, array[2.5]); update priced set p = 3",
            )
            .unwrap();
        replication.wait_until_caught_up();
        assert_eq!(capture_problems(&mut source), Vec::<String>::new(), "{ddl}");
        let types = "select types = array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a
                                          where a.attrelid = 'public.priced'::regclass and a.attnum > 0 order by a.attnum)
                     from replication.shape s join replication.attached a on a.shape_id = s.id
                     where a.relation = 'public.priced'::regclass";
        source.batch_execute("set search_path = pg_catalog").unwrap();
        assert!(
            source.query_one(types, &[]).unwrap().get::<_, bool>(0),
            "{ddl}: the types that are told to the target"
        );
        source.batch_execute("reset search_path").unwrap();
        assert_same(&replication, &["priced"]);
    }
}

#[test]
fn dropping_an_operator_class_may_not_take_the_key_of_an_attached_table_along() {
    let replication = start_with_tables(
        "operator_class",
        "create function order_of(point, point) returns int language sql immutable as 'select btfloat8cmp($1[0], $2[0])';
         create function lt(point, point) returns bool language sql immutable as 'select order_of($1, $2) < 0';
         create function le(point, point) returns bool language sql immutable as 'select order_of($1, $2) <= 0';
         create function eq(point, point) returns bool language sql immutable as 'select order_of($1, $2) = 0';
         create function ge(point, point) returns bool language sql immutable as 'select order_of($1, $2) >= 0';
         create function gt(point, point) returns bool language sql immutable as 'select order_of($1, $2) > 0';
         create operator #< (leftarg = point, rightarg = point, function = lt);
         create operator #<= (leftarg = point, rightarg = point, function = le);
         create operator #= (leftarg = point, rightarg = point, function = eq);
         create operator #>= (leftarg = point, rightarg = point, function = ge);
         create operator #> (leftarg = point, rightarg = point, function = gt);
         create operator class mark_ops default for type point using btree as
             operator 1 #<, operator 2 #<=, operator 3 #=, operator 4 #>=, operator 5 #>, function 1 order_of(point, point);
         create table marked (m point primary key, v text); create table other (m point primary key)",
        &["marked"],
    );
    let mut source = replication.source();
    let refused = source.batch_execute("drop operator class mark_ops using btree cascade").unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(
        refused
            .message()
            .contains("the replicated table public.marked cannot be changed so: it has no primary key"),
        "{refused:?}"
    );
    source
        .batch_execute(
            "select replication.detach('marked'); drop operator class mark_ops using btree cascade",
        )
        .unwrap();
    // A key that is replaced within one command is no key that is missing.
    source
        .batch_execute(
            "create table keyed (id int primary key, other int not null); select replication.attach('keyed');
             alter table keyed drop constraint keyed_pkey, add primary key (other)",
        )
        .unwrap();
    assert_eq!(capture_problems(&mut source), Vec::<String>::new());
}

#[test]
fn ddl_of_a_transaction_that_cannot_see_the_attachment_is_refused() {
    let replication = Replication::start("unseen");
    let (mut source, mut other) = (replication.source(), replication.source());
    make_in_both(
        &replication,
        "create table late (id int primary key, b text); create table plain (id int primary key)",
    );
    source.batch_execute("begin isolation level repeatable read; select 1").unwrap();
    other.batch_execute("select replication.attach('late')").unwrap();
    source.batch_execute("alter table plain add column v int").unwrap();
    let refused = source.batch_execute("alter table late rename column b to c").unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.code().code(), "40001");
    assert!(refused.message().contains("could not follow DDL on public.late"), "{refused:?}");
    source
        .batch_execute(
            "rollback; begin isolation level repeatable read; alter table late rename column b to c; commit",
        )
        .unwrap();
    replication.target().batch_execute("alter table late rename column b to c").unwrap();
    source.batch_execute("insert into late values (1, 'c'); update late set c = 'd'").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["late"]), [1]);
    assert_eq!(capture_problems(&mut source), Vec::<String>::new());
}
