//! Whatever code the owner of an attached table has run inside capture, it reads no other owner's table, writes no other
//! owner's event, and gains no right. Every door by which such code is reached, and every statement that opens it.

use crate::harness::{PrivateServer, Replication, beside, count};
use postgres::{Client, NoTls};
use shared::schema::{Side, migrate};

/// Two owners with a table each, one more of a superuser's, and somebody who writes to all of them. `mallory.act` tries all
/// that its owner should not be able to do, as whatever role runs it, and notes as whom it ran and what succeeded.
const OWNERS: &str = r"
    create role mallory; create role victim; create role writer;
    create schema mallory authorization mallory; create schema victim authorization victim;
    create table victim.secret (id int primary key, v text); alter table victim.secret owner to victim;
    create table public.common (id int primary key, v text); grant select on public.common to public;
    alter table public.common enable row level security; create policy nobody on public.common using (false);
    grant usage on schema mallory, victim to writer; grant select, insert, update, delete on victim.secret to writer;
    insert into victim.secret values (1, 'secret'); insert into public.common values (1, 'hidden');

    set role mallory;
    create table mallory.items (id int primary key, v text);
    create table mallory.ran_as (role name); create table mallory.gained (role name, what text);
    grant insert on mallory.ran_as, mallory.gained to public; grant all on mallory.items to writer;
    create table mallory.late (n int); grant insert on mallory.late to public;
    create function mallory.attempt(what text) returns void language plpgsql volatile as $$begin
        execute what;
        insert into mallory.gained values (current_user, what);
    exception when others then null; end$$;
    create function mallory.act() returns void language plpgsql volatile as $$
    declare
        what text;
    begin
        if current_user in ('mallory', 'writer') then return; end if;
        insert into mallory.ran_as values (current_user);
        if current_setting('mallory.is_late', true) is distinct from 'yes' then insert into mallory.late values (1); end if;
        foreach what in array array[
            'alter role mallory superuser', 'alter role mallory bypassrls', 'grant pg_read_all_data to mallory',
            'do $do$begin if not exists (select from victim.secret) then raise no_data_found; end if; end$do$',
            'do $do$begin if not exists (select from public.common) then raise no_data_found; end if; end$do$',
            'do $do$begin if not exists (select from replication.outbox_event) then raise no_data_found; end if; end$do$',
            'insert into replication.outbox_event (shape_id, operation) select s.id, ''T'' from replication.shape s where s.table_name = ''secret''',
            'insert into replication.outbox_event (shape_id, operation) values (1, ''T'')',
            'insert into replication.outbox_event (shape_id, operation) values (131073, ''T'')',
            'insert into replication.outbox_event (txid, shape_id, operation) values (''3'', 65537, ''T'')',
            'insert into replication.outbox_event (id, shape_id, operation) overriding system value values (1, 65537, ''T'')',
            'insert into replication.moved_key (id, new_key) values (currval(''replication.outbox_event_id_seq''), ''(1)'')',
            'select setval(''replication.outbox_event_id_seq'', 1)', 'select nextval(''replication.wake_wanted'')',
            'delete from replication.outbox_event', 'insert into replication.attached (relation, shape_id, sent_oid) values (''victim.secret'', 65537, 1)',
            'create table replication.mine ()', 'set role postgres', 'set session authorization postgres'
        ] loop
            perform mallory.attempt(what);
        end loop;
    end$$;
    create function mallory.one() returns int language plpgsql immutable as $$begin perform mallory.act(); return 1; end$$;
    -- What is queued until the end of the transaction would run with the rights of the session.
    create function mallory.act_late() returns trigger language plpgsql as $$begin
        perform set_config('mallory.is_late', 'yes', true); perform mallory.act(); return null; end$$;
    create constraint trigger late after insert on mallory.late deferrable initially deferred for each row execute function mallory.act_late();
    reset role";

