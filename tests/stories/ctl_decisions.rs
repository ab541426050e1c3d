//! replicationctl: what it does, and the way of a transaction.

use crate::harness::{
    Replication, add_user, count, ctl, ctl_interrupted, start_with_tables, wait_for, wait_until_blocked,
    wait_until_published,
};
use postgres::Client;

const TABLES: &str =
    "create table items (id int primary key, v text); create table others (id int primary key)";

/// Writes a row in a transaction of its own; returns its id.
fn write(source: &mut Client, sql: &str) -> i64 {
    let mut transaction = source.transaction().unwrap();
    transaction.batch_execute(sql).unwrap();
    let txid = transaction.query_one("select pg_current_xact_id()::text::bigint", &[]).unwrap().get(0);
    transaction.commit().unwrap();
    txid
}

#[test]
fn a_blocked_apply_is_shown_retried_and_skipped_and_a_dry_run_shows_what_comes_next() {
    let replication = start_with_tables("ctl_hold", TABLES, &["items", "others"]);
    assert!(ctl(&replication, &["hold", "show"]).ended(0).contains("nothing is blocked"));
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table items add check (v <> 'S3cret\u{1b}[2J')").unwrap();
    let refused = write(
        &mut source,
        "insert into items values (1, E'S3cret\\x1b[2J'); insert into items values (2, 'x')",
    );
    let error = wait_until_blocked(&mut target);
    let later = write(&mut source, "insert into others values (1)");
    wait_until_published(&mut source);
    let shown = wait_for("what waits is received", || {
        let shown = ctl(&replication, &["hold", "show"]);
        shown.result.contains(&later.to_string()).then_some(shown)
    });
    assert!(shown.result.contains("apply in B is blocked since") && !error.is_empty(), "{}", shown.result);
    assert!(!shown.result.contains('\u{1b}'), "a row steers the terminal: {}", shown.result);
    shown.ended(2);
    let status = ctl(&replication, &["status"]).ended(2);
    assert!(status.contains("■ HELD") && status.contains("-> replicationctl hold show"), "{status}");
    // What goes to strangers has nothing of it.
    let bundle = ctl(&replication, &["support-bundle"]).ended(0);
    assert!(bundle.contains("\"held_error\": \"(left out)\"") && bundle.contains("public.items"), "{bundle}");
    assert!(!bundle.contains("S3cret") && !bundle.contains("password"), "{bundle}");

    let id = refused.to_string();
    let planned = ctl(&replication, &["hold", "skip", &id, "--dry-run"]).ended(0);
    assert!(planned.contains(&format!("would skip transaction {id}")), "{planned}");
    assert!(planned.contains("next:") && planned.contains(&later.to_string()), "{planned}");
    assert_eq!(count(&mut target, "select count(*) from replication.skipped_transaction"), 0);
    let unasked = ctl(&replication, &["hold", "skip", &id, "--why", "x"]);
    assert!(unasked.aside.contains("say --yes"), "{}", unasked.aside);
    unasked.ended(3);
    ctl(&replication, &["hold", "retry"]).ended(0);
    assert_eq!(count(&mut target, "select count(*) from others"), 0, "nothing overtakes it");
    ctl(&replication, &["hold", "skip", &id, "--why", "no longer wanted", "--yes"]).ended(0);
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select count(*) from others"), 1);
    assert_eq!(count(&mut target, "select count(*) from items"), 0);
    let none = ctl(&replication, &["hold", "skip", &id, "--why", "x", "--yes"]);
    assert!(none.aside.contains("is not pending behind a blocked apply"), "{}", none.aside);
    none.ended(3);
    assert!(ctl(&replication, &["status", "--json"]).result.contains("skipped transaction"));
}

#[test]
fn messages_in_quarantine_are_listed_shown_and_acknowledged() {
    let replication = Replication::start("ctl_quarantine");
    let subject = shared::wire::events_subject(replication.name());
    replication.nats_b().publish(&subject, None, b"\x1b[2J {garbage}".to_vec()).unwrap();
    let mut target = replication.target();
    wait_for("it is set aside", || {
        (count(&mut target, "select unseen from replication.quarantine_status") == 1).then_some(())
    });
    let listed = ctl(&replication, &["quarantine", "list"]).ended(1);
    assert!(listed.starts_with("1 messages, 1 of them not acknowledged"), "{listed}");
    let shown = ctl(&replication, &["quarantine", "show", "1"]).ended(0);
    assert!(shown.contains("\\u{1b}[2J {garbage}") && !shown.contains('\u{1b}'), "{shown}");
    ctl(&replication, &["quarantine", "show", "9"]).ended(3);
    assert!(ctl(&replication, &["quarantine", "ack"]).ended(0).contains("acknowledged 1 messages"));
    ctl(&replication, &["quarantine", "list"]).ended(0);
}

