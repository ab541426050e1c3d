//! What a message says to run makes replication go on, and both sides equal.

use crate::harness::{
    Replication, assert_same, count, start_with_tables as start, wait_for, wait_until_blocked,
};

/// What the message of a target that is blocked says to run.
fn remedy(replication: &Replication) -> String {
    let error = wait_until_blocked(&mut replication.target());
    let (_, remedy) = error.split_once("run: ").unwrap_or_else(|| panic!("nothing to run: {error}"));
    remedy.to_owned()
}

/// Runs it, and what it says to run in the source after that.
fn run(replication: &Replication, remedy: &str) {
    replication.target().batch_execute(remedy).unwrap();
    if let Some((_, sent_again)) = remedy.split_once("in the source, ") {
        replication.wait_until_caught_up();
        replication.source().batch_execute(sent_again.split_inclusive(';').next().unwrap()).unwrap();
    }
    replication.wait_until_caught_up();
}

#[test]
fn a_column_with_values_for_the_rows_that_are_there() {
    let replication = start("remedy_column", "create table t (id int primary key, v text)", &["t"]);
    let mut source = replication.source();
    source.batch_execute("insert into t values (1, 'a'), (2, 'b')").unwrap();
    replication.wait_until_caught_up();
    source
        .batch_execute(
            "alter table t add column status text not null default 'open'; insert into t values (3, 'c')",
        )
        .unwrap();
    run(&replication, &remedy(&replication));
    assert_eq!(assert_same(&replication, &["t"]), [3]);
    let open = "select count(*) from t where status = 'open'";
    assert_eq!(count(&mut replication.target(), open), 3);
    // One that was renamed: the target has a column that the source does not have any more.
    source
        .batch_execute("alter table t rename column status to state; insert into t values (4, 'd')")
        .unwrap();
    let remedy = remedy(&replication);
    assert!(
        remedy.contains("if a column was renamed there: ALTER TABLE ... RENAME COLUMN ... TO ...;"),
        "{remedy}"
    );
    replication.target().batch_execute("alter table t rename column status to state").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["t"]), [4]);
}

#[test]
fn a_column_that_only_the_target_has_and_that_must_have_a_value() {
    let replication = start("remedy_not_null", "create table t (id int primary key, v text)", &["t"]);
    replication
        .target()
        .batch_execute("alter table t add column flag boolean default true not null; alter table t alter column flag drop default")
        .unwrap();
    replication.source().batch_execute("insert into t values (1, 'a')").unwrap();
    let remedy = remedy(&replication);
    assert!(
        remedy.starts_with(r#"ALTER TABLE "public"."t" ALTER COLUMN "flag" SET DEFAULT ...;"#),
        "{remedy}"
    );
    run(&replication, &remedy.replace("...", "true"));
    assert_eq!(assert_same(&replication, &["t"]), [1]);
}

#[test]
fn another_key_than_the_target_has() {
    let replication = start("remedy_key", "create table t (a int primary key, b int not null)", &["t"]);
    let mut source = replication.source();
    source.batch_execute("insert into t select i, i + 10 from generate_series(1, 3) i").unwrap();
    replication.wait_until_caught_up();
    source
        .batch_execute(
            "alter table t drop constraint t_pkey, add primary key (b); update t set a = -a where b = 12",
        )
        .unwrap();
    run(&replication, &remedy(&replication));
    assert_eq!(assert_same(&replication, &["t"]), [3]);
}

#[test]
fn a_view_or_a_table_partitioned_by_other_columns_cannot_be_written_to() {
    let replication = start("remedy_view", "create table t (id int primary key, v text)", &["t"]);
    let mut target = replication.target();
    target.batch_execute("alter table t rename to real; create view t as select * from real").unwrap();
    replication.source().batch_execute("insert into t values (1, 'a')").unwrap();
    let error = wait_until_blocked(&mut target);
    assert!(
        error.contains(r#""public"."t" is no table in the target"#) && !error.contains("run:"),
        "{error}"
    );
    target
        .batch_execute("drop view t; create table t (id int, v text) partition by list (v); create table t_a partition of t for values in ('a')")
        .unwrap();
    wait_for("it says that it is partitioned", || {
        let error = wait_until_blocked(&mut target);
        (error.contains("it is partitioned by v") && !error.contains("run:")).then_some(())
    });
    target.batch_execute("drop table t; alter table real rename to t").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["t"]), [1]);
}

#[test]
fn a_role_that_may_not_write_to_a_table() {
    let mut replication = Replication::prepare("remedy_denied", &[]);
    replication.migrate_target();
    let (mut source, mut target) = (replication.source(), replication.target());
    for (client, role, service) in
        [(&mut source, "remedy_publisher", "publisher"), (&mut target, "remedy_processor", "processor")]
    {
        client
            .batch_execute(&format!(
                "do $$begin create role {role} login password 'password'; exception when duplicate_object then null; end$$;
                 select replication.grant_to_{service}('{role}'); create schema hidden; alter table users set schema hidden"
            ))
            .unwrap();
    }
    replication.use_role("remedy_publisher", "remedy_processor");
    replication.start_services();
    source.batch_execute("insert into hidden.users (name, email) values ('N', 'n@x')").unwrap();
    let remedy = remedy(&replication);
    assert_eq!(
        remedy.split_inclusive(';').next().unwrap(),
        r#"select replication.accept('"hidden"."users"', '"remedy_processor"');"#
    );
    run(&replication, remedy.split_inclusive(';').next().unwrap());
    assert_eq!(assert_same(&replication, &["hidden.users"]), [1]);
    target.batch_execute("revoke insert on hidden.users from remedy_processor").unwrap();
    source.batch_execute("insert into hidden.users (name, email) values ('O', 'o@x')").unwrap();
    let remedy = wait_for("it is blocked again", || {
        let error = wait_until_blocked(&mut target);
        error.contains(r#"write to "hidden"."users""#).then_some(error)
    });
    run(&replication, remedy.split_once("run: ").unwrap().1.split_inclusive(';').next().unwrap());
    assert_eq!(assert_same(&replication, &["hidden.users"]), [2]);
    replication.processor.kill();
    replication.publisher.kill();
    target.batch_execute("drop owned by remedy_processor; drop role remedy_processor").unwrap();
    source.batch_execute("drop owned by remedy_publisher; drop role remedy_publisher").unwrap();
}
