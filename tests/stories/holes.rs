//! What may have escaped the capture is remembered until the target has it.

use crate::harness::{
    assert_same, capture_problems, compare_by_script, make_in_both, start_with_tables, wait_for,
};
use postgres::Client;
use std::time::Duration;

const TABLE: &str = "create table t (id int primary key, v text)";

fn assert_one_problem(source: &mut Client, words: &str) {
    let problems = capture_problems(source);
    assert!(problems.len() == 1 && problems[0].contains(words), "{problems:?}");
}

fn assert_no_problem(source: &mut Client) {
    assert_eq!(capture_problems(source), Vec::<String>::new());
}

fn as_a_load_does(rows: &str) -> String {
    format!("alter table t disable trigger all; {rows}; alter table t enable trigger all")
}

#[test]
fn what_escaped_while_triggers_were_disabled_is_reported_until_the_table_is_sent() {
    let replication = start_with_tables("hole_load", TABLE, &["t"]);
    let mut source = replication.source();
    source.batch_execute("insert into t values (1, 'before')").unwrap();
    source
        .batch_execute(&as_a_load_does("insert into t select i, 'loaded' from generate_series(2, 20) i"))
        .unwrap();
    // It is captured again without another command, also what sessions of replicas write.
    source
        .batch_execute(
            "set session_replication_role = replica; insert into t values (21, 'after'); reset all",
        )
        .unwrap();
    assert_one_problem(&mut source, "run: select replication.resend('t')");
    make_in_both(&replication, "alter table t add column w int");
    source.batch_execute("select replication.attach('t'); update t set w = 1 where id = 1").unwrap();
    assert_one_problem(&mut source, "escaped while its capture triggers were off");
    source.batch_execute("select replication.resend('t')").unwrap();
    assert_no_problem(&mut source);
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["t"]), [21]);
    // What was rolled back left no hole; a load in a transaction that began before nobody's else did is no error.
    source
        .batch_execute(&format!(
            "begin isolation level repeatable read; {}; rollback",
            as_a_load_does("delete from t")
        ))
        .unwrap();
    assert_no_problem(&mut source);
    source
        .batch_execute(&format!(
            "begin isolation level serializable; {}; commit",
            as_a_load_does("delete from t where id = 3")
        ))
        .unwrap();
    assert_one_problem(&mut source, "escaped");
    source.batch_execute("drop trigger replication_delete on t").unwrap();
    assert_one_problem(&mut source, "its capture trigger for delete is missing");
    source.batch_execute("select replication.attach('t'), replication.resend('t')").unwrap();
    assert_no_problem(&mut source);
}

#[test]
fn a_comparison_that_finds_the_table_equal_forgets_the_hole_and_no_other_does() {
    let mut replication = start_with_tables("hole_compared", TABLE, &["t"]);
    let mut source = replication.source();
    source.batch_execute("insert into t values (1, 'first')").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(replication.processor.stop().code(), Some(0));
    // Pending, and then changed unseen: a comparison leaves out what is pending.
    source.batch_execute("update t set v = 'captured'").unwrap();
    source.batch_execute(&as_a_load_does("update t set v = 'escaped'")).unwrap();
    let (status, output) = compare_by_script(&replication, "t");
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("run this again when B has applied what is pending"), "{output}");
    assert_one_problem(&mut source, "escaped");
    replication.processor.start();
    replication.wait_until_caught_up();
    let (status, output) = compare_by_script(&replication, "t");
    assert_eq!(status, Some(1), "{output}");
    assert_one_problem(&mut source, "escaped");
    replication.target().batch_execute("update t set v = 'escaped'").unwrap();
    let (status, output) = compare_by_script(&replication, "t");
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("no longer reports it"), "{output}");
    assert_no_problem(&mut source);
}

