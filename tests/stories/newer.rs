//! What newer versions of PostgreSQL brought: attached, captured and applied right, or refused with words. A story of
//! what a server does not know says so.

use crate::harness::{
    Replication, assert_same, attach, capture_problems, count, make_in_both, server_version,
    wait_until_blocked,
};
use postgres::Client;
use shared::schema::{Side, migrate};

/// The first versions that know these.
const MERGE_RETURNING: i32 = 17_00_00;
const TRANSACTION_TIMEOUT: i32 = 17_00_00;
const EVENT_TRIGGERS_OFF: i32 = 17_00_00;
const PARTITIONED_IDENTITY: i32 = 17_00_00;
const BUILTIN_LOCALES: i32 = 17_00_00;
const INFINITE_INTERVALS: i32 = 17_00_00;
const OLD_AND_NEW: i32 = 18_00_00;
const VIRTUAL_COLUMNS: i32 = 18_00_00;
const TEMPORAL_KEYS: i32 = 18_00_00;

/// Whether both servers are at least of this version; otherwise says what is left out.
fn both_know(replication: &Replication, since: i32, what: &str) -> bool {
    let knows = source_knows(replication, since, what);
    knows && is_known(&mut replication.target(), since, "target", what)
}

fn source_knows(replication: &Replication, since: i32, what: &str) -> bool {
    is_known(&mut replication.source(), since, "source", what)
}

fn is_known(client: &mut Client, since: i32, side: &str, what: &str) -> bool {
    let version = server_version(client);
    if version < since {
        println!("\nskipped: {what}: the {side} has PostgreSQL {}", version / 10_000);
    }
    version >= since
}

#[test]
fn virtual_generated_columns_arrive_with_their_values() {
    let replication = Replication::start("virtual");
    if !source_knows(&replication, VIRTUAL_COLUMNS, "virtual generated columns") {
        return replication.without_stream();
    }
    let (mut source, mut target) = (replication.source(), replication.target());
    for (name, note) in [("plain", "text"), ("with_xml", "xml")] {
        source
            .batch_execute(&format!(
                "create table {name} (id int primary key, a int, note {note}, twice int generated always as (a * 2) virtual);
                 select replication.attach('{name}')"
            ))
            .unwrap();
        // What attach and apply advise: an ordinary column.
        target
            .batch_execute(&format!(
                "create table {name} (id int primary key, a int, note {note}, twice int)"
            ))
            .unwrap();
        for isolation in ["read committed", "repeatable read"] {
            source
                .batch_execute(&format!(
                    "begin isolation level {isolation};
                     insert into {name} (id, a, note) select count(*), 1, '<a/>' from {name};
                     insert into {name} (id, a, note) select count(*), 2, '<b/>' from {name};
                     update {name} set a = a + 10 where a = 2;
                     insert into {name} (id, a) select count(*), 5 from {name}
                     on conflict (id) do update set a = 6;
                     commit"
                ))
                .unwrap();
        }
        // So many that a wrong plan would not end.
        source
            .batch_execute(&format!(
                "insert into {name} (id, a) select i, i from generate_series(100, 20000) i"
            ))
            .unwrap();
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &[name]), [6 + 19_901]);
        assert_eq!(
            count(&mut target, &format!("select count(*) from {name} where twice is distinct from a * 2")),
            0
        );
        source.execute("select replication.resend($1::text::regclass)", &[&name]).unwrap();
        replication.wait_until_caught_up();
        assert_same(&replication, &[name]);
    }
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
}

#[test]
fn a_virtual_column_of_the_target_that_takes_no_value_is_told_with_what_can_be_run() {
    let replication = Replication::start("virtual_target");
    let mut target = replication.target();
    if !is_known(&mut target, VIRTUAL_COLUMNS, "target", "virtual generated columns") {
        return replication.without_stream();
    }
    let mut source = replication.source();
    source.batch_execute("create table t (id int primary key, a int, g int)").unwrap();
    target
        .batch_execute(
            "create table t (id int primary key, a int, g int generated always as (a * 2) virtual)",
        )
        .unwrap();
    attach(&replication, &["t"]);
    source.batch_execute("insert into t values (1, 2, 3)").unwrap();
    let error = wait_until_blocked(&mut target);
    let (_, remedy) = error.split_once("run: ").unwrap();
    target.batch_execute(remedy.split_once("; --").unwrap().0).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["t"]), [1]);
}

