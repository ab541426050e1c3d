//! What attach and accept refuse, with the remedy, and what is said of tables that are not attached.

use crate::harness::{PrivateServer, Replication, beside, count, server_version};
use postgres::{Client, NoTls};
use shared::schema::{Side, migrate};

/// The message and the hint of the error with which this statement is refused.
fn refusal(client: &mut Client, statement: &str) -> (String, String) {
    let error = client.batch_execute(statement).unwrap_err();
    let error = error.as_db_error().unwrap();
    (error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
}

/// Runs each remedy of these statements, which are refused for want of a key, and then they are not.
fn assert_key_is_told(client: &mut Client, call: &str) {
    for (table, columns, key) in [
        (
            "pair",
            "a int not null, \"B\" int not null, v text unique, unique (\"B\", a) include (v)",
            "(\"B\", a)",
        ),
        ("nullable", "a int, b int not null, unique (a, b)", "(...)"),
        ("partial", "a int not null, b int", "(...)"),
        ("late", "a int not null unique deferrable", "(...)"),
    ] {
        client.batch_execute(&format!("create table {table} ({columns})")).unwrap();
        if table == "partial" {
            client.batch_execute("create unique index on partial (a) where b > 0").unwrap();
        }
        let (message, hint) = refusal(client, &format!("select replication.{call}('{table}')"));
        assert!(message.contains("it has no primary key"), "{message}");
        assert_eq!(hint, format!("ALTER TABLE public.{table} ADD PRIMARY KEY {key};"));
        client.batch_execute(&hint.replace("(...)", "(a)")).unwrap();
        client.batch_execute(&format!("select replication.{call}('{table}')")).unwrap();
    }
}

#[test]
fn a_table_without_a_primary_key_is_refused_on_both_sides_with_the_columns_of_one() {
    let replication = Replication::prepare("refused_keys", &[]);
    replication.migrate_target();
    assert_key_is_told(&mut replication.source(), "attach");
    let mut target = replication.target();
    assert_key_is_told(&mut target, "accept");
    let (message, _) = refusal(&mut target, "select replication.accept('replication.position')");
    assert!(message.contains("it belongs to the system"), "{message}");
    replication.without_stream();
}

#[test]
fn tables_that_are_not_attached_are_told_with_what_attach_would_say() {
    let replication = Replication::prepare("not_attached", &[]);
    let mut source = replication.source();
    source
        .batch_execute(
            "create schema other; create table other.elsewhere (id int primary key); create table new (id int primary key);
             create unlogged table fast (id int primary key); create table keyless as select 1 as a;
             create table parted (id int primary key) partition by range (id);
             create table parted_1 partition of parted default; create temp table mine (id int)",
        )
        .unwrap();
    let told: Vec<(String, Option<String>, String)> = source
        .query(
            "select schema_name || '.' || table_name, reason, remedy from replication.not_attached order by 1",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let names: Vec<&str> = told.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, ["other.elsewhere", "public.fast", "public.keyless", "public.new", "public.parted"]);
    for (name, reason, remedy) in &told {
        let words = match name.as_str() {
            "public.fast" => ("unlogged", "SET LOGGED"),
            "public.keyless" => ("no primary key", "ADD PRIMARY KEY"),
            "public.parted" => ("partitioned", "ordinary table"),
            _ => ("", "select replication.attach("),
        };
        assert!(reason.as_deref().unwrap_or_default().contains(words.0), "{name}: {reason:?}");
        assert_eq!(reason.is_none(), words.0.is_empty(), "{name}: {reason:?}");
        assert!(remedy.contains(words.1), "{name}: {remedy}");
        if reason.is_none() {
            source.batch_execute(remedy).unwrap();
        }
    }
    assert_eq!(count(&mut source, "select count(*) from replication.not_attached"), 3);
    replication.without_stream();
}

#[test]
fn whoever_creates_a_table_beside_attached_ones_is_told_that_it_is_not_replicated() {
    let replication = Replication::prepare("told", &[]);
    let (sender, notices) = std::sync::mpsc::channel();
    let mut config: postgres::Config = replication.source_url().parse().unwrap();
    let mut client = config
        .notice_callback(move |notice| {
            let _ = sender.send(format!(
                "{}: {}; {}",
                notice.severity(),
                notice.message(),
                notice.hint().unwrap_or_default()
            ));
        })
        .connect(NoTls)
        .unwrap();
    let mut told_by = |ddl: &str| -> Vec<String> {
        client.batch_execute(ddl).unwrap();
        notices.try_iter().collect()
    };
    assert_eq!(
        told_by("create table new (id int primary key)"),
        [
            "NOTICE: public.new is not replicated; other tables of its schema are; select replication.attach('public.new');"
        ]
    );
    let told = told_by("create table made as select 1 as a");
    assert!(told.len() == 1 && told[0].contains("It cannot be yet: it has no primary key"), "{told:?}");
    for quiet in [
        "create temp table new (id int)",
        "create schema empty; create table empty.new (id int primary key)",
        "alter table made add b int",
    ] {
        assert_eq!(told_by(quiet), Vec::<String>::new(), "{quiet}");
    }
    let again = "WARNING: public.again had a former column of the name v: the target keeps its values; To send the values that are there now: select replication.resend('public.again');";
    for (ddl, told) in [
        ("create table again (id int primary key, v int)", None),
        ("select replication.attach('again'); alter table again add column w int", None),
        ("alter table again drop column v, add column v int default 3", Some(again)),
        ("alter table again drop column v", None),
        ("alter table again add column v int default 4", Some(again)),
        ("alter table again alter column v set default 5, add column x int", None),
    ] {
        let warnings: Vec<_> = told_by(ddl).into_iter().filter(|told| told.starts_with("WARNING")).collect();
        assert_eq!(warnings, Vec::from_iter(told), "{ddl}");
    }
    let told = told_by("drop table payments; create table payments (id int primary key)");
    assert!(
        told.len() == 1
            && told[0].starts_with("WARNING: public.payments is not replicated, as the former table"),
        "{told:?}"
    );
    let told = told_by("alter table users disable trigger all");
    assert!(told.len() == 1 && told[0].contains("escape its capture from now on"), "{told:?}");
    replication.without_stream();
}

#[test]
fn row_security_that_would_break_what_is_written_is_refused_on_both_sides() {
    let server = PrivateServer::create("row_security", 16, &[]);
    let mut maintenance = Client::connect(server.url(), NoTls).unwrap();
    maintenance.batch_execute("create role secured login password 'password'; create role writer").unwrap();
    maintenance.batch_execute("create database row_security owner secured").unwrap();
    let url = beside(server.url(), "row_security");
    let (_, address) = url.rsplit_once('@').unwrap();
    let mut owner = Client::connect(&format!("postgres://secured:password@{address}"), NoTls).unwrap();
    migrate(&mut owner, Side::Source).unwrap();
    migrate(&mut owner, Side::Target).unwrap();
    owner
        .batch_execute("create schema own; create table own.doc (id int primary key, v text); alter table own.doc enable row level security, force row level security;
                        create policy visible on own.doc using (id > 0)")
        .unwrap();
    let (message, hint) = refusal(&mut owner, "select replication.attach('own.doc')");
    assert!(message.contains("row security hides rows of it from secured"), "{message}");
    owner.batch_execute("insert into own.doc values (1); update own.doc set v = 'not broken'").unwrap();
    let (remedy, for_a_superuser) = hint.split_once(" or, as a superuser: ").unwrap();
    owner
        .batch_execute(&format!(
            "begin; {remedy} select replication.attach('own.doc'); update own.doc set v = 'captured'; rollback"
        ))
        .unwrap();
    Client::connect(&url, NoTls).unwrap().batch_execute(for_a_superuser).unwrap();
    owner
        .batch_execute(
            "select replication.attach('own.doc', cascade => true); update own.doc set v = 'captured'",
        )
        .unwrap();

    let (message, hint) = refusal(&mut owner, "select replication.accept('own.doc', 'writer')");
    assert!(message.contains("row security keeps writer from writing to it"), "{message}");
    Client::connect(&url, NoTls).unwrap().batch_execute(&hint).unwrap();
    owner.batch_execute("select replication.accept('own.doc', 'writer')").unwrap();
}

/// Inlined, it finds "deeper" only under the application's search path.
const NEEDS_A_PATH: &str = "create schema app; set search_path = app, public;
    create function deeper(int) returns int language sql immutable as 'select $1 + 1';
    create function \"needs Path\"(int) returns int language sql immutable as 'select deeper($1)'";

/// What makes PostgreSQL plan that with everything that reads the table.
const PLANNED: [&str; 4] = [
    "create statistics \"St\" on (\"needs Path\"(a)), id from t",
    "create index i on t (id, (\"needs Path\"(a)))",
    "create index i on t (id) where \"needs Path\"(a) > 0",
    "alter table t add constraint i exclude using btree ((\"needs Path\"(a)) with =)",
];

/// Those of them that the server makes: from PostgreSQL 17 on it builds indexes under a search path of its own, and
/// so refuses those itself.
fn planned(client: &mut Client) -> &'static [&'static str] {
    if server_version(client) < 17_00_00 { &PLANNED } else { &PLANNED[..1] }
}

const WHY: &str = "cannot be planned as capture reads the table";

/// Every statement that plans to read the table, in a session that has not done so yet.
fn assert_captured(replication: &Replication) {
    replication
        .source()
        .batch_execute(
            "set search_path = app; insert into t values (1, 1), (2, 2); update t set a = 3 where id = 2;
             delete from t where id = 1; select replication.resend('app.t'); delete from t",
        )
        .unwrap();
}

#[test]
fn a_table_whose_expressions_need_the_applications_search_path_is_refused_with_the_remedy() {
    let replication = Replication::prepare("needs_path", &[]);
    let mut source = replication.source();
    source.batch_execute(NEEDS_A_PATH).unwrap();
    for planned in planned(&mut source) {
        source.batch_execute(&format!("create table t (id int primary key, a int); {planned}")).unwrap();
        let (message, hint) = refusal(&mut source, "select replication.attach('app.t')");
        let object =
            if planned.contains("statistics") { "the statistics app.\"St\"" } else { "the index app.i" };
        assert!(message.starts_with(&format!("cannot attach app.t: {object} {WHY}")), "{planned}: {message}");
        assert!(message.ends_with("function deeper(integer) does not exist"), "{planned}: {message}");
        source.batch_execute("insert into t values (1, 1); update t set a = 2; delete from t").unwrap();
        let (remedy, _) = hint.split_once(" (").unwrap();
        source.batch_execute(&format!("{remedy}; select replication.attach('app.t')")).unwrap();
        assert_captured(&replication);
        assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
        source.batch_execute("drop table t; alter function \"needs Path\" reset search_path").unwrap();
    }
    replication.without_stream();
}

#[test]
fn an_attached_table_gets_no_expression_that_needs_the_applications_search_path() {
    let replication = Replication::prepare("gets_no_path", &[]);
    let mut source = replication.source();
    source.batch_execute(NEEDS_A_PATH).unwrap();
    source
        .batch_execute("create table t (id int primary key, a int); select replication.attach('t')")
        .unwrap();
    for planned in planned(&mut source) {
        let (message, hint) = refusal(&mut source, planned);
        assert!(message.starts_with("the replicated table app.t cannot be changed so: the "), "{message}");
        assert!(message.contains(WHY), "{planned}: {message}");
        assert_captured(&replication);
        let (remedy, _) = hint.split_once(" (").unwrap();
        source.batch_execute(&format!("{remedy}; {planned}")).unwrap();
        assert_captured(&replication);
        source.batch_execute("drop statistics if exists \"St\"; alter table t drop constraint if exists i; drop index if exists i").unwrap();
        source.batch_execute("alter function \"needs Path\" reset search_path").unwrap();
    }
    let concurrently = "create index concurrently i on t ((\"needs Path\"(a)))";
    let (message, _) = refusal(&mut source, concurrently);
    let by_postgres = server_version(&mut source) >= 17_00_00;
    assert!(
        by_postgres && message.contains("function deeper(integer) does not exist") || message.contains(WHY)
    );
    let left = count(&mut source, "select count(*) from pg_index where not indisvalid");
    assert_eq!(left, i64::from(!by_postgres));
    assert_captured(&replication);
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);

    // What a function becomes later is reported, and keeps no other command from ending.
    for statement in [
        "drop index if exists i; alter function \"needs Path\" set search_path = app; create statistics \"St\" on (\"needs Path\"(a)), id from t",
        "alter function \"needs Path\" reset search_path",
        "alter table t add column b int",
    ] {
        source.batch_execute(statement).unwrap();
    }
    let problem: String =
        source.query_one("select problem from replication.capture_problem", &[]).unwrap().get(0);
    assert!(problem.starts_with(&format!("the statistics app.\"St\" {WHY}")), "{problem}");
    let remedy = &problem[problem.find("ALTER FUNCTION").unwrap()..problem.find(" (the schemas").unwrap()];
    source.batch_execute(remedy).unwrap();
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    assert_captured(&replication);
    replication.without_stream();
}

