//! Reading one's own writes: a token of the source, which readers of the target wait for.
//!
//! `BARRIER_READS` (1000) is how many are waited for under load and faults.

use crate::harness::{
    PrivateServer, Replication, assert_same, attach, count, make_in_both, start_with_tables, wait_for,
};
use postgres::{Client, GenericClient};
use shared::config::Environment;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const ITEMS: &str = "create table items (id bigint primary key, v text)";
const WRITERS: usize = 4;

fn token(client: &mut impl GenericClient) -> String {
    client.query_one("select replication.token()", &[]).unwrap().get(0)
}

fn contains(target: &mut Client, token: &str) -> bool {
    target.query_one("select replication.contains($1)", &[&token]).unwrap().get::<_, Option<bool>>(0)
        == Some(true)
}

fn wait(target: &mut Client, token: &str) {
    target.batch_execute(&format!("call replication.wait_for('{token}', '3 minutes')")).unwrap();
}

fn refusal(target: &mut Client, sql: &str) -> String {
    let error = target.batch_execute(sql).unwrap_err();
    error.as_db_error().unwrap().message().to_owned()
}

/// Writes rows, and reads each one in the target once its token is there. Nobody is told that it is before it is committed.
fn write_and_read(ends: (Client, Client), writer: usize, reads: usize, done: &AtomicUsize, late: &str) {
    let (mut source, mut target) = ends;
    for number in 0..reads {
        let id = i64::try_from(number * WRITERS + writer).unwrap();
        let mut transaction = source.transaction().unwrap();
        let mut part = transaction.savepoint("part").unwrap();
        part.execute("insert into items values ($1, 'given up')", &[&id]).unwrap();
        part.rollback().unwrap();
        let mut part = transaction.savepoint("part").unwrap();
        part.execute("insert into items values ($1, 'written')", &[&id]).unwrap();
        part.commit().unwrap();
        let mut token_of_write = token(&mut transaction);
        if number % 8 == 0 {
            assert!(!contains(&mut target, &token_of_write), "{id} is not committed yet");
        }
        transaction.commit().unwrap();
        if number % 4 == 0 {
            token_of_write = token(&mut source);
            assert!(token_of_write.contains("|s"), "{token_of_write}");
        }
        wait(&mut target, &token_of_write);
        let read = target.query_opt("select v from items where id = $1", &[&id]).unwrap();
        assert_eq!(read.map(|row| row.get(0)), Some("written".to_owned()), "{id} by {token_of_write}");
        assert!(!contains(&mut target, late), "the late transaction is not committed yet");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_for_a_token_reads_what_was_written_whatever_fails_meanwhile() {
    let reads: usize =
        Environment::read().optional("BARRIER_READS").map_or(1000, |text| text.parse().unwrap());
    let mut replication = start_with_tables("barrier", ITEMS, &["items"]);
    let mut other = replication.source();
    // Of all others the ids are above this one's.
    let mut late = other.transaction().unwrap();
    late.execute("insert into items values (-1, 'late')", &[]).unwrap();
    let late_token = token(&mut late);
    let (done, begun, mut kills) = (AtomicUsize::new(0), Instant::now(), 0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (done, late) = (&done, &late_token);
                let ends = (replication.source(), replication.target());
                scope.spawn(move || write_and_read(ends, writer, reads / WRITERS, done, late))
            })
            .collect();
        let finished = || threads.iter().all(std::thread::ScopedJoinHandle::is_finished);
        while !finished() {
            // Something was brought over since the last kill: services that start slowly come to work in between.
            let before = done.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(400));
            wait_for("another read", || (finished() || done.load(Ordering::Relaxed) > before).then_some(()));
            let service =
                if kills % 2 == 0 { &mut replication.publisher } else { &mut replication.processor };
            service.kill();
            service.start();
            kills += 1;
        }
    });
    let waited = begun.elapsed().as_secs_f64();
    println!("{} reads in {waited:.1} s, under {kills} kills", done.load(Ordering::Relaxed));
    late.commit().unwrap();
    let mut target = replication.target();
    wait(&mut target, &late_token);
    assert_eq!(count(&mut target, "select count(*) from items where id = -1"), 1);
    assert_eq!(assert_same(&replication, &["items"]), [reads / WRITERS * WRITERS + 1]);
}