/// The same expression on both sides, whether it is stored or not: each computes its own.
#[test]
fn generated_columns_of_either_kind_are_computed_by_the_target() {
    let replication = Replication::start("generated_kinds");
    let (mut source, mut target) = (replication.source(), replication.target());
    let kind =
        |client: &mut Client| if server_version(client) < VIRTUAL_COLUMNS { "stored" } else { "virtual" };
    let (in_source, in_target) = (kind(&mut source), kind(&mut target));
    for (name, of_source, of_target) in
        [("a", in_source, "stored"), ("b", "stored", in_target), ("c", in_source, in_target)]
    {
        let table = |kind: &str| {
            format!(
                "create table {name} (id int primary key, a int, g int generated always as (a * 2) {kind})"
            )
        };
        source.batch_execute(&table(of_source)).unwrap();
        target.batch_execute(&table(of_target)).unwrap();
    }
    attach(&replication, &["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        source
            .batch_execute(&format!(
                "insert into {name} (id, a) values (1, 1), (2, 2); update {name} set a = 7 where id = 2"
            ))
            .unwrap();
    }
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["a", "b", "c"]), [2, 2, 2]);
}

#[test]
fn a_primary_key_without_overlaps_is_captured_and_applied() {
    let replication = Replication::start("overlaps");
    if !both_know(&replication, TEMPORAL_KEYS, "primary keys WITHOUT OVERLAPS") {
        return replication.without_stream();
    }
    make_in_both(
        &replication,
        "create extension btree_gist;
         create table room (id int, valid daterange, price numeric, primary key (id, valid without overlaps));
         create table guest (name text collate \"C\", room int, stay daterange, primary key (name, stay without overlaps),
                             foreign key (room, period stay) references room (id, period valid));
         create table label (id int primary key, valid tstzrange, v text, unique (id, valid without overlaps))",
    );
    let names = ["room", "guest", "label"];
    attach(&replication, &names);
    let mut source = replication.source();
    for step in [
        "insert into room values (1, '[2024-01-01,2024-06-01)', 10), (1, '[2024-06-01,2025-01-01)', 20), (2, '[2024-01-01,)', 30)",
        "insert into guest values ('ann', 1, '[2024-02-01,2024-02-05)'), ('ann', 2, '[2024-03-01,2024-03-05)')",
        "insert into label select i, '[2024-01-01,2024-02-01)', 'x' from generate_series(1, 50) i",
        // The key of one row moves to where another one was.
        "begin; update room set valid = '[2024-01-01,2024-03-01)' where id = 1 and price = 10;
         update room set valid = '[2024-03-01,2025-01-01)' where id = 1 and price = 20; commit",
        "update room set price = price + 1",
        "begin; delete from guest where name = 'ann' and room = 2; update guest set stay = '[2024-03-02,2024-03-03)', room = 2; commit",
        "begin isolation level repeatable read; insert into room values (3, '[2024-01-01,2024-02-01)', 1), (3, '[2024-02-01,2024-03-01)', 2);
         update room set valid = daterange(lower(valid) + 400, upper(valid) + 400) where id = 3; commit",
        "delete from room where id = 1 and valid @> date '2024-02-01'",
        "update label set valid = '[2024-01-01,2025-01-01)', v = 'y' where id < 20",
    ] {
        source.batch_execute(step).unwrap();
        replication.wait_until_caught_up();
        assert_same(&replication, &names);
    }
    // Larger than what is applied from memory, and found by the key's index.
    source
        .batch_execute(
            "insert into room select i, daterange(current_date, current_date + i), i from generate_series(10, 13000) i;
             update room set valid = daterange(current_date - 1, upper(valid)), price = 0 where id >= 10",
        )
        .unwrap();
    source.execute("select replication.resend('guest')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &names), [4 + 12_991, 1, 50]);
    let drift = "select deletes_missing + inserts_overwritten from replication.target_drift";
    assert_eq!(count(&mut replication.target(), drift), 0);
    // The other kind of key in the target.
    replication
        .target()
        .batch_execute("alter table room drop constraint room_pkey cascade, add primary key (id, valid)")
        .unwrap();
    source
        .batch_execute(
            "update room set price = 5, valid = daterange(lower(valid), null) where id between 10 and 100",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_same(&replication, &names);
}

/// A transaction of either service that takes longer than the default of its database allows.
#[test]
fn a_transaction_timeout_of_the_databases_ends_no_transaction_of_the_services() {
    let mut replication = Replication::prepare("transaction_timeout", &[]);
    if !both_know(&replication, TRANSACTION_TIMEOUT, "transaction_timeout") {
        return replication.without_stream();
    }
    let (mut source, mut target) = (replication.source(), replication.target());
    for (client, side) in [(&mut source, "source"), (&mut target, "target")] {
        client
            .batch_execute(&format!(
                "alter database transaction_timeout_{side} set transaction_timeout = '300ms'"
            ))
            .unwrap();
    }
    make_slow(&mut target, "users", "enable always");
    replication.start_services();
    source.batch_execute("insert into users (name, email) values ('Ann', 'ann@x')").unwrap();
    replication.wait_until_caught_up();
    // The publisher reads this for longer, too.
    source
        .batch_execute(
            "create table wide (id int primary key, v text);
             select replication.attach('wide');
             insert into wide select i, repeat(md5(i::text), 40) from generate_series(1, 40000) i",
        )
        .unwrap();
    target.batch_execute("create table wide (id int primary key, v text)").unwrap();
    replication.wait_until_caught_up();
    for (client, side) in [(&mut source, "source"), (&mut target, "target")] {
        client
            .batch_execute(&format!("alter database transaction_timeout_{side} reset transaction_timeout"))
            .unwrap();
    }
    assert_eq!(assert_same(&replication, &["users", "wide"]), [1, 40_000]);
    for log in [replication.publisher.log(), replication.processor.log()] {
        assert!(!log.contains("transaction timeout"), "{log}");
    }
}

/// Each statement that inserts into the table takes half a second.
fn make_slow(client: &mut Client, table: &str, enable: &str) {
    client
        .batch_execute(&format!(
            "create function take_long() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$;
             create trigger take_long before insert on {table} for each statement execute function take_long();
             alter table {table} {enable} trigger take_long"
        ))
        .unwrap();
}

#[test]
fn statements_that_newer_versions_brought_are_captured() {
    let replication = Replication::start("newer_statements");
    let mut source = replication.source();
    make_in_both(&replication, "create table item (id int primary key, v text, n int)");
    attach(&replication, &["item"]);
    source.batch_execute("insert into item select i, 'old', i from generate_series(1, 10) i").unwrap();
    let merge =
        "merge into item using (values (1, 'merged'), (2, null), (20, 'new')) as s (id, v) on item.id = s.id
         when matched and s.v is null then delete
         when matched then update set v = s.v, id = item.id + 100
         when not matched then insert values (s.id, s.v, 0)";
    source.batch_execute(merge).unwrap();
    if source_knows(&replication, MERGE_RETURNING, "MERGE … RETURNING, WHEN NOT MATCHED BY SOURCE") {
        let rows = source
            .query(
                "merge into item using (values (3, 'again')) as s (id, v) on item.id = s.id
                 when matched then update set v = s.v
                 when not matched by source and item.id between 5 and 6 then delete
                 returning merge_action(), item.id",
                &[],
            )
            .unwrap();
        assert_eq!(rows.len(), 3);
    }
    if source_knows(&replication, OLD_AND_NEW, "OLD and NEW in RETURNING") {
        let row = source
            .query_one("update item set id = 40, n = n + 1 where id = 4 returning old.id, new.id", &[])
            .unwrap();
        assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (4, 40));
        source.batch_execute("with gone as (delete from item where id = 7 returning old.*) insert into item select id + 200, v, n from gone").unwrap();
    }
    replication.wait_until_caught_up();
    assert_same(&replication, &["item"]);
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
}

#[test]
fn tables_with_what_postgresql_18_brought_are_replicated() {
    let replication = Replication::start("newer_tables");
    if !both_know(&replication, VIRTUAL_COLUMNS, "uuidv7(), NOT NULL … NOT VALID, NOT ENFORCED") {
        return replication.without_stream();
    }
    make_in_both(
        &replication,
        "create table parent (id uuid primary key default uuidv7(), v int, constraint low check (v < 100) not enforced);
         create table child (id uuid primary key default uuidv7(), parent uuid, note text,
                             foreign key (parent) references parent not enforced);
         insert into child (id, note) values ('00000000-0000-0000-0000-000000000001', null);
         alter table child add constraint noted not null note not valid",
    );
    let names = ["parent", "child"];
    attach(&replication, &names);
    let mut source = replication.source();
    source
        .batch_execute(
            "insert into parent (v) select i from generate_series(1, 200) i;
             insert into child (parent, note) select id, 'x' from parent;
             insert into child (parent, note) values (uuidv7(), 'of nobody');
             update child set note = 'told' where note is null",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &names), [200, 202]);
    for side in [&mut source, &mut replication.target()] {
        side.batch_execute("alter table child validate constraint noted").unwrap();
    }
    source.batch_execute("delete from child where note = 'x'").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &names), [200, 2]);
}

