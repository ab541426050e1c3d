//! Clocks that jump: positions do not use them.

use crate::harness::{Clock, Demo, PrivateServer, Replication, assert_equal, count, wait_for};
use postgres::Client;
use std::time::SystemTime;

const RETENTION: [(&str, &str); 2] = [("OUTBOX_RETENTION", "3600"), ("INBOX_RETENTION", "3600")];

const SECONDS_PER_DAY: i64 = 86_400;

/// Waits until the databases' clocks are so many days off.
fn wait_for_clock(databases: [&mut Client; 2], days: i64) {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let wanted = i64::try_from(elapsed.as_secs()).unwrap() + days * SECONDS_PER_DAY;
    for client in databases {
        wait_for("the database goes by the new clock", || {
            let now = count(client, "select extract(epoch from clock_timestamp())::bigint");
            ((now - wanted).abs() < SECONDS_PER_DAY).then_some(())
        });
    }
}

#[test]
fn clocks_that_jump_change_nothing_and_prune_nothing_that_is_unconfirmed() {
    let clock = Clock::new("jumps");
    let (a, b) = (
        PrivateServer::create_with_clock("clock_a", 5, &clock),
        PrivateServer::create_with_clock("clock_b", 6, &clock),
    );
    let mut replication = Replication::prepare_between("clocks", a.url(), b.url(), &RETENTION);
    clock.rule(&mut replication.publisher);
    clock.rule(&mut replication.processor);
    replication.start_services();
    let (mut source, mut target) = (replication.source(), replication.target());
    let demo = Demo::add_users(&mut source, 5);
    // During load, forwards and backwards; the services are in the middle of it.
    for (offset, days) in [("+9d", 9), ("-9d", -9), ("+0", 0)] {
        demo.move_money(&mut source);
        clock.set(offset);
        wait_for_clock([&mut source, &mut target], days);
        for _ in 0..30 {
            demo.move_money(&mut source);
        }
        replication.wait_until_caught_up();
        assert_equal(&replication);
    }

    // The last confirmed tick stays, too: one of a single transaction, however many came at once before.
    demo.move_money(&mut source);
    replication.wait_until_caught_up();
    // What waits for the target is as old as can be then, and stays.
    replication.processor.kill();
    for _ in 0..20 {
        demo.move_money(&mut source);
    }
    clock.set("+9d");
    wait_for_clock([&mut source, &mut target], 9);
    wait_for("what is confirmed is pruned, since it is old by this clock", || {
        (count(&mut source, "select count(*) from replication.outbox_event") <= 42).then_some(())
    });
    assert_eq!(count(&mut source, "select count(*) from outbox where not confirmed"), 40);
    clock.set("+0");
    wait_for_clock([&mut source, &mut target], 0);
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (5, 5));
    let logs = replication.publisher.log() + &replication.processor.log();
    assert!(!logs.contains("Z ERROR "), "{logs}");
}
