//! Pauses of applying and of publishing, on record.

use crate::harness::{
    Demo, Replication, add_user, applied_tick, assert_equal, assert_same, count, ctl, start_with_tables,
    wait_for, wait_for_health,
};
use postgres::Client;
use std::sync::atomic::{AtomicBool, Ordering};

fn refusal(client: &mut Client, sql: &str) -> String {
    client.batch_execute(sql).unwrap_err().as_db_error().unwrap().message().to_owned()
}

/// Waits until more than now is received, and that the target shows what it showed.
fn assert_stands_still_and_receives(replication: &Replication, meanwhile: &str) {
    let mut target = replication.target();
    let received = "select received_tick from replication.position";
    let (stood_at, received_at) = (applied_tick(&mut target), count(&mut target, received));
    wait_for(&format!("more is received {meanwhile}"), || {
        (count(&mut target, received) > received_at + 5).then_some(())
    });
    assert_eq!(applied_tick(&mut target), stood_at, "something was applied {meanwhile}");
}

#[test]
fn while_applying_is_paused_the_target_stands_still_and_receives_under_load_and_through_a_kill() {
    let mut replication = Replication::start("paused");
    let demo = Demo::add_users(&mut replication.source(), 20);
    replication.wait_until_caught_up();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut source = replication.source();
            let (demo, is_over) = (&demo, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    demo.move_money(&mut source);
                }
            });
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let paused = ctl(&replication, &["pause", "--why", "a backup of B"]).ended(0);
            assert!(paused.contains("its service obeys since"), "{paused}");
            assert_stands_still_and_receives(&replication, "while it is paused");
            wait_for_health(&replication.processor, "ok (applying is paused since");
            let status = ctl(&replication, &["status", "--json"]);
            assert_eq!(status.json()["state"], "paused", "{}", status.result);
            status.ended(1);
            replication.processor.kill();
            replication.processor.start();
            replication.processor.wait_until_healthy();
            assert_stands_still_and_receives(&replication, "after a kill");
            ctl(&replication, &["resume"]).ended(0);
        }));
        is_over.store(true, Ordering::Relaxed);
        ended.unwrap();
    });
    replication.wait_until_caught_up();
    assert_equal(&replication);
    wait_for("its health says nothing more of it", || {
        (replication.processor.health() == "ok\n").then_some(())
    });
    let mut target = replication.target();
    let recorded =
        "select count(*) from replication.pause where what = 'applying' and reason = 'a backup of B'
        and obeyed_at between paused_at and resumed_at and resumed_by = session_user";
    assert_eq!(count(&mut target, recorded), 1);
    assert_eq!(refusal(&mut target, "select replication.resume()"), "applying is not paused");
}

#[test]
fn while_publishing_is_paused_nothing_is_read_and_afterwards_nothing_is_missing() {
    let mut replication = Replication::start("unpublished");
    let mut source = replication.source();
    add_user(&mut source, "before@x");
    replication.wait_until_caught_up();
    ctl(&replication, &["pause", "--publishing", "--why", "NATS is upgraded"]).ended(0);
    for number in 0..5 {
        add_user(&mut source, &format!("{number}@x"));
    }
    wait_for("the events are in ticks", || {
        let ticks =
            "select count(*) from replication.tick t, replication.progress p where t.tick > p.published_tick";
        (count(&mut source, ticks) > 0).then_some(())
    });
    replication.publisher.kill();
    replication.publisher.start();
    replication.publisher.wait_until_healthy();
    wait_for_health(&replication.publisher, "ok (publishing is paused since");
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 1);
    let refused = refusal(&mut source, "select replication.pause('again')");
    assert!(refused.starts_with("publishing is paused already, since"), "{refused}");
    ctl(&replication, &["resume", "--publishing"]).ended(0);
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (6, 0));
}

#[test]
fn a_pause_that_no_service_obeys_says_so_and_counts_once_one_runs() {
    let mut replication = Replication::start("unobeyed");
    assert_eq!(replication.processor.stop().code(), Some(0));
    let said = ctl(&replication, &["pause", "--why", "maintenance", "--timeout", "0"]).ended(1);
    assert!(said.contains("has not taken notice"), "{said}");
    add_user(&mut replication.source(), "1@x");
    replication.processor.start();
    let mut target = replication.target();
    wait_for("it is received", || {
        (count(&mut target, "select count(*) from replication.inbox_batch") == 1).then_some(())
    });
    assert_eq!(count(&mut target, "select count(*) from users"), 0);
    let status = ctl(&replication, &["status"]).ended(1);
    assert!(status.contains("‖ PAUSED") && status.contains("replicationctl resume"), "{status}");
    ctl(&replication, &["resume"]).ended(0);
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
}

/// Otherwise a stop, or the next pause, would wait for all of it.
#[test]
fn what_waited_during_a_pause_is_applied_in_parts_and_not_as_one_transaction() {
    const TICK: i32 = 110_000;
    let replication =
        start_with_tables("paused_parts", "create table items (id int primary key)", &["items"]);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("insert into items values (-1)").unwrap();
    replication.wait_until_caught_up();
    let applied = applied_tick(&mut target);
    ctl(&replication, &["pause", "--why", "parts"]).ended(0);
    for number in 0..3 {
        let rows = "insert into items select generate_series($1::int * $2::int, ($1::int + 1) * $2::int - 1)";
        source.execute(rows, &[&number, &TICK]).unwrap();
    }
    wait_for("all of it is received", || {
        let rows =
            "select coalesce(sum(last_ordinal - first_ordinal + 1), 0)::bigint from replication.inbox_batch";
        (count(&mut target, rows) > i64::from(3 * TICK)).then_some(())
    });
    ctl(&replication, &["resume"]).ended(0);
    replication.wait_until_caught_up();
    let transactions =
        format!("select count(distinct xmin::text) from replication.applied_tick where tick > {applied}");
    let transactions = count(&mut target, &transactions);
    assert!(transactions > 1, "all of it was applied in {transactions} transaction");
    assert_eq!(assert_same(&replication, &["items"]), [usize::try_from(3 * TICK + 1).unwrap()]);
}