#[test]
fn who_waits_for_a_transaction_is_told_when_it_is_there_or_that_it_is_not_in_time() {
    let mut replication = start_with_tables("ctl_wait", TABLES, &["items"]);
    let mut source = replication.source();
    let txid = write(&mut source, "insert into items values (1, 'a')");
    ctl(&replication, &["wait", &txid.to_string()]).ended(0);
    assert_eq!(count(&mut replication.target(), "select count(*) from items"), 1);
    assert_eq!(replication.processor.stop().code(), Some(0));
    source.batch_execute("insert into items values (2, 'b')").unwrap();
    let late = ctl(&replication, &["wait", "--now", "--timeout", "1", "--json"]);
    let json = late.json();
    assert_eq!(json["is_there"], false, "{json}");
    let token = json["token"].as_str().unwrap().to_owned();
    late.ended(1);
    let mut target = replication.target();
    let ended = ctl_interrupted(&replication, &["wait", "--now"], || {
        let waits = "select count(*) from pg_stat_activity
                     where datname = current_database() and application_name = 'replicationctl' and query like 'call %'";
        (count(&mut target, waits) > 0).then_some(())
    });
    assert_eq!(ended.code(), Some(130));
    replication.processor.start();
    ctl(&replication, &["wait", &token]).ended(0);
    assert_eq!(count(&mut replication.target(), "select count(*) from items"), 2);
    let undone: i64 = {
        let mut transaction = source.transaction().unwrap();
        transaction.batch_execute("insert into items values (3, 'c')").unwrap();
        transaction.query_one("select pg_current_xact_id()::text::bigint", &[]).unwrap().get(0)
    };
    let said = ctl(&replication, &["wait", &undone.to_string()]);
    assert!(said.aside.contains("was rolled back: it will never be in the target"), "{}", said.aside);
    said.ended(3);
    ctl(&replication, &["wait", "yesterday"]).ended(3);
}

#[test]
fn the_way_of_a_transaction_is_shown_step_by_step() {
    let mut replication = start_with_tables("ctl_trace", TABLES, &["items"]);
    let mut source = replication.source();
    let states = |replication: &Replication, txid: i64| -> String {
        let json = ctl(replication, &["trace", &txid.to_string(), "--json"]).json();
        let steps = json["steps"].as_array().unwrap();
        steps.iter().map(|step| &step["state"].as_str().unwrap()[..1]).collect()
    };
    let txid = write(&mut source, "insert into items values (1, 'a')");
    replication.wait_until_caught_up();
    wait_for("every step is done", || (states(&replication, txid) == "dddddd").then_some(()));
    let text = ctl(&replication, &["trace", &txid.to_string()]).ended(0);
    assert!(text.contains("1 events") && text.contains("tick "), "{text}");
    let day = source.query_one("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD')", &[]).unwrap();
    let applied = text.lines().find(|line| line.starts_with("applied")).unwrap();
    assert!(applied.contains(day.get::<_, &str>(0)), "{text}");

    let mut other = replication.source();
    let mut open = other.transaction().unwrap();
    open.batch_execute("insert into items values (2, 'b')").unwrap();
    let pending: i64 = open.query_one("select pg_current_xact_id()::text::bigint", &[]).unwrap().get(0);
    assert_eq!(states(&replication, pending), "pppppp");
    assert_eq!(replication.processor.stop().code(), Some(0));
    open.commit().unwrap();
    wait_until_published(&mut source);
    assert_eq!(states(&replication, pending), "dddppp");
    replication.processor.start();
    wait_for("it is applied", || (states(&replication, pending) == "dddddd").then_some(()));
    // Of a transaction that wrote nothing that is attached, the tick after it shows that it is there.
    let unseen = write(&mut source, "create table elsewhere (id int)");
    add_user(&mut source, "1@x");
    wait_for("a later tick has it", || (states(&replication, unseen) == "dddddd").then_some(()));
}
