//! Nobody gains a right by owning a table that is replicated.

use crate::harness::{PrivateServer, Replication, assert_same, beside, count, make_in_both};
use postgres::{Client, NoTls};
use shared::schema::{Side, migrate};

const ITEMS: &str = "create schema trap; create table trap.items (id int primary key, v text)";

/// Code of the owner's: notes under which role it runs, and makes the owner a superuser where that role may.
const CODE: &str = "
    create role trap_owner; alter schema trap owner to trap_owner; alter table trap.items owner to trap_owner;
    set role trap_owner;
    create table trap.ran_as (role name); grant insert on trap.ran_as to public;
    create function trap.act() returns void language plpgsql volatile as $$begin
        if current_user <> 'trap_owner' then
            insert into trap.ran_as values (current_user);
            begin execute 'alter role trap_owner superuser'; exception when insufficient_privilege then null; end;
        end if; end$$;
    create function trap.one() returns int language plpgsql immutable as $$begin perform trap.act(); return 1; end$$;
    -- What is inserted and changed by a trigger is read again.
    create function trap.nest() returns trigger language plpgsql as $$begin
        if pg_trigger_depth() = 1 then update trap.items set v = v || '!' where id = new.id; end if; return null; end$$;
    create trigger nest after insert on trap.items for each row execute function trap.nest();
    reset role";

/// Every kind of statement that is captured, as the owner; each in a session of its own, without plans of
/// before.
const STATEMENTS: [&str; 6] = [
    "insert into trap.items values (1, 'a'), (2, 'b')",
    "update trap.items set v = 'c'",
    "delete from trap.items where id = 2",
    "begin isolation level repeatable read; insert into trap.items values (3, 'd'); update trap.items set v = 'e' where id = 1;
     delete from trap.items where id = 3; commit",
    "truncate trap.items",
    "insert into trap.items values (4, 'last')",
];

fn assert_gained_nothing(source: &mut Client, after: &str) {
    let gained = "select count(*) from pg_roles r where r.rolname = 'trap_owner' and (r.rolsuper
                      or exists (select from pg_auth_members m where m.member = r.oid))";
    assert_eq!(count(source, gained), 0, "after {after}");
}

#[test]
fn the_owner_of_an_attached_table_does_not_become_a_superuser() {
    let server = PrivateServer::create("trust", 12, &[]);
    let replication = Replication::start_from("trust", &server);
    make_in_both(&replication, ITEMS);
    let mut source = replication.source();
    source.batch_execute(CODE).unwrap();
    source.execute("select replication.attach('trap.items')", &[]).unwrap();
    for (expression, setting) in [
        ("create statistics trap.folded on (trap.one() + id), v from trap.items", ""),
        ("alter table trap.items add check (trap.one() + id > 0)", "set constraint_exclusion = on;"),
        ("create index folded on trap.items ((trap.one() + id))", ""),
        ("alter table trap.items add n int generated always as (trap.one() + id) stored", ""),
    ] {
        source.batch_execute(&format!("set role trap_owner; {expression}; reset role")).unwrap();
        assert_gained_nothing(&mut source, expression);
        for statement in STATEMENTS {
            let mut owner = replication.source();
            owner.batch_execute(&format!("set role trap_owner; {setting} {statement}")).unwrap();
            assert_gained_nothing(&mut source, &format!("{expression}; {statement}"));
        }
        // A superuser's own: neither a repair nor another attach evaluates them with his rights.
        for call in ["resend('trap.items')", "attach('trap.items')"] {
            replication.source().batch_execute(&format!("{setting} select replication.{call}")).unwrap();
            assert_gained_nothing(&mut source, &format!("{expression}; {call}"));
        }
    }
    let ran_as = source.query_one("select string_agg(distinct role, ', ') from trap.ran_as", &[]).unwrap();
    assert_eq!(
        ran_as.get::<_, &str>(0),
        "replication_capture_1",
        "the owner's code runs, and as nobody else"
    );
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    replication.target().batch_execute("alter table trap.items add n int").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["trap.items"]), [1]);
}

/// What capture would plan is tried then, and a deferred trigger would run with the superuser's rights.
#[test]
fn code_in_an_expression_leaves_nothing_behind_where_a_superuser_attaches_or_alters() {
    let server = PrivateServer::create("trust_late", 17, &[]);
    let replication = Replication::prepare_from("trust_late", server.url(), &[]);
    let mut source = replication.source();
    source.batch_execute(ITEMS).unwrap();
    source.batch_execute(CODE).unwrap();
    source
        .batch_execute(
            "set role trap_owner;
             create function trap.late() returns trigger language plpgsql as $$begin
                 begin execute 'alter role trap_owner superuser'; exception when insufficient_privilege then null; end;
                 return null; end$$;
             create constraint trigger late after insert on trap.ran_as deferrable initially deferred
                 for each row execute function trap.late();
             create statistics trap.folded on (trap.one() + id), v from trap.items;
             reset role",
        )
        .unwrap();
    for statement in [
        "select replication.attach('trap.items')",
        "alter table trap.items add n int",
        "create index folded on trap.items ((trap.one() + n))",
        "select * from replication.capture_problem",
    ] {
        source.batch_execute(statement).unwrap();
        assert_gained_nothing(&mut source, statement);
        assert_eq!(count(&mut source, "select count(*) from trap.ran_as"), 0, "after {statement}");
    }
    replication.without_stream();
}

