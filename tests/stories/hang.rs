//! Servers that accept connections and never answer: frozen, or cut off without a reset.

use crate::harness::{Proxy, Replication, Service, assert_equal, count, wait_for};
use std::time::{Duration, Instant};

/// A server that does not answer is noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// A service stops within this time.
const STOPPED_WITHIN: Duration = Duration::from_secs(2);

fn add_user(replication: &Replication, name: &str) {
    replication
        .source()
        .execute("insert into users (name, email) values ($1, $1 || '@x')", &[&name])
        .unwrap();
}

/// Waits until `service` has logged `text`; fails if that takes longer than `limit` since `begun`.
fn wait_for_log(service: &Service, text: &str, begun: Instant, limit: Duration) {
    wait_for(text, || service.log().contains(text).then_some(()));
    let took = begun.elapsed();
    assert!(took < limit, "'{text}' after {took:?}, more than {limit:?}");
}

#[test]
fn a_database_that_accepts_and_never_answers_is_noticed_and_all_goes_on_when_it_does_again() {
    let mut replication = Replication::prepare("database_hangs", &[]);
    let source = replication.publisher.proxy("DATABASE_URL").remove(0);
    let target = replication.processor.proxy("DATABASE_URL").remove(0);
    replication.processor.start();
    replication.publisher.start();
    add_user(&replication, "before");
    replication.wait_until_caught_up();

    source.black_hole();
    target.black_hole();
    let begun = Instant::now();
    add_user(&replication, "meanwhile");
    for service in [&replication.publisher, &replication.processor] {
        wait_for_log(service, "has not answered for", begun, NOTICED_WITHIN);
    }
    println!("noticed after {:.1} s", begun.elapsed().as_secs_f32());
    // New connections are accepted and not answered, either.
    for service in [&replication.publisher, &replication.processor] {
        wait_for_log(service, "has not answered for 5 s", Instant::now(), NOTICED_WITHIN);
    }
    source.heal();
    target.heal();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
}

#[test]
fn a_statement_that_merely_takes_long_is_waited_for() {
    let settings = [("RUST_LOG", "info,shared::database=debug")];
    let replication = Replication::start_with("long_statement", &settings);
    let (mut locker, mut target) = (replication.target(), replication.target());
    let mut session = || -> i32 {
        let of_the_processor = "select a.pid from pg_stat_activity a join pg_locks l using (pid)
            where a.datname = current_database() and l.locktype = 'advisory' and l.granted";
        target.query_one(of_the_processor, &[]).unwrap().get(0)
    };
    let before = session();
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("lock table users in exclusive mode").unwrap();
    add_user(&replication, "patient");
    wait_for("the server has answered a probe", || {
        replication.processor.log().contains("answers others: a statement takes long").then_some(())
    });
    lock.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    assert_eq!(session(), before, "the session was given up");
}

#[test]
fn a_stop_does_not_wait_for_servers_that_hang_or_are_away() {
    let mut replication = Replication::prepare("stop_while_hanging", &[("GENERATION_INTERVAL", "0.05")]);
    let proxies = [
        replication.publisher.proxy("DATABASE_URL"),
        replication.publisher.proxy("NATS_URL"),
        replication.processor.proxy("DATABASE_URL"),
        replication.processor.proxy("NATS_URL"),
        replication.generator.proxy("DATABASE_URL"),
    ];
    let proxies: Vec<_> = proxies.into_iter().flatten().collect();
    for service in [&mut replication.processor, &mut replication.publisher, &mut replication.generator] {
        service.start();
        service.wait_until_healthy();
    }
    proxies.iter().for_each(Proxy::black_hole);
    add_user(&replication, "unseen");
    let stop_all = |replication: &mut Replication| {
        for service in [&mut replication.processor, &mut replication.publisher, &mut replication.generator] {
            let begun = Instant::now();
            let status = service.stop();
            assert_eq!(status.code(), Some(0), "{}", service.log());
            let took = begun.elapsed();
            println!("stopped after {:.2} s", took.as_secs_f32());
            assert!(took < STOPPED_WITHIN, "a stop took {took:?}: {}", service.log());
        }
    };
    // While each of them waits for an answer.
    stop_all(&mut replication);
    // While they cannot even connect.
    for service in [&mut replication.processor, &mut replication.publisher, &mut replication.generator] {
        service.start();
        wait_for("it reports that it is degraded", || service.health().contains("degraded").then_some(()));
    }
    stop_all(&mut replication);
    // While nobody listens.
    drop(proxies);
    for service in [&mut replication.processor, &mut replication.publisher, &mut replication.generator] {
        service.start();
        wait_for("the connection is refused", || service.log().contains("Connection refused").then_some(()));
    }
    stop_all(&mut replication);
}

