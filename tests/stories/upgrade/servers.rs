//! The servers of both databases are upgraded to another version of PostgreSQL, as docs/operations.md says.

use crate::harness::{
    Demo, PrivateServer, Replication, add_user, assert_equal, assert_nothing_applied_twice, audit_writes,
    count, wait_for, wait_for_health,
};

const SETTINGS: [&str; 1] = ["max_connections=40"];

#[test]
fn both_servers_are_upgraded_by_pg_upgrade_as_the_page_says() {
    let mut server_a = PrivateServer::create("upgraded_a", 46, &SETTINGS);
    let mut server_b = PrivateServer::create("upgraded_b", 47, &SETTINGS);
    let mut replication = Replication::prepare_between("pg_upgrade", server_a.url(), server_b.url(), &[]);
    audit_writes(&mut replication.target());
    replication.start_services();
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();

    // B is another target then, which has kept its position.
    replication.stop_services();
    let (id_before, rows_before) = target_state(&replication);
    server_b.upgrade(replication.upgraded_postgres(), &SETTINGS);
    let (id_after, rows_after) = target_state(&replication);
    assert!(id_after != id_before && rows_after == rows_before, "{id_after}, {rows_after}");
    let mut source = replication.source();
    add_user(&mut source, "b@x");
    replication.publisher.start();
    replication.processor.start();
    wait_for_health(&replication.publisher, "this source is bound to");
    assert_eq!(replication.publisher.stop().code(), Some(0));
    source.query("select replication.rebind_target()", &[]).unwrap();
    replication.publisher.start();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (6, 5));
    assert_nothing_applied_twice(&mut replication.target());

    // A is another source then, whose capture is what it was.
    replication.stop_services();
    add_user(&mut source, "before@x");
    drop(source);
    server_a.upgrade(replication.upgraded_postgres(), &SETTINGS);
    let mut source = replication.source();
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    add_user(&mut source, "after@x");
    replication.start_over();
    replication.start_services();
    wait_for("the target has what was written before and after", || {
        (count(&mut replication.target(), "select count(*) from users") == 8).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (8, 5));
    add_user(&mut source, "last@x");
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (9, 5));
    replication.publisher.wait_until_healthy();
    replication.processor.wait_until_healthy();
}

/// Which database the target is, and how many users it has.
fn target_state(replication: &Replication) -> (String, i64) {
    let row = replication
        .target()
        .query_one(
            "select system_identifier::text, (select count(*) from users) from pg_control_system()",
            &[],
        )
        .unwrap();
    (row.get(0), row.get(1))
}
