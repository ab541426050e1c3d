//! Servers on which nobody of ours is a superuser, as those of providers are (docs/managed.md).

use crate::harness::{Replication, assert_same, capture_problems, count};
use postgres::Client;

/// Of the application, and of the services. The administrator may act as the application.
const ROLES: &str = "do $$
    declare
        name text;
    begin
        foreach name in array array['managed_app', 'managed_publisher', 'managed_processor'] loop
            begin
                execute format('create role %I login password ''password''', name);
            exception when duplicate_object then
                null;
            end;
        end loop;
    end$$;
    grant managed_app to managed_admin; grant create on schema public to managed_app; set role managed_app;
    create table items (id int primary key, n int unique, v text);
    create table parts (id int primary key, item int references items on delete cascade); reset role";

fn assert_no_superuser_is_here(client: &mut Client) {
    let superusers = "select count(*) from pg_stat_activity a join pg_roles r on r.rolname = a.usename
                      where a.datname = current_database() and r.rolsuper";
    assert_eq!(count(client, superusers), 0);
}

#[test]
fn an_administrator_who_is_no_superuser_installs_and_runs_everything() {
    let mut replication = Replication::prepare_managed("managed", "managed_admin");
    replication.migrate_source();
    replication.migrate_target();
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute(ROLES).unwrap();
    target.batch_execute(ROLES).unwrap();
    source
        .batch_execute(
            "select replication.attach('items'), replication.attach('parts');
             select replication.grant_to_publisher('managed_publisher')",
        )
        .unwrap();
    let mut superuser = replication.target_superuser();
    superuser
        .batch_execute("revoke set on parameter session_replication_role from managed_admin cascade")
        .unwrap();
    let grant = "select replication.grant_to_processor('managed_processor')";
    let refused = target.batch_execute(grant).unwrap_err();
    let hint = refused.as_db_error().unwrap().hint().unwrap_or_else(|| panic!("no hint: {refused:?}"));
    let (_, remedy) = hint.split_once("can say: ").unwrap();
    superuser.batch_execute(remedy).unwrap();
    target.batch_execute(grant).unwrap();
    target
        .batch_execute(
            "select replication.accept('items', 'managed_processor'), replication.accept('parts', 'managed_processor')",
        )
        .unwrap();

    replication.use_role("managed_publisher", "managed_processor");
    replication.start_services();
    source
        .batch_execute(
            "set role managed_app; insert into items select i, i, 'v' from generate_series(1, 5) i;
             insert into parts select i, i from generate_series(1, 5) i;
             update items set n = n + 10; delete from items where id = 5; reset role",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["items", "parts"]), [4, 4]);
    assert_no_superuser_is_here(&mut source);
    assert_no_superuser_is_here(&mut target);

    // No event trigger follows DDL: whoever changes a table attaches it again, in the same transaction.
    target.batch_execute("set role managed_app; alter table items add w int; reset role").unwrap();
    source
        .batch_execute(
            "begin; set local role managed_app; alter table items add w int; set local role managed_admin;
             select replication.attach('items'); commit;
             update items set w = id; truncate parts",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["items", "parts"]), [4, 0]);

    // Where that was forgotten, the audit tells it, with what to run.
    target.batch_execute("set role managed_app; alter table items add x int; reset role").unwrap();
    source
        .batch_execute(
            "set role managed_app; alter table items add x int; update items set x = id; reset role",
        )
        .unwrap();
    let problems = capture_problems(&mut source);
    assert!(problems.len() == 1 && problems[0].contains("replication.attach('items')"), "{problems:?}");
    source.batch_execute("select replication.attach('items'), replication.resend('items')").unwrap();
    assert_eq!(capture_problems(&mut source), Vec::<String>::new());
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["items"]), [4]);
    replication.publisher.wait_until_healthy();
    replication.processor.wait_until_healthy();
}