#[test]
fn a_table_that_is_dropped_is_detached_and_one_made_under_its_name_is_reported() {
    let replication = start_with_tables("hole_dropped", TABLE, &["t"]);
    let mut source = replication.source();
    source.batch_execute("insert into t values (1, 'of the first')").unwrap();
    replication.wait_until_caught_up();
    source.batch_execute("drop table t").unwrap();
    assert_no_problem(&mut source);
    let left = "select (select count(*) from replication.attached where relation::oid not in (select oid from pg_class))
                     + (select count(*) from pg_proc where proname in ('capture_3', 'capture_insert_3', 'capture_rows_3'))";
    assert_eq!(source.query_one(left, &[]).unwrap().get::<_, i64>(0), 0);
    source.batch_execute(&format!("{TABLE}; insert into t values (2, 'of the second')")).unwrap();
    assert_one_problem(&mut source, "run: select replication.attach('t'), select replication.resend('t')");
    source.batch_execute("select replication.attach('t')").unwrap();
    assert_one_problem(&mut source, "run: select replication.resend('t')");
    source.batch_execute("select replication.resend('t')").unwrap();
    assert_no_problem(&mut source);
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["t"]), [1]);
    // In one transaction, and as part of a schema.
    source
        .batch_execute(&format!("begin; drop table t; {TABLE}; commit; select replication.detach('t')"))
        .unwrap();
    assert_no_problem(&mut source);
    source
        .batch_execute("create schema gone; create table gone.g (id int primary key); select replication.attach('gone.g'); drop schema gone cascade")
        .unwrap();
    assert_no_problem(&mut source);
}

#[test]
fn a_table_that_takes_the_name_of_a_renamed_one_is_reported() {
    let replication = start_with_tables("hole_swapped", TABLE, &["t"]);
    let mut source = replication.source();
    source.batch_execute("insert into t values (1, 'old')").unwrap();
    replication.wait_until_caught_up();
    let swap = "begin; create table t_new (id int primary key, v text); alter table t rename to t_old;
                alter table t_new rename to t; commit";
    make_in_both(&replication, swap);
    source.batch_execute("insert into t values (2, 'new'); insert into t_old values (3, 'old')").unwrap();
    assert_one_problem(&mut source, "attach('t'), select replication.resend('t')");
    source.batch_execute("select replication.attach('t'), replication.resend('t')").unwrap();
    assert_no_problem(&mut source);
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["t", "t_old"]), [1, 2]);
    // There and back is no hole, nor is a swap of two attached tables.
    source.batch_execute("alter table t rename to x; alter table x rename to t").unwrap();
    source
        .batch_execute(
            "alter table t rename to x; alter table t_old rename to t; alter table x rename to t_old",
        )
        .unwrap();
    assert_no_problem(&mut source);
}

#[test]
fn a_hole_that_no_event_trigger_saw_is_noted_by_the_publisher() {
    let mut replication = start_with_tables("hole_unseen", TABLE, &["t"]);
    let mut source = replication.source();
    source
        .batch_execute(
            "alter event trigger replication_follow_ddl disable; alter table t disable trigger all",
        )
        .unwrap();
    // It looks at its start, and then once a minute.
    replication.publisher.kill();
    replication.publisher.start();
    wait_for("the publisher noted it", || {
        let noted = "select count(*) from replication.capture_hole";
        (source.query_one(noted, &[]).unwrap().get::<_, i64>(0) == 1).then_some(())
    });
    source.batch_execute("alter table t enable trigger all").unwrap();
    source.batch_execute("select replication.attach('t')").unwrap();
    assert_one_problem(&mut source, "escaped");
    source.batch_execute("select replication.resend('t')").unwrap();
    assert_no_problem(&mut source);
}

/// A start that is done when its service is healthy would else end well over a capture that is incomplete.
#[test]
fn a_publisher_is_not_healthy_before_it_has_looked_at_the_capture() {
    let mut replication = start_with_tables("hole_unlooked", TABLE, &["t"]);
    assert_eq!(replication.publisher.stop().code(), Some(0));
    let mut source = replication.source();
    let mut holder = source.transaction().unwrap();
    holder.batch_execute("lock table replication.capture_hole in access exclusive mode").unwrap();
    replication.publisher.start();
    wait_for("the publisher writes that only the audit has not reported yet", || {
        let health = replication.publisher.health();
        assert_ne!(health, "ok\n");
        (health == "degraded: audit: starting\n").then_some(())
    });
    // The file is written anew every second.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(replication.publisher.health(), "degraded: audit: starting\n");
    holder.rollback().unwrap();
    replication.publisher.wait_until_healthy();
}