/// Each makes `mallory.one` reachable, as its owner makes it.
const DOORS: [(&str, &str, &str); 12] = [
    ("statistics", "create statistics mallory.door on (mallory.one() + id), v from mallory.items", "drop statistics mallory.door"),
    ("check", "alter table mallory.items add constraint door check (mallory.one() + id > 0)", "alter table mallory.items drop constraint door"),
    ("index", "create index door on mallory.items ((mallory.one() + id))", "drop index mallory.door"),
    ("partial index", "create index door on mallory.items (v) where mallory.one() + id > 0", "drop index mallory.door"),
    (
        "generated column",
        "alter table mallory.items add door int generated always as (mallory.one() + id) stored",
        "alter table mallory.items drop door",
    ),
    ("default", "alter table mallory.items add door int default mallory.one()", "alter table mallory.items drop door"),
    (
        "domain",
        "create domain mallory.door as text check (mallory.one() > 0); alter table mallory.items add door mallory.door",
        "alter table mallory.items drop door; drop domain mallory.door",
    ),
    (
        "operator",
        "create function mallory.plus(int, int) returns int language sql immutable as 'select mallory.one() + $1 + $2';
         create operator mallory.+ (leftarg = int, rightarg = int, function = mallory.plus);
         create statistics mallory.door on (id operator(mallory.+) 1), v from mallory.items",
        "drop statistics mallory.door; drop operator mallory.+ (int, int); drop function mallory.plus",
    ),
    (
        "cast and type",
        "create type mallory.door as (n int);
         create function mallory.cast_door(int) returns mallory.door language plpgsql immutable as
             $$begin perform mallory.act(); return row($1)::mallory.door; end$$;
         create cast (int as mallory.door) with function mallory.cast_door(int);
         create statistics mallory.door on ((mallory.one()::mallory.door).n), v from mallory.items",
        "drop statistics mallory.door; drop cast (int as mallory.door); drop function mallory.cast_door; drop type mallory.door",
    ),
    (
        "trigger",
        "create function mallory.door() returns trigger language plpgsql as $$begin perform mallory.act(); return null; end$$;
         create trigger a_door after insert or update or delete on mallory.items for each row execute function mallory.door()",
        "drop trigger a_door on mallory.items; drop function mallory.door",
    ),
    (
        "policy",
        "create policy door on mallory.items using (mallory.one() = 1) with check (mallory.one() = 1);
         alter table mallory.items enable row level security",
        "alter table mallory.items disable row level security; drop policy door on mallory.items",
    ),
    (
        "rule",
        "create rule door as on insert to mallory.items do also select mallory.one()",
        "drop rule door on mallory.items",
    ),
];

/// As somebody who may write to the table, and does to another one in the same transaction.
const STATEMENTS: [&str; 6] = [
    "insert into mallory.items (id, v) values (1, 'a'), (2, 'b')",
    "update victim.secret set v = v || '!'; update mallory.items set v = 'c'",
    "update mallory.items set id = id + 10 where id = 1",
    "delete from mallory.items where id = 2",
    "insert into mallory.items (id, v) values (3, 'd'); update mallory.items set v = 'e'; delete from mallory.items where id = 3",
    "truncate mallory.items",
];

/// What a superuser calls.
const CALLS: [&str; 4] = [
    "select replication.attach('mallory.items')",
    "select replication.resend('mallory.items')",
    "select * from replication.capture_problem",
    "alter table mallory.items add more int; alter table mallory.items drop more",
];

fn assert_gained_nothing(source: &mut Client, after: &str) {
    let gained: Option<String> = source
        .query_one("select string_agg(distinct role || ': ' || what, E'\n') from mallory.gained", &[])
        .unwrap()
        .get(0);
    assert_eq!(gained, None, "after {after}");
    let rights = "select count(*) from pg_roles r where r.rolname = 'mallory'
                  and (r.rolsuper or r.rolbypassrls or exists (select from pg_auth_members m where m.member = r.oid))";
    assert_eq!(count(source, rights), 0, "after {after}");
}

#[test]
fn code_of_an_owner_that_runs_inside_capture_gains_nothing_through_any_door() {
    let server = PrivateServer::create("owners", 18, &[]);
    let replication = Replication::prepare_from("owners", server.url(), &[]);
    let mut source = replication.source();
    source.batch_execute(OWNERS).unwrap();
    source
        .batch_execute("select replication.attach('mallory.items'), replication.attach('victim.secret')")
        .unwrap();
    let mut doors_that_opened = Vec::new();
    for (door, open, close) in DOORS {
        // Making a cast takes more than a type of one's own before PostgreSQL allows it.
        source.batch_execute(&format!("set role mallory; {open}; reset role")).unwrap();
        for isolation in ["read committed", "repeatable read", "serializable"] {
            for statement in STATEMENTS {
                let mut writer = replication.source();
                writer
                    .batch_execute(&format!(
                        "set role writer; set constraint_exclusion = on; begin isolation level {isolation}; {statement}; commit"
                    ))
                    .unwrap();
                assert_gained_nothing(&mut source, &format!("{door}; {isolation}; {statement}"));
            }
        }
        for call in CALLS {
            replication.source().batch_execute(&format!("set constraint_exclusion = on; {call}")).unwrap();
            assert_gained_nothing(&mut source, &format!("{door}; {call}"));
        }
        if count(&mut source, "select count(*) from mallory.ran_as") > 0 {
            doors_that_opened.push(door);
        }
        let foreign = "select count(*) from mallory.ran_as where role <> 'replication_capture_1'";
        assert_eq!(count(&mut source, foreign), 0, "{door}: it ran as somebody else");
        source
            .batch_execute(&format!(
                "set role mallory; {close}; delete from mallory.ran_as; delete from mallory.late; reset role"
            ))
            .unwrap();
        assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0, "after {door}");
    }
    println!("code of the owner's ran inside capture through: {}", doors_that_opened.join(", "));
    assert!(doors_that_opened.contains(&"statistics"), "none of this was tried");
    // And who is no superuser gains nothing by a rule that was left out of the outbox.
    let forged =
        "select count(*) from replication.outbox_event e join replication.shape s on s.id = e.shape_id
                  where s.table_name = 'secret' and e.operation = 'T'";
    assert_eq!(count(&mut source, forged), 0);
    replication.without_stream();
}

