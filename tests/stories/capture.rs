//! Nothing escapes capture: whatever changes a row, by whomever and in whatever session, B ends as A.

use crate::harness::{
    PrivateServer, Replication, assert_same, attach, count, make_in_both, start_with_tables, wait_for,
};
use postgres::{Client, IsolationLevel};
use std::io::Write;

/// Runs SQL in the source, and compares once it has arrived; returns the sizes of the tables.
fn run(replication: &Replication, tables: &[&str], sql: &str) -> Vec<usize> {
    run_in(&mut replication.source(), replication, tables, sql)
}

fn run_in(source: &mut Client, replication: &Replication, tables: &[&str], sql: &str) -> Vec<usize> {
    source.batch_execute(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    replication.wait_until_caught_up();
    let sizes = assert_same(replication, tables);
    let drift = "select deletes_missing + inserts_overwritten from replication.target_drift";
    assert_eq!(count(&mut replication.target(), drift), 0, "after {sql}");
    sizes
}

const ITEMS: &str = "create table items (id int primary key, n int not null default 0, v text)";

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
             select set_config('test.capture', 'replication.capture_insert_' || 'public.items'::regclass::oid, false);
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
fn dates_arrive_as_they_are_in_whatever_style_a_session_writes_them() {
    let replication = start_with_tables(
        "capture_dates",
        "create table dated (id int primary key, day date, at timestamptz, days date[]); alter table dated add gone date; alter table dated drop gone",
        &["dated"],
    );
    // One session, so that one set of plans sees all of them.
    let mut source = replication.source();
    for (number, style) in
        ["ISO, YMD", "German, DMY", "SQL, DMY", "ISO, MDY", "Postgres, MDY"].into_iter().enumerate()
    {
        let insert = format!(
            "set datestyle = '{style}';
             insert into dated values ({number}, make_date(2026, 2, 3), make_timestamptz(2026, 4, 5, 6, 7, 8), array[make_date(2026, 11, 12)])"
        );
        for sql in [&*insert, "update dated set day = day + 1"] {
            assert_eq!(run_in(&mut source, &replication, &["dated"], sql), [number + 1]);
        }
        assert_eq!(source.query_one("show datestyle", &[]).unwrap().get::<_, String>(0), style);
    }
}

#[test]
fn replica_sessions_copy_merge_on_conflict_and_writing_ctes() {
    let replication = start_with_tables(
        "capture_statements",
        "create table items (id int primary key, n int not null default 0, v text);
         create table log (id int primary key generated by default as identity, item int, what text)",
        &["items", "log"],
    );
    let tables = ["items", "log"];
    let check = |sql: &str| run(&replication, &tables, sql);
    check(
        "set session_replication_role = replica; insert into items select i, i from generate_series(1, 20) i; update items set n = -n where id > 15; delete from items where id = 20",
    );
    let mut source = replication.source();
    let mut copy = source.copy_in("copy items (id, v) from stdin").unwrap();
    copy.write_all(b"101\ta\\tb\\\\\n102\t\\N\n103\t\n").unwrap();
    copy.finish().unwrap();
    check("merge into items t using (values (1, 'merged'), (2, null), (500, 'new')) as s (id, v) on t.id = s.id
           when matched and s.v is null then delete when matched then update set v = s.v when not matched then insert (id, v) values (s.id, s.v)");
    check("insert into items values (1, 1, 'conflict'), (600, 1, 'new') on conflict (id) do update set v = excluded.v, n = items.n + 1;
           insert into items values (1, 2, 'ignored'), (601, 1, 'new') on conflict do nothing");
    check("with gone as (delete from items where id between 5 and 9 returning id), more as (insert into items select id + 1000 from gone returning id),
                changed as (update items set v = 'cte' where id = 10 returning id)
           insert into log (item, what) select id, 'gone' from gone union all select id, 'more' from more union all select id, 'changed' from changed");
    check(
        "insert into items values (7777, 1, 'x') returning id; update items set n = n where false; delete from items where false",
    );
    check("create view open_items as select id, v from items where n >= 0; insert into open_items values (8000, 'by view'); update open_items set v = 'u' where id = 8000; delete from open_items where id = 3;
           create rule noted as on update to log do also insert into items select 9000 + new.id; update log set what = 'ruled' where id = 1");
    check("prepare change (int) as update items set v = 'prepared' where id = $1; execute change (11); execute change (12);
           do $$begin for i in 1..5 loop update items set n = n + i where id = 13; begin insert into items values (13); exception when unique_violation then null; end; end loop; end$$");
    check(
        "begin; declare every cursor for select * from items where id between 14 and 16 for update; move 2 in every; update items set v = 'cursor' where current of every; commit",
    );
}

#[test]
fn cascades_of_every_kind_and_truncates() {
    let tables = ["parent", "cascading", "nulled", "defaulted", "deep"];
    let replication = start_with_tables(
        "capture_cascades",
        "create table parent (id int primary key, v text);
         create table cascading (id int primary key, parent_id int references parent on delete cascade on update cascade);
         create table nulled (id int primary key, parent_id int references parent on delete set null on update cascade);
         create table defaulted (id int primary key, parent_id int default 1 references parent on delete set default on update set default);
         create table deep (id int generated by default as identity primary key, cascading_id int references cascading on delete cascade)",
        &tables,
    );
    let check = |sql: &str| run(&replication, &tables, sql);
    check("insert into parent select i from generate_series(1, 10) i; insert into cascading select i * 10, i from generate_series(1, 10) i;
           insert into nulled select i, i from generate_series(2, 10) i; insert into defaulted select i, i from generate_series(2, 10) i;
           insert into deep (cascading_id) select i * 10 from generate_series(1, 10) i");
    check("delete from parent where id in (3, 4)");
    check("update parent set id = id + 100 where id in (5, 6, 7)");
    check(
        "begin; update parent set id = 200 where id = 8; delete from parent where id = 200; insert into parent values (8, 'again'); commit",
    );
    check("truncate deep restart identity; insert into deep (cascading_id) values (10), (20)");
    assert_eq!(check("truncate parent restart identity cascade"), [0, 0, 0, 0, 0]);
    check(
        "insert into parent values (1); begin; truncate parent cascade; insert into parent values (2); insert into cascading values (1, 2); savepoint s; truncate parent cascade; rollback to s; commit",
    );
}

#[test]
fn primary_keys_changed_over_many_rows_in_one_statement() {
    let replication = start_with_tables(
        "capture_keys",
        "create table chain (id int primary key deferrable, v text); create table pair (a int, b text, v int, primary key (b, a))",
        &["chain", "pair"],
    );
    let check = |sql: &str| run(&replication, &["chain", "pair"], sql);
    check(
        "insert into chain select i, 'row ' || i from generate_series(1, 50) i; insert into pair select i, 'p' || i % 3, i from generate_series(1, 30) i",
    );
    check("update chain set id = id + 1");
    check("update chain set id = 53 - id");
    check(
        "update chain set id = id * 2, v = v || '!' where id % 2 = 0; update pair set a = a + 100, b = upper(b)",
    );
    check("update chain set id = -id; delete from chain where id < -60; update chain set id = -id + 1");
    let sizes =
        check("update pair set b = case b when 'P0' then 'P1' when 'P1' then 'P2' else 'P0' end, a = -a");
    assert_eq!(sizes[1], 30);
}

#[test]
fn triggers_that_change_the_row_before_and_after_and_write_elsewhere() {
    let tables = ["doc", "history"];
    let replication = start_with_tables(
        "capture_triggers",
        "create table doc (id int primary key, v text, version int not null default 1);
         create table history (id int generated by default as identity primary key, doc_id int, v text)",
        &tables,
    );
    replication
        .source()
        .batch_execute(
            "create function before() returns trigger language plpgsql as $$begin
                 if new.v = 'skip' then return null; end if;
                 new.v := upper(new.v); if tg_op = 'UPDATE' then new.version := old.version + 1; end if; return new; end$$;
             create function after_row() returns trigger language plpgsql as $$begin
                 if new.v = 'FIX ME' then update doc set v = 'FIXED' where id = new.id; end if;
                 if new.v = 'DELETE ME' then delete from doc where id = new.id; end if;
                 if new.v = 'MOVE ME' then update doc set id = id + 1000, v = 'MOVED' where id = new.id; end if;
                 return null; end$$;
             create function note() returns trigger language plpgsql as $$begin
                 insert into history (doc_id, v) select id, v from doc where id > 500; return null; end$$;
             create function reach(victim int, how text) returns text language plpgsql volatile as $$begin
                 if how = 'update' then update doc set v = 'reached' where id = victim;
                 elsif how = 'delete' then delete from doc where id = victim;
                 else begin
                     update doc set v = 'taken back' where id = victim; raise exception 'no';
                 exception when raise_exception then null; end; end if;
                 return how; end$$;
             create trigger a_before before insert or update on doc for each row execute function before();
             create trigger b_after after insert or update on doc for each row execute function after_row();
             create trigger z_statement after insert or delete on doc for each statement execute function note();
             create constraint trigger later after insert on doc deferrable initially deferred for each row
                 when (new.v = 'LATER') execute function after_row()",
        )
        .unwrap();
    let check = |sql: &str| run(&replication, &tables, sql);
    check(
        "insert into doc values (1, 'plain'), (2, 'fix me'), (3, 'delete me'), (4, 'move me'), (5, 'skip')",
    );
    check("update doc set v = 'fix me' where id = 1; update doc set v = 'delete me' where id = 2");
    check("update doc set v = 'move me' where id = 1; update doc set v = 'skip' where id = 1004");
    check(
        "begin; insert into doc values (6, 'later'); delete from doc where id = 1004; update doc set v = v; insert into doc values (7, 'delete me'), (8, 'move me'); commit",
    );
    // The statement's own functions reach for rows that it has just inserted.
    for how in ["update", "delete", "take back"] {
        check("delete from doc");
        check(&format!(
            "insert into doc select i, case i when 3 then reach(1, '{how}') else 'plain' end from generate_series(1, 4) i"
        ));
        check(&format!(
            "begin; update doc set v = 'once'; savepoint s; delete from doc; rollback to s;
             insert into doc select i, case i when 13 then reach(11, '{how}') else 'plain' end from generate_series(11, 14) i;
             commit; insert into doc values (20, 'fix me'), (21, 'plain')"
        ));
    }
}

#[test]
fn deferred_constraints_savepoints_and_isolation_levels() {
    let tables = ["node", "items"];
    let replication = start_with_tables(
        "capture_transactions",
        "create table node (id int primary key, next_id int not null unique references node deferrable initially deferred);
         create table items (id int primary key, n int not null default 0, v text)",
        &tables,
    );
    let check = |sql: &str| run(&replication, &tables, sql);
    check(
        "begin; insert into node values (1, 2); insert into node values (2, 3); insert into node values (3, 1); commit",
    );
    check("begin; insert into items select i from generate_series(1, 10) i; savepoint a; update items set v = 'lost'; savepoint b; delete from items where id > 5;
           rollback to b; insert into items values (11); release b; rollback to a; update items set v = 'kept' where id = 3; commit");
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        // Rows that others commit meanwhile are invisible to this transaction, and its own are not.
        let mut writer = replication.source();
        let mut transaction = writer.build_transaction().isolation_level(level).start().unwrap();
        transaction.execute("update items set n = n + 1 where id = 1", &[]).unwrap();
        run(
            &replication,
            &[],
            "update items set n = n + 100 where id = 2; insert into items (id) select max(id) + 1 from items",
        );
        transaction.execute("update items set n = n + 1 where id in (1, 3)", &[]).unwrap();
        transaction.commit().unwrap();
        check("select 1");
    }
}

#[test]
fn a_key_that_somebody_else_deleted_after_the_snapshot_of_its_new_owner() {
    let replication = start_with_tables("capture_snapshots", ITEMS, &["items"]);
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        run(&replication, &["items"], "insert into items select i, 0, 'old' from generate_series(1, 40) i");
        let mut writer = replication.source();
        let mut transaction = writer.build_transaction().isolation_level(level).start().unwrap();
        // Its snapshot still has the rows that go now, beside those that it puts in their place.
        assert_eq!(transaction.query("select from items", &[]).unwrap().len(), 40);
        replication.source().execute("delete from items where id <= 20", &[]).unwrap();
        transaction
            .batch_execute(
                "insert into items select i, 1, 'new' from generate_series(1, 10) i;
                 update items set id = id - 20, v = 'moved' where id between 31 and 40;
                 savepoint s; update items set n = 2 where id in (5, 15) and v <> 'old'; release s",
            )
            .unwrap();
        transaction.commit().unwrap();
        assert_eq!(run(&replication, &["items"], "select 1"), [30]);
        run(&replication, &["items"], "delete from items");
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
fn two_phase_commit_where_the_server_allows_it() {
    let server = PrivateServer::create("twophase", 1, &["max_prepared_transactions=10"]);
    let mut replication = Replication::start_from("capture_two_phase", &server);
    make_in_both(&replication, ITEMS);
    attach(&replication, &["items"]);
    let mut source = replication.source();
    source.batch_execute("begin; insert into items values (1, 1, 'prepared'), (2, 2, 'prepared'); prepare transaction 'kept'").unwrap();
    source.batch_execute("begin; insert into items values (3); prepare transaction 'dropped'").unwrap();
    // What others commit meanwhile is not held up.
    assert_eq!(count(&mut source, "select count(*) from items"), 0);
    source.batch_execute("insert into items values (10, 0, 'meanwhile')").unwrap();
    wait_for("what was committed has arrived", || {
        (count(&mut replication.target(), "select count(*) from items") == 1).then_some(())
    });
    // Prepared transactions outlive the server and the services.
    drop(source);
    replication.publisher.kill();
    server.kill();
    server.start();
    replication.publisher.start();
    assert_eq!(run(&replication, &["items"], "commit prepared 'kept'"), [3]);
    assert_eq!(run(&replication, &["items"], "rollback prepared 'dropped'"), [3]);
    assert_eq!(run(&replication, &["items"], "update items set v = 'after' where id = 1"), [3]);
}

#[test]
fn what_cannot_be_replicated_is_refused_with_the_reason_and_the_remedy() {
    let replication = Replication::start("refused");
    let mut source = replication.source();
    source
        .batch_execute(
            "create table no_key (id int); create unlogged table unlogged (id int primary key); create temporary table temporary (id int primary key);
             create view a_view as select 1 as id; create materialized view materialized as select 1 as id;
             create foreign data wrapper nothing; create server nowhere foreign data wrapper nothing; create foreign table foreign_one (id int) server nowhere;
             create table partitioned (id int primary key) partition by range (id); create table part partition of partitioned for values from (0) to (10);
             create table ancestor (id int primary key); create table descendant (primary key (id)) inherits (ancestor);
             create table good (id int primary key); create sequence a_sequence",
        )
        .unwrap();
    for (table, reason, remedy) in [
        ("no_key", "it has no primary key", "ALTER TABLE public.no_key ADD PRIMARY KEY"),
        ("unlogged", "it is unlogged", "ALTER TABLE public.unlogged SET LOGGED"),
        ("temporary", "it is temporary", "Attach a permanent table"),
        ("a_view", "it is a view", "Attach the tables that it reads"),
        ("materialized", "it is a view", "Attach the tables that it reads"),
        ("foreign_one", "it is a foreign table", "Attach the table at the server where it is"),
        ("partitioned", "it is partitioned", "Replicate it as an ordinary table"),
        ("part", "it is a partition", "Replicate it as an ordinary table"),
        ("ancestor", "other tables inherit from it", "NO INHERIT"),
        ("descendant", "it inherits from another table", "NO INHERIT"),
        ("a_sequence", "it is not a table", ""),
        ("replication.tick", "it belongs to the system", ""),
    ] {
        let error = source.execute("select replication.attach($1::text::regclass)", &[&table]).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(
            error.message().contains("cannot attach") && error.message().contains(reason),
            "{table}: {error:?}"
        );
        assert!(error.hint().unwrap_or_default().contains(remedy), "{table}: {error:?}");
    }
    assert_eq!(count(&mut source, "select count(*) from replication.attached"), 2);

    // Nor can an attached table become one of these.
    source.execute("select replication.attach('good')", &[]).unwrap();
    for ddl in [
        "alter table good set unlogged",
        "alter table good drop constraint good_pkey",
        "create table child () inherits (good)",
        "alter table partitioned attach partition good for values from (10) to (20)",
    ] {
        let error = source.batch_execute(ddl).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains("the replicated table"), "{ddl}: {error:?}");
        assert!(error.hint().unwrap_or_default().contains("select replication.detach('"), "{ddl}: {error:?}");
    }
    source
        .batch_execute(
            "alter table good add column v text; insert into good values (1, 'x'); drop table good",
        )
        .unwrap();
    let gone = "select count(*) from replication.capture_problem where problem like 'the table is gone%'";
    assert_eq!(count(&mut source, gone), 1);
    source.batch_execute("select replication.detach(relation) from replication.attached where relation not in (select oid from pg_class)").unwrap();
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
}

#[test]
fn services_of_roles_that_are_no_superusers() {
    let mut replication = Replication::prepare("least_rights", &[]);
    make_in_both(&replication, ITEMS);
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
    replication.source().execute("select replication.grant_to_publisher('least_publisher')", &[]).unwrap();
    replication.migrate_target();
    let mut target = replication.target();
    target.execute("select replication.grant_to_processor('least_processor')", &[]).unwrap();
    for table in ["items", "users", "payments"] {
        target
            .execute("select replication.accept($1::text::regclass, 'least_processor')", &[&table])
            .unwrap();
    }
    replication.start_services();
    run(&replication, &["items"], "insert into items values (1, 1, 'a'), (2, 2, 'b')");
    run(
        &replication,
        &["items"],
        "begin; update items set id = id + 1 where id = 2; delete from items where id = 1; insert into items values (1, 5, 'again'); commit",
    );
    assert_eq!(run(&replication, &["items"], "truncate items"), [0]);
    let super_users = "select count(*) from pg_stat_activity a join pg_roles r on r.rolname = a.usename
                       where a.datname = current_database() and a.application_name in ('outbox-publisher', 'inbox-processor') and r.rolsuper";
    assert_eq!(count(&mut replication.source(), super_users) + count(&mut target, super_users), 0);
}
