//! Continuous verification: the source compares its tables with the target, slice by slice. It finds what
//! somebody changed there, within the time that the budget promises, and never takes for a difference what is
//! under way.
//!
//! `VERIFY_SECONDS=3600` looks for false alarms for an hour instead of seconds.

use crate::harness::{
    Door, Replication, attach, count, have_icu, make_in_both, wait_for, wait_until_blocked,
};
use postgres::Client;
use postgres::error::SqlState;
use shared::config::Environment;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Looks often, at few rows: a round of some hundred rows takes many slices.
const OFTEN: [(&str, &str); 2] = [("VERIFY_INTERVAL", "0.1"), ("VERIFY_ROWS", "50")];

fn start(name: &str, sql: &str, tables: &[&str]) -> Replication {
    let replication = Replication::start_with(name, &OFTEN);
    make_in_both(&replication, sql);
    attach(&replication, tables);
    replication
}

/// What one side's view shows of a table.
#[derive(Debug, Default)]
struct Shown {
    state: String,
    reason: Option<String>,
    as_of_tick: Option<i64>,
    differing: Vec<String>,
    not_compared: Vec<String>,
    remedy: Option<String>,
}

fn shown(client: &mut Client, table: &str) -> Shown {
    let row = client
        .query_opt(
            "select state, reason, as_of_tick, coalesce(differing, '{}'), not_compared, remedy
             from replication.verification where table_name = $1",
            &[&table],
        )
        .unwrap();
    row.map_or_else(Shown::default, |row| Shown {
        state: row.get(0),
        reason: row.get(1),
        as_of_tick: row.get(2),
        differing: row.get(3),
        not_compared: row.get(4),
        remedy: row.get(5),
    })
}

/// Waits until both sides show this state of a table, and so many rows that differ. Returns what the source
/// shows.
fn wait_for_state(replication: &Replication, table: &str, state: &str, differing: usize) -> Shown {
    let (mut source, mut target) = (replication.source(), replication.target());
    let begun = Instant::now();
    let found = wait_for(&format!("{table}: {state}, {differing} rows differ"), || {
        let found = shown(&mut source, table);
        let theirs = shown(&mut target, table);
        let is_it = |found: &Shown| found.state == state && found.differing.len() == differing;
        (is_it(&found) && is_it(&theirs)).then_some(found)
    });
    println!("{table} is {state} after {:.1} s", begun.elapsed().as_secs_f64());
    found
}

/// Runs the remedy in the source, and waits until it has mended everything.
fn mend(replication: &Replication, table: &str, remedy: Option<&str>) {
    replication.source().batch_execute(remedy.unwrap()).unwrap();
    wait_for_state(replication, table, "equal", 0);
}

#[test]
fn what_somebody_changes_in_the_target_is_found_and_named_and_mended_by_the_remedy() {
    let replication = start("verify", "create table items (id int primary key, v text)", &["items"]);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("insert into items select n, 'v' || n from generate_series(1, 500) n").unwrap();
    wait_for_state(&replication, "public.items", "equal", 0);
    target
        .batch_execute(
            "update items set v = 'changed' where id in (1, 321); delete from items where id = 500",
        )
        .unwrap();
    let found = wait_for_state(&replication, "public.items", "differs", 3);
    for row in ["(1) has other values", "(321) has other values", "(500) is missing"] {
        assert!(found.differing.iter().any(|known| known == row), "{found:?}");
    }
    assert!(replication.publisher.log().contains("public.items differs in the target"));
    let remedy = found.remedy.as_deref();
    assert!(
        remedy.is_some_and(|sql| sql.starts_with("update public.items set v = v where (id) = ")),
        "{found:?}"
    );
    mend(&replication, "public.items", remedy);
    assert_eq!(count(&mut target, "select count(*) from items where v = 'v' || id"), 500);

    target.batch_execute("insert into items values (-7, 'extra'), (1000, 'extra')").unwrap();
    let found = wait_for_state(&replication, "public.items", "differs", 2);
    assert!(found.differing.contains(&"(-7) is only there".to_owned()), "{found:?}");
    assert_eq!(found.remedy.as_deref(), Some("select replication.resend('public.items');"));
    mend(&replication, "public.items", found.remedy.as_deref());

    // More than are kept as evidence.
    target.batch_execute("delete from items where id > 50").unwrap();
    let found = wait_for_state(&replication, "public.items", "differs", 100);
    mend(&replication, "public.items", found.remedy.as_deref());
    source.batch_execute("select replication.detach('items')").unwrap();
    assert_eq!(shown(&mut source, "public.items").state, "");
}

