//! What was written while no publisher took ticks.

use crate::harness::{Demo, Replication, add_user, assert_equal, count};
use postgres::{Client, IsolationLevel};

/// Has every eighth event record a snapshot, instead of one in 4,096.
fn record_snapshots_often(source: &mut Client) {
    source
        .batch_execute("alter table replication.outbox_event alter column id set increment by 512")
        .unwrap();
}

/// Moves money in one transaction after the other, some of them given up, some above read committed.
fn write(replication: &Replication, demo: &Demo, transactions: usize) {
    let mut client = replication.source();
    for number in 0..transactions {
        match number % 4 {
            0 => {
                let mut given_up = client.transaction().unwrap();
                given_up
                    .execute("update payments set amount = 0 where id = $1", &[&demo.payments[0]])
                    .unwrap();
            }
            1 => {
                let mut above = client
                    .build_transaction()
                    .isolation_level(IsolationLevel::RepeatableRead)
                    .start()
                    .unwrap();
                above
                    .execute("insert into users (name, email) values ('N', gen_random_uuid()::text)", &[])
                    .unwrap();
                above.commit().unwrap();
            }
            _ => demo.move_money(&mut client),
        }
    }
}

/// Ticks at which the payments, as of that tick, do not have the sum that they always have.
const TORN_TICKS: &str = "
    select count(*) from replication.tick t
    where t.tick > 0 and 20000 is distinct from (
        select sum(amount)
        from (select distinct on (e.key_text) (e.row_text::payments).amount
              from replication.outbox_event e join replication.shape s on s.id = e.shape_id
              where s.table_name = 'payments' and pg_visible_in_snapshot(e.txid, t.snapshot)
              order by e.key_text, e.id desc) payment)";

#[test]
fn what_was_written_during_a_pause_is_many_ticks_each_a_state_of_the_source() {
    let mut replication = Replication::prepare("pause", &[]);
    let mut source = replication.source();
    record_snapshots_often(&mut source);
    let demo = Demo::add_users(&mut source, 20);
    // In progress at every snapshot but the last ones.
    let mut long = replication.source();
    let mut long = long.transaction().unwrap();
    long.execute("insert into users (name, email) values ('Long', 'long@x')", &[]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| write(&replication, &demo, 200));
        }
    });
    long.commit().unwrap();
    for number in 0..20 {
        add_user(&mut source, &format!("after{number}@x"));
    }
    let recorded = count(&mut source, "select count(*) from replication.recorded_snapshot");
    assert!(recorded > 50, "{recorded} snapshots are recorded");

    replication.start_services();
    replication.wait_until_caught_up();
    let ticks = count(&mut source, "select count(*) from replication.tick");
    assert!(ticks > recorded / 2, "{ticks} ticks of {recorded} snapshots");
    assert_eq!(count(&mut source, TORN_TICKS), 0);
    assert_equal(&replication);
    // Nothing of the pause is left to the ticks after it.
    replication.publisher.kill();
    replication.publisher.start();
    add_user(&mut source, "last@x");
    replication.wait_until_caught_up();
    assert_equal(&replication);
}