#[test]
fn a_table_that_changes_hands_is_captured_with_the_rights_of_its_new_owner() {
    let server = PrivateServer::create("hands", 19, &[]);
    let replication = Replication::prepare_from("hands", server.url(), &[]);
    let mut source = replication.source();
    source
        .batch_execute(
            "create role former; create role later; create schema own; grant all on schema own to former, later;
             create table own.t (id int primary key, v text); alter table own.t owner to former; select replication.attach('own.t')",
        )
        .unwrap();
    let captured_by = "select p.proowner::regrole::text || ' of ' || m.roleid::regrole
                       from pg_proc p join pg_auth_members m on m.member = p.proowner
                       where p.oid = to_regproc('replication.capture_' || replication.capture_id('own.t'))";
    let by = |source: &mut Client| source.query_one(captured_by, &[]).unwrap().get::<_, String>(0);
    assert_eq!(by(&mut source), "replication_capture_1 of former");
    // In the transaction that gives it away, and with rows written before and after.
    source
        .batch_execute("begin; insert into own.t values (1, 'a'); alter table own.t owner to later; update own.t set v = 'b'; commit")
        .unwrap();
    assert_eq!(by(&mut source), "replication_capture_2 of later");
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    // PostgreSQL tells no event trigger of this. Capture goes on, and the audit says what to run.
    source.batch_execute("reassign owned by later to former; update own.t set v = 'c'").unwrap();
    let problem: String =
        source.query_one("select problem from replication.capture_problem", &[]).unwrap().get(0);
    let (words, remedy) = problem.split_once("run as a superuser: ").unwrap();
    assert!(words.contains("replication_capture_2, which the table's owner could take"), "{problem}");
    source.batch_execute(remedy).unwrap();
    assert_eq!(by(&mut source), "replication_capture_1 of former");
    source.batch_execute("update own.t set v = 'd'; drop owned by later; drop role later").unwrap();
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    assert_eq!(count(&mut source, "select count(*) from replication.outbox_event"), 4);
    replication.without_stream();
}

/// Where nobody may execute what is not granted to him, and nothing is found by default.
#[test]
fn capture_needs_nothing_that_everybody_has_by_default() {
    let server = PrivateServer::create("hardened", 20, &[]);
    let mut maintenance = Client::connect(server.url(), NoTls).unwrap();
    maintenance.batch_execute("create database hardened").unwrap();
    maintenance.batch_execute("create role plain; create role services").unwrap();
    let mut client = Client::connect(&beside(server.url(), "hardened"), NoTls).unwrap();
    client
        .batch_execute(
            "alter default privileges revoke execute on functions from public; revoke all on schema public from public;
             revoke all on database hardened from public",
        )
        .unwrap();
    migrate(&mut client, Side::Source).unwrap();
    client
        .batch_execute(
            "create schema own authorization plain; create table own.t (id int primary key, v text); alter table own.t owner to plain;
             create statistics own.s on (abs(id)), v from own.t; select replication.attach('own.t');
             select replication.grant_to_publisher('services');
             set role plain; insert into own.t values (1, 'a'); update own.t set id = 2; delete from own.t; reset role;
             alter table own.t add n int; set role plain; insert into own.t values (3, 'b', 1); reset role;
             set role services; select * from replication.capture_problem; select replication.note_holes(), replication.prune_outbox('1 day', 10)",
        )
        .unwrap();
    assert_eq!(count(&mut client, "select count(*) from replication.capture_problem"), 0);
}

#[test]
fn an_older_outbox_is_guarded_by_migrate_and_said_to_be_open_until_then() {
    let mut replication = Replication::prepare("unguarded", &[]);
    let mut source = replication.source();
    source
        .batch_execute(
            "alter table replication.outbox_event drop constraint own_tables; alter table replication.moved_key drop constraint own_tables;
             insert into users (name, email) values ('Old', 'old@x')",
        )
        .unwrap();
    let told =
        "select count(*) from replication.capture_problem where problem like '%outbox-publisher migrate'";
    assert_eq!(count(&mut source, told), 1);
    replication.migrate_source();
    assert_eq!(count(&mut source, told), 0);
    replication.start_services();
    replication.wait_until_caught_up();
}