#[test]
fn a_key_without_overlaps_of_a_type_that_has_no_equality_of_its_own_is_refused_on_both_sides() {
    let replication = Replication::prepare("overlaps_refused", &[]);
    replication.migrate_target();
    for (mut client, call) in [(replication.source(), "attach"), (replication.target(), "accept")] {
        if is_known(&mut client, TEMPORAL_KEYS, call, "primary keys WITHOUT OVERLAPS") {
            // An extension could do so.
            let refused = client
                .batch_execute(&format!(
                    "create function alike(int) returns smallint language sql immutable strict
                         as 'select case when $1 = 3 then 6 end::smallint';
                     alter operator family point_ops using gist add function 12 (\"any\", \"any\") alike(int);
                     create table place (spot point, valid daterange, primary key (spot, valid without overlaps));
                     select replication.{call}('place')"
                ))
                .unwrap_err();
            let refused = refused.as_db_error().unwrap();
            assert!(refused.message().contains("its primary key is WITHOUT OVERLAPS"), "{refused}");
            assert!(refused.hint().unwrap().contains("primary key of types that have an order"), "{refused}");
        }
    }
    replication.without_stream();
}

#[test]
fn a_partitioned_table_is_refused_at_the_source_and_taken_at_the_target_with_its_identity() {
    let replication = Replication::start("newer_partitions");
    let (mut source, mut target) = (replication.source(), replication.target());
    if !is_known(&mut target, PARTITIONED_IDENTITY, "target", "identity columns of partitioned tables") {
        return replication.without_stream();
    }
    source
        .batch_execute("create table part (id bigint generated always as identity primary key, v text)")
        .unwrap();
    target
        .batch_execute(
            "create table part (id bigint generated always as identity primary key, v text) partition by range (id);
             create table part_1 partition of part for values from (1) to (50);
             create table part_2 partition of part for values from (50) to (1000)",
        )
        .unwrap();
    attach(&replication, &["part"]);
    source
        .batch_execute("insert into part (v) select 'x' from generate_series(1, 99); update part set v = 'y' where id > 40; delete from part where id = 60")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["part"]), [98]);
    let refused = target.batch_execute("select replication.accept('part')");
    assert!(refused.is_ok(), "the target's may be partitioned");
    if source_knows(&replication, PARTITIONED_IDENTITY, "identity columns of partitioned tables") {
        let refused = source
            .batch_execute("create table whole (id int generated always as identity primary key) partition by list (id); select replication.attach('whole')")
            .unwrap_err();
        assert!(refused.as_db_error().unwrap().message().contains("it is partitioned"), "{refused}");
    }
}