#[test]
fn a_nats_server_that_accepts_and_never_answers_is_left_for_the_next() {
    let mut replication = Replication::prepare("nats_hangs", &[]);
    let sides = [replication.publisher.proxy("NATS_URL"), replication.processor.proxy("NATS_URL")];
    replication.processor.start();
    replication.publisher.start();
    add_user(&replication, "before");
    replication.wait_until_caught_up();

    let services = [&replication.publisher, &replication.processor];
    let logs = services.map(Service::log);
    for (log, proxies) in logs.iter().zip(&sides) {
        // The one that it uses, found by what it says.
        let used = log.rsplit("connected to nats://127.0.0.1:").next().unwrap();
        let port: u16 = used.split_whitespace().next().unwrap().parse().unwrap();
        proxies.iter().find(|proxy| proxy.port() == port).unwrap().black_hole();
    }
    let begun = Instant::now();
    add_user(&replication, "meanwhile");
    for (service, log) in services.into_iter().zip(&logs) {
        wait_for("another server is dialled", || {
            service.log()[log.len()..].contains("connected to").then_some(())
        });
        let took = begun.elapsed();
        println!("another server after {:.1} s", took.as_secs_f32());
        assert!(took < NOTICED_WITHIN, "{took:?}: {}", service.log());
    }
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
}

/// Each attempt used to take two threads and a socket for as long as the server was silent.
#[test]
fn nats_servers_that_never_answer_take_no_more_threads_the_longer_they_do() {
    const DIALS: usize = 15;
    const MORE_THREADS_MAX: usize = 8;
    let mut replication = Replication::prepare("nats_silent", &[]);
    let sides = [replication.publisher.proxy("NATS_URL"), replication.processor.proxy("NATS_URL")];
    replication.start_services();
    add_user(&replication, "before");
    replication.wait_until_caught_up();

    let services = [&replication.publisher, &replication.processor];
    let accepted = |side: &[Proxy]| side.iter().map(Proxy::accepted).sum::<usize>();
    let (threads, dials) = (services.map(Service::threads), [accepted(&sides[0]), accepted(&sides[1])]);
    sides.iter().flatten().for_each(Proxy::black_hole);
    add_user(&replication, "meanwhile");
    for number in 0..2 {
        wait_for("the silent servers are dialled many times", || {
            (accepted(&sides[number]) >= dials[number] + DIALS).then_some(())
        });
        let now = services[number].threads();
        println!("{} threads, {now} after {DIALS} dials", threads[number]);
        assert!(now <= threads[number] + MORE_THREADS_MAX, "{} threads, {now} now", threads[number]);
    }
    sides.iter().flatten().for_each(Proxy::heal);
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
}

#[test]
fn pulls_that_end_without_a_word_hold_up_nothing() {
    /// A processor that took them for lost would give up its connection after three in a row.
    const PULLS: usize = 8;
    let mut replication = Replication::prepare("lost_pulls", &[]);
    let nodes = replication.processor.proxy("NATS_URL");
    replication.processor.start();
    replication.publisher.start();
    add_user(&replication, "before");
    replication.wait_until_caught_up();

    let nats = replication.nats_b();
    let pulls = nats.subscribe(&format!("$JS.API.CONSUMER.MSG.NEXT.{}.*", replication.name())).unwrap();
    // nats-server 2.9 forgets at times to say that a pull has expired.
    for node in &nodes {
        node.withhold("NATS/1.0 408");
    }
    let (mut added, mut pulled) = (1, 0);
    wait_for("many pulls are made while messages come", || {
        add_user(&replication, &format!("user {added}"));
        added += 1;
        pulled += pulls.try_iter().count();
        (pulled >= PULLS).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (added, 0));
    let log = replication.processor.log();
    assert!(!log.contains("does not answer a pull"), "{log}");
}

#[test]
fn a_tick_that_takes_longer_to_read_than_a_statement_may_is_read_all_the_same() {
    let mut replication = Replication::start_with("patience", &[("SOURCE_STATEMENT_TIMEOUT", "2")]);
    let mut source = replication.source();
    add_user(&replication, "slow");
    replication.wait_until_caught_up();
    assert_eq!(replication.publisher.stop().code(), Some(0));
    // It has the tick to read again, and each row takes as long as this lock is held.
    source
        .batch_execute(
            "update replication.progress set published_tick = 0, confirmed_tick = 0; select pg_advisory_lock(77);
             alter table replication.outbox_event rename to outbox_row;
             create function replication.slowly(value text) returns text language plpgsql stable
             as $$begin perform pg_advisory_lock_shared(77); return value; end$$;
             create view replication.outbox_event as
             select txid, id, shape_id, operation, replication.slowly(key_text) as key_text, row_text, created_at
             from replication.outbox_row",
        )
        .unwrap();
    replication.publisher.start();
    let mut looking = replication.source();
    let longer = "select count(*) from pg_stat_activity
                  where datname = current_database() and pid <> pg_backend_pid() and query like '%of_tick%'
                    and state = 'active' and query_start < clock_timestamp() - interval '3 s'";
    wait_for("a read lasts longer than the 2 s of a statement", || {
        let health = replication.publisher.health();
        (count(&mut looking, longer) == 1 && health.contains("read the outbox: ")).then_some(())
    });
    source.batch_execute("select pg_advisory_unlock(77)").unwrap();
    replication.publisher.wait_until_healthy();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
}