#[test]
fn the_capture_role_may_write_events_and_read_attached_tables_and_nothing_else() {
    let server = PrivateServer::create("capture_role", 13, &[]);
    let replication = Replication::prepare_from("capture_role", server.url(), &[]);
    let mut source = replication.source();
    source
        .batch_execute("create table secret (id int primary key); create schema other; create table other.t (id int primary key);
                        select replication.attach('other.t')")
        .unwrap();
    let mut role = replication.source();
    role.batch_execute("set role replication_capture").unwrap();
    for allowed in [
        "select * from users",
        "select * from other.t",
        "insert into replication.outbox_event (shape_id, operation) values (0, 'T')",
        "insert into replication.recorded_snapshot default values",
    ] {
        role.batch_execute(&format!("begin; {allowed}; rollback")).unwrap();
    }
    for refused in [
        "select * from secret",
        "insert into users (name, email) values ('a', 'b')",
        "select * from replication.outbox_event",
        "delete from replication.outbox_event",
        "insert into replication.outbox_event (txid, shape_id, operation) values ('3', 0, 'T')",
        "insert into replication.recorded_snapshot (txid) values ('3')",
        "insert into replication.recorded_snapshot (snapshot) values ('3:3:')",
        "insert into replication.attached values ('secret', 1)",
        "select nextval('replication.wake_wanted')",
        "create table replication.mine ()",
        "create table other.mine ()",
    ] {
        let error = role.batch_execute(refused).unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains("permission denied"), "{refused}: {error:?}");
    }
    // It loses with the table what it had for it.
    source.batch_execute("select replication.detach('other.t')").unwrap();
    let error = role.batch_execute("select * from other.t").unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("schema other"), "{error:?}");
    // What the table's owner takes from it is told.
    source.batch_execute("revoke select on users from replication_capture").unwrap();
    let told =
        "select count(*) from replication.capture_problem where problem like 'its capture may not read it%'";
    assert_eq!(count(&mut source, told), 1);
    source.batch_execute("select replication.attach('users')").unwrap();
    assert_eq!(count(&mut source, told), 0);
    replication.without_stream();
}

#[test]
fn databases_of_one_server_share_the_capture_role_and_leave_it() {
    let server = PrivateServer::create("shared_role", 14, &[]);
    let mut maintenance = Client::connect(server.url(), NoTls).unwrap();
    let urls: Vec<String> = (0..4)
        .map(|number| {
            maintenance.batch_execute(&format!("create database shared_{number}")).unwrap();
            beside(server.url(), &format!("shared_{number}"))
        })
        .collect();
    let connect = |url: &str| Client::connect(url, NoTls).unwrap();
    std::thread::scope(|scope| {
        for url in &urls {
            scope.spawn(move || {
                let mut client = connect(url);
                migrate(&mut client, Side::Source).unwrap();
                client.batch_execute("create table t (id int primary key); select replication.attach('t'); insert into t values (1)").unwrap();
            });
        }
    });
    let (dropped, removed) = urls.split_at(1);
    for url in removed {
        connect(url)
            .batch_execute("select replication.remove(); insert into t values (2); drop table t")
            .unwrap();
    }
    let roles = "select count(*) from pg_roles where rolname ~ '^replication_capture'";
    assert_eq!(count(&mut maintenance, roles), 1, "the one that is left needs it");
    assert_eq!(count(&mut connect(&dropped[0]), "select count(*) from replication.outbox_event"), 1);
    maintenance.batch_execute("drop database shared_0 with (force)").unwrap();
    maintenance.batch_execute("drop role replication_capture").unwrap();
    // A role of that name that may do more is not taken.
    maintenance.batch_execute("create role replication_capture login").unwrap();
    let refused = migrate(&mut connect(&removed[0]), Side::Source).unwrap_err();
    assert!(format!("{refused:#}").contains("may do more than capture"), "{refused:#}");
}

#[test]
fn what_a_role_that_is_no_superuser_attaches_is_captured_with_its_own_rights() {
    let server = PrivateServer::create("own_rights", 15, &[]);
    let mut maintenance = Client::connect(server.url(), NoTls).unwrap();
    maintenance.batch_execute("create role own_rights login password 'password'").unwrap();
    maintenance.batch_execute("create database own_rights owner own_rights").unwrap();
    let url = beside(server.url(), "own_rights");
    let (_, address) = url.rsplit_once('@').unwrap();
    let mut client = Client::connect(&format!("postgres://own_rights:password@{address}"), NoTls).unwrap();
    migrate(&mut client, Side::Source).unwrap();
    client
        .batch_execute("create schema own; create table own.t (id int primary key); select replication.attach('own.t');
                        insert into own.t values (1); update own.t set id = 2; select replication.resend('own.t')")
        .unwrap();
    // One of them for the row, two for its two keys, one that says that the one became the other, two to send it again.
    assert_eq!(count(&mut client, "select count(*) from replication.outbox_event"), 6);
    assert_eq!(count(&mut client, "select count(*) from replication.capture_problem"), 0);
    let own = "select count(*) from pg_proc where proname ~ '^capture_.*[0-9]$' and proowner = 'own_rights'::regrole";
    assert_eq!(count(&mut client, own), 4);
    client.batch_execute("select replication.detach('own.t'); select replication.remove()").unwrap();
}
