//! Ticks that are too large to be kept in memory: applied as they arrive, or from the inbox.

use crate::harness::{Replication, assert_equal, count, wait_for};
use postgres::Client;

/// More than the processor keeps in memory until a tick is complete.
const LARGE: i64 = 30_000;

fn add_users(client: &mut Client, count: i64) {
    client
        .execute(
            "insert into users (name, email) select 'U' || i, i || '@x' from generate_series(1, $1::bigint) i",
            &[&count],
        )
        .unwrap();
}

fn received(target: &mut Client) -> i64 {
    count(
        target,
        "select coalesce(sum(last_ordinal - first_ordinal + 1), 0)::bigint from replication.inbox_batch",
    )
}

#[test]
fn a_large_tick_in_which_unique_values_move_is_applied_from_the_inbox() {
    let replication = Replication::start("large_unique");
    let mut source = replication.source();
    add_users(&mut source, 2);
    replication.wait_until_caught_up();
    source
        .batch_execute(&format!(
            "begin;
             insert into users (name, email) select 'V' || i, 'v' || i || '@x' from generate_series(1, {LARGE}) i;
             update users set email = 'moving' where name = 'U1';
             update users set email = '1@x' where name = 'U2';
             update users set email = '2@x' where name = 'U1';
             delete from users where name = 'V7';
             commit"
        ))
        .unwrap();
    replication.wait_until_caught_up();
    assert_equal(&replication);
    let log = replication.processor.log();
    assert!(log.contains("is not applied as it arrives, but from the inbox"), "{log}");
    assert!(!log.contains("Z ERROR "), "{log}");
}

#[test]
fn a_large_tick_goes_on_after_a_kill_in_its_middle() {
    let mut replication = Replication::start("large_killed");
    let (mut source, mut target) = (replication.source(), replication.target());
    for round in 1..=3 {
        replication.processor.kill();
        source.execute("delete from users", &[]).unwrap();
        add_users(&mut source, LARGE * 3);
        let before = received(&mut target);
        replication.processor.start();
        wait_for("a part of the tick is received", || {
            (received(&mut target) >= before + LARGE / round).then_some(())
        });
    }
    replication.processor.kill();
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication).0, usize::try_from(LARGE * 3).unwrap());
    let log = replication.processor.log();
    assert!(!log.contains("Z ERROR "), "{log}");
}

#[test]
fn a_large_tick_that_the_target_cannot_take_is_held_as_a_whole() {
    let mut replication = Replication::start("large_held");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add constraint no_last check (name <> 'U25000')").unwrap();
    let mut transaction = source.transaction().unwrap();
    transaction.execute("insert into users (name, email) values ('Gone', 'gone@x')", &[]).unwrap();
    transaction.execute("truncate users cascade", &[]).unwrap();
    transaction
        .execute(
            "insert into users (name, email) select 'U' || i, i || '@x' from generate_series(1, 30000) i",
            &[],
        )
        .unwrap();
    transaction.commit().unwrap();
    source.execute("insert into users (name, email) values ('Behind', 'behind@x')", &[]).unwrap();
    for restarted in [false, true] {
        if restarted {
            replication.processor.kill();
            target.execute("update replication.position set held_error = null", &[]).unwrap();
            replication.processor.start();
        }
        let error: String = wait_for("the target says that it is held", || {
            let row = target.query_opt("select held_error from replication.target_status", &[]).unwrap();
            row.and_then(|row| row.get(0))
        });
        assert!(error.contains("no_last"), "{error}");
        assert_eq!(count(&mut target, "select count(*) from users"), 0);
    }
    target.batch_execute("alter table users drop constraint no_last").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (30_001, 0));
}