#[test]
fn a_prepared_transaction_is_there_once_it_is_committed() {
    let server = PrivateServer::create("barrier", 48, &["max_connections=40", "max_prepared_transactions=2"]);
    let replication = Replication::start_from("barrier_prepared", &server);
    make_in_both(&replication, ITEMS);
    attach(&replication, &["items"]);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("begin; insert into items values (1, 'prepared')").unwrap();
    let prepared = token(&mut source);
    source.batch_execute("prepare transaction 'barrier'; insert into items values (2, 'later')").unwrap();
    let later = token(&mut source);
    wait(&mut target, &later);
    assert!(!contains(&mut target, &prepared));
    source.batch_execute("commit prepared 'barrier'").unwrap();
    wait(&mut target, &prepared);
    assert_eq!(count(&mut target, "select count(*) from items"), 2);
}

#[test]
fn a_token_is_understood_by_whoever_follows_its_source_and_says_what_is_in_the_way() {
    let mut replication = start_with_tables("barrier_words", ITEMS, &["items"]);
    let (mut source, mut target) = (replication.source(), replication.target());
    for client in [&mut source, &mut target] {
        client
            .batch_execute(
                "do $$begin create role barrier_reader; exception when duplicate_object then null; end$$;
                 grant usage on schema replication to barrier_reader; grant all on items to barrier_reader; set role barrier_reader",
            )
            .unwrap();
    }
    source.batch_execute("insert into items values (1, 'a')").unwrap();
    let written = token(&mut source);
    wait(&mut target, &written);
    // Nothing is captured of this one: heartbeats bring it.
    source.batch_execute("reset role; create table elsewhere (); set role barrier_reader").unwrap();
    let elsewhere = token(&mut source);
    wait(&mut target, &elsewhere);

    let (timeline, rest) = elsewhere.split_once('|').unwrap();
    let timeline: i64 = timeline.parse().unwrap();
    let of = |timeline: i64| format!("{timeline}|{rest}");
    assert!(!contains(&mut target, &of(timeline + 1)), "of a failover that is not here yet");
    let select = |token: &str| format!("select replication.contains('{token}')");
    let refused = refusal(&mut target, &select(&of(timeline - 1)));
    assert!(refused.contains("the source was failed over since"), "{refused}");
    let refused = refusal(&mut target, &select(&format!("{elsewhere}x")));
    assert!(refused.contains("is of the source"), "{refused}");
    let refused = refusal(&mut target, &select("yesterday"));
    assert!(refused.contains("this is no token: yesterday"), "{refused}");
    let refused = refusal(
        &mut target,
        &format!("begin isolation level repeatable read; call replication.wait_for('{written}')"),
    );
    assert!(refused.contains("sees one state of the database until it ends"), "{refused}");
    target.batch_execute("rollback").unwrap();

    assert_eq!(replication.processor.stop().code(), Some(0));
    source.batch_execute("insert into items values (2, 'b')").unwrap();
    let pending = token(&mut source);
    let error =
        target.batch_execute(&format!("call replication.wait_for('{pending}', '0.2 seconds')")).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "RT001");
    assert!(error.message().contains("this target shows the source as of"), "{error:?}");
    replication.processor.start();
    wait(&mut target, &pending);
    for client in [&mut source, &mut target] {
        client.batch_execute("reset role; drop owned by barrier_reader").unwrap();
    }
}

#[test]
fn a_target_that_was_restored_contains_what_it_had_then_and_the_rest_once_it_is_sent_again() {
    let mut replication = start_with_tables("barrier_restored", ITEMS, &["items"]);
    let mut source = replication.source();
    source.batch_execute("insert into items values (1, 'before the backup')").unwrap();
    let before = token(&mut source);
    wait(&mut replication.target(), &before);
    assert_eq!(replication.processor.stop().code(), Some(0));
    replication.copy_target("barrier_backup");
    replication.processor.start();
    source.batch_execute("insert into items values (2, 'after it')").unwrap();
    let after = token(&mut source);
    wait(&mut replication.target(), &after);

    assert_eq!(replication.processor.stop().code(), Some(0));
    replication.put_in_place_of_target("barrier_backup");
    let mut target = replication.target();
    assert!(contains(&mut target, &before) && !contains(&mut target, &after));
    assert_eq!(count(&mut target, "select count(*) from items"), 1);
    replication.processor.start();
    wait(&mut target, &after);
    assert_eq!(count(&mut target, "select count(*) from items"), 2);
}