#[test]
fn keys_are_compared_in_whatever_order_each_side_has() {
    let replication = Replication::start_with("verify_orders", &OFTEN);
    if !have_icu(&replication, "keys in another order") {
        return;
    }
    let table = |collation: &str| {
        format!(
            "create table words (word text collate \"{collation}\", n int, v text, primary key (word, n))"
        )
    };
    replication.source().batch_execute(&table("C")).unwrap();
    replication.target().batch_execute(&table("und-x-icu")).unwrap();
    attach(&replication, &["words"]);
    let (mut source, mut target) = (replication.source(), replication.target());
    // Upper case first, or between lower case; quotes, backslashes, commas and spaces in keys.
    source
        .batch_execute(
            "insert into words select case n % 3 when 0 then upper(w) when 1 then w else initcap(w) end, n, w
             from (select n, substr(md5(n::text), 1, 6) || case n % 5 when 0 then ' \"\\, (' || n else '' end as w
                   from generate_series(1, 600) n) word",
        )
        .unwrap();
    wait_for_state(&replication, "public.words", "equal", 0);
    target
        .batch_execute(
            "update words set v = 'changed' where n = 30; delete from words where n = 45;
             insert into words values ('Zz', 1, 'extra'), ('a', 1, 'extra'), ('', 0, 'extra')",
        )
        .unwrap();
    let found = wait_for_state(&replication, "public.words", "differs", 5);
    let of_kind = |kind| found.differing.iter().filter(|row| row.ends_with(kind)).count();
    assert_eq!(
        (of_kind("has other values"), of_kind("is missing"), of_kind("is only there")),
        (1, 1, 3),
        "{found:?}"
    );
    mend(&replication, "public.words", found.remedy.as_deref());
    assert_eq!(count(&mut target, "select count(*) from words"), 600);
}

#[test]
fn what_is_not_known_is_shown_as_unknown_and_columns_that_cannot_be_compared_are_named() {
    let mut replication = Replication::start_with("verify_unknown", &OFTEN);
    replication.source().batch_execute("create table papers (id int primary key, doc json, v text)").unwrap();
    let in_target =
        "create table papers (id bigint primary key, doc jsonb, v varchar(100), own text default 'own',
                     length int generated always as (length(v)) stored)";
    replication.target().batch_execute(in_target).unwrap();
    attach(&replication, &["papers"]);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("insert into papers values (1, '{\"a\":  1}', 'v'), (2, null, null)").unwrap();
    let found = wait_for_state(&replication, "public.papers", "equal", 0);
    assert_eq!(found.not_compared, ["doc"]);

    target.batch_execute("alter table papers add constraint short check (length(v) < 3)").unwrap();
    source.batch_execute("update papers set v = 'longer' where id = 1").unwrap();
    wait_until_blocked(&mut target);
    let found = wait_for_state(&replication, "public.papers", "unknown", 0);
    assert!(found.reason.is_some_and(|reason| reason.contains("apply is blocked in the target")));
    target.batch_execute("alter table papers drop constraint short").unwrap();
    wait_for_state(&replication, "public.papers", "equal", 0);

    target.batch_execute("alter table papers drop column v cascade").unwrap();
    let found = wait_for_state(&replication, "public.papers", "unknown", 0);
    assert!(
        found.reason.is_some_and(
            |reason| reason.contains("has no column v") || reason.contains("has no column \"v\"")
        )
    );
    target.batch_execute("alter table papers add column v text").unwrap();
    let found = wait_for_state(&replication, "public.papers", "differs", 1);
    mend(&replication, "public.papers", found.remedy.as_deref());

    // Nobody answers.
    replication.processor.kill();
    wait_for("the source says that it does not know", || {
        let found = shown(&mut source, "public.papers");
        (found.state == "unknown" && found.reason?.contains("the target does not answer")).then_some(())
    });
    replication.processor.start();
    wait_for_state(&replication, "public.papers", "equal", 0);
}

