//! Names in the schema "public" are the application's.

use crate::harness::{Replication, count};
use postgres::Client;
use shared::schema::{Side, migrate};

/// An upgrade applies the functions and views again.
fn upgrade(client: &mut Client) {
    client.batch_execute("update replication.repeatable set checksum = 'older'").unwrap();
    for side in [Side::Source, Side::Target] {
        migrate(client, side).unwrap();
    }
}

fn ours(client: &mut Client) -> i64 {
    count(
        client,
        "select count(*) from pg_views where schemaname = 'public' and definition like '%replication.%'",
    )
}

#[test]
fn no_name_in_public_is_taken_unless_it_is_asked_for() {
    let replication = Replication::prepare("short_names", &[]);
    let mut client = replication.source();
    client
        .batch_execute(
            "select replication.remove();
             do $$begin execute format('alter database %I reset replication.short_names', current_database()); end$$",
        )
        .unwrap();
    let mut client = replication.source();
    for side in [Side::Source, Side::Target] {
        migrate(&mut client, side).unwrap();
    }
    assert_eq!(ours(&mut client), 0);
    client
        .batch_execute(
            "create table outbox (id int primary key, payload text); insert into outbox values (1, 'of the application');
             create table if not exists inbox (id int primary key, payload text); insert into inbox values (1, 'of the application')",
        )
        .unwrap();
    upgrade(&mut client);
    assert_eq!(ours(&mut client), 0);
    // On request, and then what the application has stays its own.
    client
        .batch_execute("select replication.make_short_names(); select replication.make_short_names()")
        .unwrap();
    assert_eq!(ours(&mut client), 1);
    client
        .batch_execute("drop table outbox, inbox; select replication.make_short_names(); table outbox; table inbox; table processed_events")
        .unwrap();
    upgrade(&mut client);
    assert_eq!(ours(&mut client), 3);
    client.batch_execute("select replication.drop_short_names()").unwrap();
    assert_eq!(ours(&mut client), 0);
    upgrade(&mut client);
    assert_eq!(ours(&mut client), 0);
    // Where a database asks for them before it has them.
    client
        .batch_execute("do $$begin execute format('alter database %I set replication.short_names = on', current_database()); end$$")
        .unwrap();
    upgrade(&mut replication.source());
    assert_eq!(ours(&mut client), 3);
    replication.without_stream();
}

#[test]
fn default_privileges_in_public_give_nobody_the_rows_of_the_outbox() {
    let replication = Replication::prepare("short_names_rights", &[]);
    let mut client = replication.source();
    client
        .batch_execute(
            "do $$begin create role short_reader; exception when duplicate_object then null; end$$;
             select replication.drop_short_names();
             alter default privileges in schema public grant select on tables to short_reader;
             select replication.make_short_names(); grant usage on schema replication to short_reader;
             insert into users (name, email) values ('secret', 'secret@x'); set role short_reader",
        )
        .unwrap();
    let refused = client.batch_execute("select * from outbox").unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("permission denied"), "{refused:?}");
    client
        .batch_execute("reset role; grant select on replication.outbox to short_reader; set role short_reader; select * from outbox; reset role")
        .unwrap();
    client.batch_execute("drop owned by short_reader; drop role short_reader").unwrap();
    replication.without_stream();
}
