//! Databases that an older version has made are taken over as they are.

mod rolling;
mod servers;
mod writers;

use crate::harness::{Demo, Replication, assert_equal, count, jetstream, wait_for, wait_until_published};
use postgres::Client;
use serde_json::json;
use shared::schema::{DEMO_TABLES, Side, migrate};
use shared::wire::events_subject;

#[test]
fn databases_of_the_first_version_go_on_with_their_data() {
    let mut replication = Replication::prepare("upgrade", &[]);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("select replication.remove(); drop table payments, users").unwrap();
    target.batch_execute("select replication.remove(); drop table payments, users").unwrap();
    for (client, schema) in
        [(&mut source, include_str!("first_source.sql")), (&mut target, include_str!("first_target.sql"))]
    {
        client.batch_execute(schema).unwrap();
        client.batch_execute(DEMO_TABLES).unwrap();
    }
    source.batch_execute("select replication.attach('users'), replication.attach('payments')").unwrap();
    // Captured by the old triggers.
    source.execute("insert into users (name, email) values ('Old', 'old@x')", &[]).unwrap();
    replication.migrate_source();
    replication.start_services();
    source.execute("insert into users (name, email) values ('New', 'new@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    assert_eq!(count(&mut source, "select count(*) from outbox where processed and confirmed"), 2);
    assert_eq!(count(&mut target, "select count(*) from inbox where processed"), 2);
    let renewed = "select count(*) from pg_proc where proname like 'capture\\_%' and prosrc like '%replication.changed\\_%'";
    assert_eq!(count(&mut source, renewed), 4, "attached tables have the new capture functions");
    source.batch_execute("alter table users add column phone text").unwrap();
    target.batch_execute("alter table users add column phone text").unwrap();
    source.execute("update users set phone = '1'", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_equal(&replication);
    source
        .execute(
            "update replication.schema_version set version = 99, oldest_program = 99 where version = 6",
            &[],
        )
        .unwrap();
    assert_eq!(replication.publisher.stop().code(), Some(0));
    replication.publisher.start();
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    assert!(replication.publisher.log().contains("run the newer program"));
}

#[test]
fn a_stream_of_an_older_version_is_made_anew_and_loses_nothing() {
    let mut replication = Replication::prepare("old_stream", &[]);
    let nats = replication.nats_b();
    let (stream, subject) = (replication.name(), events_subject(replication.name()));
    jetstream(
        &nats,
        &format!("STREAM.CREATE.{stream}"),
        &json!({
            "name": stream, "subjects": [subject], "retention": "workqueue", "storage": "file", "num_replicas": 3
        }),
    );
    let durable = json!({
        "durable_name": "inbox-processor", "deliver_policy": "all", "ack_policy": "explicit"
    });
    jetstream(
        &nats,
        &format!("CONSUMER.DURABLE.CREATE.{stream}.inbox-processor"),
        &json!({ "stream_name": stream, "config": durable }),
    );
    let mut source = replication.source();
    replication.publisher.start();
    let demo = Demo::add_users(&mut source, 3);
    wait_until_published(&mut source);
    replication.processor.start();
    replication.wait_until_caught_up();
    demo.move_money(&mut source);
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (3, 3));
    let log = replication.processor.log();
    assert_eq!(log.matches("an older version created it so").count(), 1, "{log}");
}

#[test]
fn an_older_program_does_not_put_older_functions_back() {
    let mut replication = Replication::start("downgrade");
    let (mut source, mut target) = (replication.source(), replication.target());
    replication.stop_services();
    for (client, side) in [(&mut source, Side::Source), (&mut target, Side::Target)] {
        // What a newer program leaves behind that has changed a function, and no table.
        let side = format!("{side:?}").to_lowercase();
        client
            .batch_execute(&format!(
                "insert into replication.schema_version (side, version, name)
                 select side, max(version) + 1, 'repeatable' from replication.schema_version
                 where side = '{side}' group by side;
                 update replication.repeatable set checksum = 'newer' where name like '%retention.sql';
                 create or replace function replication.make_short_name(name text) returns void
                 language sql as 'select -- newer'"
            ))
            .unwrap();
    }
    for (service, client) in
        [(&mut replication.publisher, &mut source), (&mut replication.processor, &mut target)]
    {
        service.start();
        assert_eq!(service.wait_for_end().code(), Some(1));
        let log = service.log();
        assert!(log.contains("this program is older") && log.contains("run the newer program"), "{log}");
        let newer = "select count(*) from pg_proc where proname = 'make_short_name' and prosrc ~ 'newer'";
        assert_eq!(count(client, newer), 1, "the newer function is still there");
    }
}

/// A release serves the programs of the one before: they go on leading until they are replaced.
#[test]
fn an_older_program_works_on_a_newer_schema_that_serves_it_and_changes_nothing_there() {
    let mut replication = Replication::start("served");
    replication.wait_until_caught_up();
    replication.stop_services();
    for (mut client, side) in [(replication.source(), Side::Source), (replication.target(), Side::Target)] {
        let name = format!("{side:?}").to_lowercase();
        client
            .batch_execute(&format!(
                "insert into replication.schema_version (side, version, name, oldest_program)
                 values ('{name}', {}, 'repeatable', {});
                 update replication.repeatable set checksum = 'newer' where name like '%retention.sql'",
                side.newest() + 5,
                side.newest()
            ))
            .unwrap();
    }
    replication.start_services();
    replication.source().execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    for service in [&replication.publisher, &replication.processor] {
        let log = service.log();
        assert!(
            log.contains("this program is older") && log.contains("it works, until the next version"),
            "{log}"
        );
    }
    for mut client in [replication.source(), replication.target()] {
        let untouched = "select count(*) from replication.repeatable where checksum = 'newer'";
        assert_eq!(count(&mut client, untouched), 1);
    }
}

/// A standby that is newer than the leader.
#[test]
fn only_who_leads_brings_the_schema_up_to_date() {
    let replication = Replication::start("standby_newer");
    replication.wait_until_caught_up();
    let mut clients = [replication.source(), replication.target()];
    for client in &mut clients {
        client
            .batch_execute(
                "update replication.repeatable set checksum = 'older' where name like '%retention.sql'",
            )
            .unwrap();
    }
    let older = "select count(*) from replication.repeatable where checksum = 'older'";
    let mut standbys = [replication.publisher.twin(), replication.processor.twin()];
    for standby in &mut standbys {
        standby.start();
        wait_for("it stands by", || standby.log().contains("standing by to take over").then_some(()));
    }
    for client in &mut clients {
        assert_eq!(count(client, older), 1, "a standby changed the functions under the leader");
    }
    drop(replication);
}

#[test]
fn what_a_program_applies_is_noted_as_its_version() {
    let replication = Replication::prepare("versions", &[]);
    let mut source = replication.source();
    for side in [Side::Common, Side::Source] {
        let noted = format!(
            "select max(version)::bigint from replication.schema_version where side = '{}'",
            format!("{side:?}").to_lowercase()
        );
        assert_eq!(count(&mut source, &noted), i64::from(side.newest()), "{side:?}");
    }
    replication.without_stream();
}

/// What 006 did before minors of PostgreSQL began to refuse it.
const RELEASED_006: &str = "alter table replication.shape
    add column types text[] not null default '{}', add column generated text[] not null default '{}'";

#[test]
fn a_database_that_has_the_changed_file_already_is_left_as_it_is() {
    let replication = Replication::prepare("upgrade_006", &[]);
    let mut source = replication.source();
    let columns = "select string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid::regtype, a.attnotnull,
                                               pg_get_expr(d.adbin, d.adrelid)), ', ' order by a.attnum)
                   from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                   where a.attrelid = 'replication.shape'::regclass and a.attnum > 0";
    let columns_of = |client: &mut Client| client.query_one(columns, &[]).unwrap().get::<_, String>(0);
    let new = columns_of(&mut source);
    source.batch_execute("select replication.remove()").unwrap();
    source.batch_execute(include_str!("first_source.sql")).unwrap();
    // As earlier minors allowed.
    source
        .batch_execute(&format!(
            "drop function replication.capture_function(regclass, replication.shape); {RELEASED_006};
             insert into replication.schema_version (side, version, name) values ('source', 6, 'released');
             insert into replication.shape (schema_name, table_name, columns, key_columns, types)
             values ('public', 'gone', '{{id}}', '{{id}}', '{{integer}}')"
        ))
        .unwrap();
    migrate(&mut source, Side::Source).unwrap();
    assert_eq!(columns_of(&mut source), new);
    let kept = "select count(*) from replication.shape where types = '{integer}'";
    assert_eq!(count(&mut source, kept), 1);
    let applied = "select count(*) from replication.schema_version where side = 'source' and version = 6 and name = 'released'";
    assert_eq!(count(&mut source, applied), 1);
    replication.without_stream();
}