/// Texts are ordered and compared by PostgreSQL itself, not by the C library.
#[test]
fn databases_of_the_builtin_locale_provider_are_replicated() {
    let mut replication = Replication::prepare("builtin", &[]);
    if !both_know(&replication, BUILTIN_LOCALES, "the locale provider builtin") {
        return replication.without_stream();
    }
    let (from, to) = (replication.name().to_owned() + "_from", replication.name().to_owned() + "_to");
    for (mut client, name) in [(replication.source(), &from), (replication.target(), &to)] {
        client.batch_execute(&format!("drop database if exists {name} with (force)")).unwrap();
        client
            .batch_execute(&format!(
                "create database {name} template template0 locale_provider builtin builtin_locale 'C.UTF-8'"
            ))
            .unwrap();
    }
    replication.source_is_database(&from);
    replication.target_is_database(&to);
    migrate(&mut replication.source(), Side::Source).unwrap();
    make_in_both(&replication, "create table word (w text primary key, n int)");
    attach(&replication, &["word"]);
    replication.start_services();
    let mut source = replication.source();
    source
        .batch_execute("insert into word select w, length(w) from unnest('{a,A,ä,Ä,ß,ẞ,e,é,中}'::text[]) w; update word set w = w || upper(w) || n where w > 'a'")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["word"]), [9]);
}

