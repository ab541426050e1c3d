//! An upgrade beside an application that writes.

use crate::harness::{Replication, assert_equal, count, wait_for};
use postgres::Client;

/// Functions and triggers as of an older version: what they capture is the same, their text is not.
pub(super) const OLDER_TRIGGERS: &str = "
    do $$declare attached regclass; begin
        for attached in select relation from replication.attached loop
            execute format('comment on function replication.capture_%s() is null', replication.capture_id(attached));
        end loop;
        execute format('create or replace trigger replication_insert after insert on users referencing new table as new_rows
                        for each statement when (true) execute function replication.capture_insert_%s()', replication.capture_id('users'));
        alter table users enable always trigger replication_insert;
    end$$";

/// Writes to both tables; fails where that has to wait for long.
pub(super) fn write_promptly(client: &mut Client, number: usize) {
    client
        .batch_execute(&format!(
            "set statement_timeout = '5s';
             with one as (insert into users (name, email) values ('W', 'writer{number}@x') returning id)
             insert into payments (user_id, amount, currency, description) select id, 1, 'EUR', 'prompt' from one"
        ))
        .unwrap_or_else(|error| panic!("write {number}: {error:?}"));
}

#[test]
fn no_writer_waits_for_an_upgrade_that_waits_for_another_writer() {
    let mut replication = Replication::start("upgrade_writers");
    assert_eq!(replication.publisher.stop().code(), Some(0));
    let (mut source, mut writer) = (replication.source(), replication.source());
    source.batch_execute(OLDER_TRIGGERS).unwrap();
    source
        .batch_execute("update replication.repeatable set checksum = 'older' where side = 'source'")
        .unwrap();
    let stale = "select count(*) from replication.attached a, replication.stale_capture_triggers(a.relation)";
    let mut client = replication.source();
    let mut long = client.transaction().unwrap();
    long.execute("insert into users (name, email) values ('Long', 'long@x')", &[]).unwrap();

    // A service that starts leaves the triggers, and says what to run.
    replication.publisher.start();
    wait_for("the publisher tells the remedy", || {
        replication
            .publisher
            .log()
            .contains("run, as with each new version: outbox-publisher migrate")
            .then_some(())
    });
    write_promptly(&mut writer, 0);
    assert_eq!(count(&mut source, stale), 1);
    let renewed = "select count(*) from replication.attached a
                   where obj_description(to_regproc('replication.capture_' || a.id), 'pg_proc') like 'Written by%'";
    assert_eq!(count(&mut source, renewed), 1, "the functions of the table whose triggers are right");

    // The command waits for the long transaction; nobody else waits for long.
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock' and query like '%replication.attach(%'";
    std::thread::scope(|scope| {
        let migrating = scope.spawn(|| replication.migrate_source());
        for round in 0..3 {
            wait_for("the upgrade waits for a lock", || (count(&mut source, waiting) == 1).then_some(()));
            write_promptly(&mut writer, 1 + round);
        }
        assert!(!migrating.is_finished());
        long.commit().unwrap();
    });
    assert_eq!(count(&mut source, stale), 0);
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    write_promptly(&mut writer, 9);
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (6, 5));
}