#[test]
fn no_function_with_an_sql_standard_body_takes_the_row_type_of_a_table() {
    let replication = Replication::prepare("row_types", &[]);
    replication.migrate_target();
    for mut client in [replication.source(), replication.target()] {
        let taking = client
            .query_one(
                "select coalesce(string_agg(distinct p.oid::regprocedure::text, ', '), '')
                 from pg_proc p
                 cross join unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype) as used (type)
                 join pg_type t on t.oid = used.type
                 left join pg_type element on element.oid = t.typelem
                 join pg_class c on c.oid in (t.typrelid, element.typrelid) and c.relkind in ('r', 'p')
                 where p.pronamespace = 'replication'::regnamespace and p.prosqlbody is not null",
                &[],
            )
            .unwrap();
        assert_eq!(
            taking.get::<_, &str>(0),
            "",
            "columns with a default can no longer be added to these tables"
        );
    }
    replication.without_stream();
}

#[test]
fn capture_functions_of_a_superuser_become_the_capture_roles_and_lose_nothing() {
    let mut replication = Replication::prepare("upgrade_rights", &[]);
    let mut source = replication.source();
    // As an older version leaves it.
    source
        .batch_execute(
            "do $$declare f regprocedure; begin
                 for f in select p.oid from pg_proc p where p.proname ~ '^capture_rows_[0-9]+$' loop
                     execute format('drop function %s', f); end loop;
                 for f in select p.oid from pg_proc p where p.proname ~ '^capture_.*[0-9]$' or p.proname = 'planning_problem' loop
                     execute format('alter function %s owner to current_user', f); end loop; end$$;
             drop owned by replication_capture; update replication.repeatable set checksum = 'older';
             insert into users (name, email) values ('Old', 'old@x')",
        )
        .unwrap();
    let told = "select count(*) from replication.capture_problem where problem like '%which the table''s owner could take%'";
    assert_eq!(count(&mut source, told), 2);
    replication.start_services();
    source.execute("insert into users (name, email) values ('New', 'new@x')", &[]).unwrap();
    source.execute("select replication.resend('users')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    let owned = "select count(*) from pg_proc where proname ~ '^capture_.*[0-9]$' and proowner = 'replication_capture'::regrole";
    assert_eq!(count(&mut source, owned), 8);
}