/// A value that only the newer server of the two knows: it blocks, is named, and is left out on request.
#[test]
fn a_value_that_an_older_target_does_not_know_blocks_with_its_row() {
    let replication = Replication::start("newer_value");
    let (mut source, mut target) = (replication.source(), replication.target());
    if !source_knows(&replication, INFINITE_INTERVALS, "infinite intervals") {
        return replication.without_stream();
    }
    make_in_both(&replication, "create table span (id int primary key, v interval)");
    attach(&replication, &["span"]);
    source.batch_execute("insert into span values (1, '1 day')").unwrap();
    source.batch_execute("insert into span values (2, 'infinity')").unwrap();
    if server_version(&mut target) >= INFINITE_INTERVALS {
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["span"]), [2]);
        return;
    }
    let error = wait_until_blocked(&mut target);
    assert!(error.contains("the row is (2) of public.span") && error.contains("infinity"), "{error}");
    source.batch_execute("update span set v = '1000 years' where id = 2").unwrap();
    let txid: i64 = target.query_one("select held_txid from replication.position", &[]).unwrap().get(0);
    target.execute("select replication.skip_transaction($1, 'a test')", &[&txid]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["span"]), [2]);
}

/// A superuser may have no event trigger fire. Capture says what it missed, and is itself again once it is attached.
#[test]
fn ddl_with_event_triggers_off_is_told_by_the_audit() {
    let replication = Replication::start("event_triggers_off");
    if !source_knows(&replication, EVENT_TRIGGERS_OFF, "event_triggers") {
        return replication.without_stream();
    }
    make_in_both(&replication, "create table t (id int primary key, v int)");
    attach(&replication, &["t"]);
    let mut source = replication.source();
    source
        .batch_execute("insert into t values (1, 1); set event_triggers = off; alter table t add column w int; set event_triggers = on")
        .unwrap();
    replication.target().batch_execute("alter table t add column w int").unwrap();
    assert_eq!(capture_problems(&mut source).len(), 1);
    source.batch_execute("select replication.attach('t'); insert into t values (2, 2, 2)").unwrap();
    assert_eq!(capture_problems(&mut source).len(), 0);
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["t"]), [2]);
}
