//! Databases that are target and source at the same time.

use crate::harness::{assert_same, count, start_with_tables, wait_for};
use postgres::Client;

const TABLE: &str = "create table t (id int primary key, v text)";

/// The message of the error with which this statement is refused, and its hint.
fn refusal(client: &mut Client, statement: &str) -> String {
    let error = client.batch_execute(statement).unwrap_err();
    let error = error.as_db_error().unwrap();
    format!("{}; {}", error.message(), error.hint().unwrap_or_default())
}

#[test]
fn three_databases_in_a_row_have_the_same_rows() {
    let first = start_with_tables("chain_first", TABLE, &["t"]);
    let mut second = first.prepare_behind("chain_second");
    second.target().batch_execute(TABLE).unwrap();
    first.source().batch_execute("insert into t select i, 'v' from generate_series(1, 3000) i").unwrap();
    first.wait_until_caught_up();
    // What inbox-processor writes to is sent on only where that is said.
    let mut middle = first.target();
    let refused = refusal(&mut middle, "select replication.attach('t')");
    assert!(refused.contains("cannot attach public.t: inbox-processor writes to it"), "{refused}");
    assert!(refused.contains("select replication.attach('public.t', cascade => true)"), "{refused}");
    middle
        .batch_execute("select replication.attach('public.t', cascade => true), replication.resend('t')")
        .unwrap();
    second.start_services();
    first
        .source()
        .batch_execute("update t set v = 'changed' where id % 2 = 0; delete from t where id = 7; insert into t values (0, 'new')")
        .unwrap();
    first.wait_until_caught_up();
    second.wait_until_caught_up();
    assert_eq!(assert_same(&first, &["t"]), [3000]);
    assert_eq!(assert_same(&second, &["t"]), [3000]);
    // DDL, and what is attached so stays so.
    first.source().batch_execute("alter table t add column w int").unwrap();
    second.target().batch_execute("alter table t add column w int").unwrap();
    middle.batch_execute("alter table t add column w int; select replication.attach('t')").unwrap();
    first
        .source()
        .batch_execute("update t set w = id; truncate t; insert into t values (1, 'last', 1)")
        .unwrap();
    first.wait_until_caught_up();
    second.wait_until_caught_up();
    assert_eq!(assert_same(&second, &["t"]), [1]);
    assert_eq!(count(&mut middle, "select count(*) from replication.capture_problem"), 0);
}

#[test]
fn two_databases_that_would_send_each_other_the_same_table_are_kept_from_it() {
    let first = start_with_tables("ring_there", TABLE, &["t"]);
    first.source().batch_execute("insert into t values (1, 'one')").unwrap();
    first.wait_until_caught_up();
    let mut back = first.prepare_back("ring_back");
    first.target().batch_execute("select replication.attach('t', cascade => true)").unwrap();
    back.migrate_target();
    let refused = refusal(&mut first.source(), "select replication.accept('t')");
    assert!(
        refused.contains("cannot accept public.t: the table public.t is replicated from here, too"),
        "{refused}"
    );
    // Also where nobody asked before.
    back.start_services();
    first.source().batch_execute("update t set v = 'two'").unwrap();
    let held = "select held_error from replication.target_status";
    let reason = wait_for("the way back is blocked", || {
        let row = first.source().query_opt(held, &[]).unwrap()?;
        row.get::<_, Option<String>>(0)
    });
    assert!(reason.contains("in a ring go round for ever"), "{reason}");
    assert_eq!(count(&mut first.source(), "select count(*) from replication.outbox_event"), 2);
    // Tables of their own go either way.
    let mut target = first.target();
    target.batch_execute("create table own (id int primary key); select replication.attach('own')").unwrap();
    first
        .source()
        .batch_execute("create table own (id int primary key); select replication.accept('own')")
        .unwrap();
}