/// Also where the test fails: who writes is waited for.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives a row another key, unless that is taken.
fn moved(from: i32, to: i32) -> String {
    format!(
        "do $$begin update busy set id = {to} where id = {from}; exception when unique_violation then null; end$$"
    )
}

/// Rows that are changed again and again, rows that come and go, keys that move.
fn write(door: &Door, writer: i32, stopped: &AtomicBool) {
    let mut client = door.connect().unwrap();
    let mut number = writer;
    while !stopped.load(Ordering::Relaxed) {
        number = (number * 7 + 13) % 1000;
        let work = match number % 10 {
            0 => format!("delete from busy where id = {}", 200 + number),
            1 => moved(number, number + 5000),
            2 => moved(number + 4999, number - 1),
            _ => format!("update busy set v = v + 1 where id % 97 = {}", number % 97),
        };
        let insert =
            format!("insert into busy values ({}, 0, 'w{writer}') on conflict do nothing", 200 + number);
        if let Err(error) = client.batch_execute(&format!("begin; {work}; {insert}; commit")) {
            assert_eq!(error.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED), "{error:?}");
            client.batch_execute("rollback").unwrap();
        }
    }
}

/// A table that is emptied and sent again, again and again.
fn empty(door: &Door, stopped: &AtomicBool) {
    let mut client = door.connect().unwrap();
    while !stopped.load(Ordering::Relaxed) {
        client
            .batch_execute(
                "begin; truncate emptied; insert into emptied select n, md5(random()::text) from generate_series(1, 120) n; commit;
                 select replication.resend('emptied'); update emptied set v = v || 'x' where id < 40",
            )
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn under_load_and_while_services_are_killed_nothing_is_taken_for_a_difference() {
    let seconds = Environment::read().optional("VERIFY_SECONDS").map_or(8, |text| text.parse().unwrap());
    let mut replication = start(
        "verify_load",
        "create table busy (id int primary key, v int, w text); create table emptied (id int primary key, v text)",
        &["busy", "emptied"],
    );
    let (mut source, door) = (replication.source(), replication.source_door());
    source.batch_execute("insert into busy select n, 0, 'w' from generate_series(1, 400) n").unwrap();
    wait_for_state(&replication, "public.busy", "equal", 0);
    let (stopped, begun) = (AtomicBool::new(false), Instant::now());
    let (mut ticks, mut looks, mut equal, mut kills) = (Vec::new(), 0, 0, 0);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (door, stopped) = (&door, &stopped);
            scope.spawn(move || write(door, writer, stopped));
        }
        scope.spawn(|| empty(&door, &stopped));
        let _stop = StopAtTheEnd(&stopped);
        let mut killed_at = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) || kills < 2 {
            assert!(
                begun.elapsed() < Duration::from_secs(seconds + 120),
                "no round under load: {:?}",
                shown(&mut source, "public.busy")
            );
            for table in ["public.busy", "public.emptied"] {
                let found = shown(&mut source, table);
                assert_ne!(found.state, "differs", "{table} after {:?}: {found:?}", begun.elapsed());
                looks += 1;
                equal += u32::from(found.state == "equal");
                if table == "public.busy"
                    && found.as_of_tick.is_some()
                    && ticks.last() != Some(&found.as_of_tick)
                {
                    ticks.push(found.as_of_tick);
                }
            }
            // A round is complete between two kills.
            if ticks.len() >= 2 * (kills + 1) && killed_at.elapsed() > Duration::from_secs(3) {
                let service =
                    if kills % 2 == 0 { &mut replication.publisher } else { &mut replication.processor };
                service.kill();
                service.start();
                (killed_at, kills) = (Instant::now(), kills + 1);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    println!("{} rounds under load and {kills} kills; equal in {equal} of {looks} looks", ticks.len());
    replication.wait_until_caught_up();
    for table in ["public.busy", "public.emptied"] {
        wait_for_state(&replication, table, "equal", 0);
    }
    assert!(!replication.publisher.log().contains("differs in the target"));
}