/// Inlined, it names a schema that the capture's role may not use.
#[test]
fn a_table_whose_expressions_need_more_rights_than_capture_has_is_refused_with_the_remedy() {
    let replication = Replication::prepare("needs_rights", &[]);
    let mut source = replication.source();
    source
        .batch_execute(
            "create schema util; create function util.deeper(int) returns int language sql immutable as 'select $1 + 1';
             create function public.over(int) returns int language sql immutable as 'select util.deeper($1)';
             create schema app; set search_path = app, public; create table t (id int primary key, a int);
             create statistics st on (over(a)), id from t",
        )
        .unwrap();
    let (message, hint) = refusal(&mut source, "select replication.attach('app.t')");
    assert!(message.contains(WHY) && message.ends_with("permission denied for schema util"), "{message}");
    assert!(hint.starts_with("GRANT what is missing to replication_capture"), "{hint}");
    source
        .batch_execute(
            "grant usage on schema util to replication_capture; select replication.attach('app.t')",
        )
        .unwrap();
    assert_captured(&replication);
    // In the expression itself it needs none.
    source
        .batch_execute("revoke usage on schema util from replication_capture; drop statistics st;
                        create statistics st on (util.deeper(a)), id from t; create index on t ((util.deeper(a)))")
        .unwrap();
    assert_captured(&replication);
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    replication.without_stream();
}
