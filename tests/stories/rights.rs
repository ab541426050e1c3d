//! Whose rights count: of those who write, of owners, and of the services.

use crate::capture::{ITEMS, run};
use crate::harness::{
    Replication, attach, count, ctl, make_in_both, start_with_tables, wait_for, wait_for_health,
};
use postgres::Client;
use shared::schema::{Side, migrate};

/// What a processor says at its start that logs in as a superuser.
const AS_SUPERUSER: &str = "is written to as a superuser, who may write to every table";

#[test]
fn ordinary_roles_need_no_rights_on_the_outbox_and_no_search_path_deceives() {
    let replication = start_with_tables("capture_roles", ITEMS, &["items"]);
    replication
        .source()
        .batch_execute(
            "do $$begin create role capture_writer; exception when duplicate_object then null; end$$;
             grant select, insert, update, delete, truncate on items to capture_writer;
             create schema hostile authorization capture_writer; set role capture_writer;
             create function hostile.pg_notify(text, text) returns void language sql as 'select 1/0';
             create function hostile.no(int, int) returns bool language sql as 'select false';
             create operator hostile.= (leftarg = int, rightarg = int, function = hostile.no);
             create function hostile.no(text, text) returns bool language sql as 'select false';
             create operator hostile.<> (leftarg = text, rightarg = text, function = hostile.no);
             create operator hostile.~~ (leftarg = text, rightarg = text, function = hostile.no);
             create function hostile.current_setting(text, bool) returns text language sql as 'select 1/0';
             create function hostile.current_setting(text) returns text language sql as 'select 1/0';
             create domain hostile.text as int; create domain hostile.bool as int;
             create table hostile.items (id int); create table hostile.new_rows (id int); create table hostile.outbox_event (id int)",
        )
        .unwrap();
    let sizes = run(
        &replication,
        &["public.items"],
        "set role capture_writer; set search_path = hostile, public, pg_catalog; set row_security = off;
         create domain pg_temp.text as int4; create domain pg_temp.bool as int4; create temporary table new_rows (id int4);
         insert into public.items values (1, 1, 'a'), (2, 2, 'b'); update public.items set v = 'c' where id operator(pg_catalog.=) 1;
         delete from public.items where id operator(pg_catalog.=) 2",
    );
    assert_eq!(sizes, [1]);
    run(
        &replication,
        &["public.items"],
        "set role capture_writer; truncate public.items; insert into public.items values (9)",
    );
    // Nor can it have them captured what is no change of the table.
    let forged = replication
        .source()
        .batch_execute(
            "create table hostile.forged (id int, n int, v text); alter table hostile.forged owner to capture_writer;
             select set_config('test.capture', 'replication.capture_insert_' || replication.capture_id('public.items'), false);
             grant usage on schema replication to capture_writer; set role capture_writer;
             do $$begin execute format('create trigger forged after insert on hostile.forged referencing new table as new_rows
                 for each statement execute function %s()', current_setting('test.capture')); end$$",
        )
        .unwrap_err();
    assert!(forged.as_db_error().unwrap().message().contains("permission denied for function"), "{forged:?}");
    replication.source().batch_execute("revoke usage on schema replication from capture_writer").unwrap();
    let denied =
        replication.source().batch_execute("set role capture_writer; select * from replication.outbox_event");
    assert!(denied.unwrap_err().to_string().contains("db error"));
    // What the system does in the name of its owner takes nothing from a schema that others can write to.
    replication.source().batch_execute("alter table items owner to capture_writer").unwrap();
    replication.target().batch_execute("alter table items add w int").unwrap();
    run(
        &replication,
        &["public.items"],
        "set role capture_writer; create domain pg_temp.text as pg_catalog.text check (1 / 0 = 1);
         alter table public.items add w int; insert into public.items values (10, 1, 'a', 1); update public.items set w = 2",
    );
    let cleaned = "alter table items owner to current_user; drop owned by capture_writer cascade; drop role if exists capture_writer";
    replication.source().batch_execute(cleaned).unwrap();
}

#[test]
fn no_name_that_an_owner_gives_a_column_is_run_as_sql() {
    let replication = start_with_tables("capture_names", "create table odd (id int primary key)", &["odd"]);
    let columns = r#"alter table public.odd add column "$capture$;alter role capture_odd superuser;/*" int,
                     add column "*/select $capture$" int, add column "$changing$'\" int, add column "%s -- " int"#;
    replication.target().batch_execute(columns).unwrap();
    let mut source = replication.source();
    source
        .batch_execute(
            "do $$begin create role capture_odd; exception when duplicate_object then null; end$$;
             alter table odd owner to capture_odd",
        )
        .unwrap();
    // Another body would be looked at otherwise, and refused.
    source
        .batch_execute(&format!(
            "set role capture_odd; set check_function_bodies = off; {columns}; reset role"
        ))
        .unwrap();
    let escalated = "select count(*) from pg_roles where rolname = 'capture_odd' and rolsuper";
    assert_eq!(count(&mut source, escalated), 0);
    let changes = "set role capture_odd; insert into public.odd values (1, 2, 3, 4, 5), (6, 7, 8, 9, 10), (11, 1, 1, 1, 1);
                   update public.odd set id = id + 1 where id = 6; delete from public.odd where id = 11; reset role";
    assert_eq!(run(&replication, &["public.odd"], changes), [2]);
    source
        .batch_execute(
            "alter table odd owner to current_user; drop owned by capture_odd; drop role capture_odd",
        )
        .unwrap();
}

#[test]
fn key_columns_may_be_called_what_the_capture_calls_its_variables() {
    let names = "create table named (found bool, tg_op text, call_stack text, new int, \"old\" int, k int, t int, r int,
                                     primary key (found, tg_op, call_stack, new, \"old\", k, t, r))";
    let replication = start_with_tables("capture_variables", names, &["named"]);
    for change in [
        "insert into named values (true, 'a', 'b', 1, 2, 3, 4, 5), (false, 'a', 'b', 1, 2, 3, 4, 5)",
        "update named set tg_op = 'c', new = 7, r = 8 where found",
        "delete from named where not found",
    ] {
        run(&replication, &["named"], change);
    }
}

#[test]
fn row_security_cannot_hide_rows_from_the_capture() {
    let replication = start_with_tables("capture_row_security", ITEMS, &["items"]);
    let mut source = replication.source();
    source
        .batch_execute(
            "do $$begin create role capture_tenant; exception when duplicate_object then null; end$$;
             grant all on items to capture_tenant; alter table items enable row level security;
             create policy own on items for all to capture_tenant using (n = 1) with check (true)",
        )
        .unwrap();
    run(
        &replication,
        &["items"],
        "set role capture_tenant; insert into items values (1, 1, 'seen'), (2, 2, 'not seen'); update items set n = 3",
    );
    assert_eq!(run(&replication, &["items"], "update items set v = 'again'"), [2]);
    source.batch_execute("drop owned by capture_tenant; drop role capture_tenant").unwrap();
}

#[test]
fn services_of_roles_that_are_no_superusers() {
    let mut replication = Replication::prepare("least_rights", &[("VERIFY_INTERVAL", "0.2")]);
    make_in_both(&replication, ITEMS);
    replication.target().batch_execute("select replication.remove()").unwrap();
    for mut client in [replication.source(), replication.target()] {
        for role in ["least_publisher", "least_processor"] {
            client
                .batch_execute(&format!(
                    "do $$begin create role {role} login password 'password'; exception when duplicate_object then null; end$$"
                ))
                .unwrap();
        }
    }
    replication.use_role("least_publisher", "least_processor");
    replication.processor.start();
    assert_eq!(replication.processor.wait_for_end().code(), Some(1));
    let log = replication.processor.log();
    assert!(log.contains("inbox-processor migrate"), "{log}");

    attach(&replication, &["items"]);
    replication.migrate_target();
    let (mut source, mut target) = (replication.source(), replication.target());
    replication.publisher.start();
    replication.processor.start();
    // What a service says to run, it waits for.
    for (service, client) in [(&replication.publisher, &mut source), (&replication.processor, &mut target)] {
        wait_for_health(service, "run, as who made it: ");
        let health = service.health();
        let (_, remedy) = health.split_once("run, as who made it: ").unwrap();
        client.batch_execute(remedy.split_inclusive(';').next().unwrap()).unwrap();
    }
    for table in ["items", "users", "payments"] {
        target
            .execute("select replication.accept($1::text::regclass, 'least_processor')", &[&table])
            .unwrap();
    }
    replication.publisher.wait_until_healthy();
    replication.processor.wait_until_healthy();
    run(&replication, &["items"], "insert into items values (1, 1, 'a'), (2, 2, 'b')");
    run(
        &replication,
        &["items"],
        "begin; update items set id = id + 1 where id = 2; delete from items where id = 1; insert into items values (1, 5, 'again'); commit",
    );
    assert_eq!(run(&replication, &["items"], "truncate items"), [0]);
    for client in [&mut source, &mut target] {
        wait_for("all tables are verified", || {
            (count(client, "select count(*) from replication.verification where state = 'equal'") == 3)
                .then_some(())
        });
    }
    // A pause is obeyed, and that is noted.
    for side in [&["pause", "--why", "rights"][..], &["pause", "--why", "rights", "--publishing"]] {
        ctl(&replication, side).ended(0);
    }
    ctl(&replication, &["resume"]).ended(0);
    ctl(&replication, &["resume", "--publishing"]).ended(0);
    assert_no_more_than_listed(&replication);
    assert_refused_to_services(&replication);
    assert!(!replication.processor.log().contains(AS_SUPERUSER), "{}", replication.processor.log());
    let super_users = "select count(*) from pg_stat_activity a join pg_roles r on r.rolname = a.usename
                       where a.datname = current_database() and a.application_name in ('outbox-publisher', 'inbox-processor') and r.rolsuper";
    assert_eq!(count(&mut replication.source(), super_users) + count(&mut target, super_users), 0);

    assert_eq!(replication.processor.stop().code(), Some(0));
    let as_superuser = replication.target_url().to_owned();
    replication.processor.set("DATABASE_URL", &as_superuser);
    replication.processor.start();
    replication.processor.wait_until_healthy();
    assert!(replication.processor.log().contains(AS_SUPERUSER), "{}", replication.processor.log());
}

/// Beyond what its side lists, the role of a service may only read.
fn assert_no_more_than_listed(replication: &Replication) {
    for (mut client, role, rights) in [
        (replication.source(), "least_publisher", "publisher_privileges"),
        (replication.target(), "least_processor", "processor_privileges"),
    ] {
        let beyond: Option<String> = client
            .query_one(
                &format!(
                    "select string_agg(c.relname || ' ' || a.privilege_type, ', ')
                     from pg_class c cross join aclexplode(c.relacl) a
                     left join replication.{rights}() p on p.name = c.relname
                     where c.relnamespace = 'replication'::regnamespace and a.grantee = '{role}'::regrole and a.privilege_type <> 'SELECT'
                       and not coalesce(lower(a.privilege_type) = any (string_to_array(p.privileges, ', ')), false)"
                ),
                &[],
            )
            .unwrap()
            .get(0);
        assert_eq!(beyond, None, "{role}");
        let unlisted = format!(
            "select count(*) from pg_class c where c.relnamespace = 'replication'::regnamespace and c.relkind in ('r', 'S')
             and not exists (select from replication.{rights}() p where p.name = c.relname)"
        );
        assert_eq!(count(&mut client, &unlisted), 0, "a table of ours that the rights of {role} do not name");
    }
}

/// It cannot attach, nor read what nobody attached, nor write what operators decide.
fn assert_refused_to_services(replication: &Replication) {
    for (mut client, role, refused) in [
        (replication.source(), "least_publisher", "select replication.attach('users')"),
        (
            replication.source(),
            "least_publisher",
            "insert into replication.attached (relation, shape_id, sent_oid) values ('users', 1, 1)",
        ),
        (replication.source(), "least_publisher", "update replication.shape set table_name = 'other'"),
        (replication.source(), "least_publisher", "select * from users"),
        (
            replication.source(),
            "least_publisher",
            "do $$begin execute format('select replication.capture_rows_%s()', replication.capture_id('items')); end$$",
        ),
        (
            replication.source(),
            "least_publisher",
            "insert into replication.outbox_event (shape_id, operation) values (1, 'T')",
        ),
        (
            replication.target(),
            "least_processor",
            "insert into replication.adoption (from_source, to_source) values ('a', 'b')",
        ),
        (
            replication.target(),
            "least_processor",
            "select replication.quarantine_acknowledge(), replication.skip_transaction(1, 'mine')",
        ),
        (
            replication.target(),
            "least_processor",
            "insert into replication.skipped_transaction (txid, source, reason) values (1, 'a', 'b')",
        ),
        (replication.target(), "least_processor", "update replication.schema_version set version = 1"),
    ] {
        let error = client.batch_execute(&format!("set role {role}; {refused}")).unwrap_err();
        let message = error.as_db_error().unwrap().message().to_owned();
        assert!(
            message.contains("permission denied") || message.contains("is not pending"),
            "{refused}: {message}"
        );
    }
}

/// Views are dropped and made again with each version, and default privileges are made for tables of an application.
#[test]
fn who_may_read_the_views_stays_as_an_administrator_left_it() {
    let replication = Replication::prepare("view_rights", &[]);
    for (mut client, side, view, (status, column), new) in [
        (replication.source(), Side::Source, "outbox", ("source_status", "last_tick"), "source_overview"),
        (replication.target(), Side::Target, "inbox", ("target_status", "applied_tick"), "target_overview"),
    ] {
        client
            .batch_execute(&format!(
                "do $$begin create role view_reader; exception when duplicate_object then null; end$$;
                 do $$begin create role view_lender; exception when duplicate_object then null; end$$;
                 alter default privileges grant all on tables to view_reader, public;
                 alter default privileges grant all on sequences to view_reader;
                 grant usage on schema replication to view_reader;
                 grant select on replication.{view} to view_reader; grant select on replication.{view} to view_lender with grant option;
                 grant select ({column}) on replication.{status} to view_reader;
                 drop view replication.{new};
                 update replication.repeatable set checksum = 'older'"
            ))
            .unwrap();
        migrate(&mut client, side).unwrap();
        assert_eq!(readable(&mut client), [view]);
        client
            .batch_execute(&format!(
                "set role view_reader; select * from replication.{view}; select {column} from replication.{status}; reset role"
            ))
            .unwrap();
        let lent = "select count(*) from pg_class c, aclexplode(c.relacl) a
                    where a.grantee = 'view_lender'::regrole and a.is_grantable";
        assert_eq!(count(&mut client, lent), 1);
        // Nor when all is made for the first time.
        client.batch_execute("select replication.remove()").unwrap();
        migrate(&mut client, side).unwrap();
        client.batch_execute("grant usage on schema replication to view_reader").unwrap();
        assert_eq!(readable(&mut client), Vec::<String>::new());
        client
            .batch_execute("drop owned by view_reader, view_lender; drop role view_reader, view_lender")
            .unwrap();
    }
    replication.without_stream();
}

/// What of ours `view_reader` may read as a whole.
fn readable(client: &mut Client) -> Vec<String> {
    let relations = "select c.relname::text from pg_class c
                     where c.relnamespace = 'replication'::regnamespace and c.relkind in ('r', 'v')
                       and has_table_privilege('view_reader', c.oid, 'select') order by 1";
    client.query(relations, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}
