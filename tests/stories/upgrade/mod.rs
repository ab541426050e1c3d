//! Databases that an older version has made are taken over as they are.

use crate::harness::{Replication, assert_equal, count};
use shared::schema::{DEMO_ATTACH, DEMO_TABLES};

#[test]
fn databases_of_the_first_version_go_on_with_their_data() {
    let mut replication = Replication::prepare("upgrade", &[]);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("select replication.remove(); drop table payments, users").unwrap();
    target.batch_execute("drop table payments, users").unwrap();
    for (client, schema) in
        [(&mut source, include_str!("first_source.sql")), (&mut target, include_str!("first_target.sql"))]
    {
        client.batch_execute(schema).unwrap();
        client.batch_execute(DEMO_TABLES).unwrap();
    }
    source.batch_execute(DEMO_ATTACH).unwrap();
    // Captured by the old triggers.
    source.execute("insert into users (name, email) values ('Old', 'old@x')", &[]).unwrap();
    replication.start_services();
    source.execute("insert into users (name, email) values ('New', 'new@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    assert_eq!(count(&mut source, "select count(*) from outbox where processed and confirmed"), 2);
    assert_eq!(count(&mut target, "select count(*) from inbox where processed"), 2);
    let renewed = "select count(*) from pg_proc where proname like 'capture\\_%' and prosrc like '%replication.changed\\_%'";
    assert_eq!(count(&mut source, renewed), 2, "attached tables have the new capture functions");
    source.batch_execute("alter table users add column phone text").unwrap();
    target.batch_execute("alter table users add column phone text").unwrap();
    source.execute("update users set phone = '1'", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_equal(&replication);
    source.execute("update replication.schema_version set version = 99 where version = 6", &[]).unwrap();
    assert_eq!(replication.publisher.stop().code(), Some(0));
    replication.publisher.start();
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    assert!(replication.publisher.log().contains("run the newer program"));
}
