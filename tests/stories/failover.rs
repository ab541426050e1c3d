//! A source that fails over behind one address, under services that keep running.

use crate::harness::{
    Demo, PrivateServer, Proxy, Replication, add_user, applied_tick, assert_equal, beside, count, wait_for,
};
use crate::standby::{end_leading_session, takeovers};
use crossbeam_channel::Receiver;
use postgres::{Client, NoTls};
use shared::broker::Incoming;
use shared::wire::confirm_subject;
use std::time::Duration;

/// A replication whose publisher reaches its source through a proxy; both services running, five users
/// replicated.
fn start_behind_proxy(name: &str, primary: &PrivateServer) -> (Replication, Proxy) {
    let mut replication = Replication::prepare_from(name, primary.url(), &[]);
    let proxy = replication.publisher.proxy("DATABASE_URL").remove(0);
    replication.start_services();
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    (replication, proxy)
}

/// Waits for the next confirm. The publisher is then at rest for as long as it ever is.
fn await_confirm(confirms: &Receiver<Incoming>) {
    while confirms.try_recv().is_ok() {}
    confirms.recv_timeout(Duration::from_secs(30)).unwrap();
}

/// Waits until a standby has received everything that the source has committed.
fn wait_for_standby(replication: &Replication) {
    let mut source = replication.source();
    let behind = "select count(*) from (values (pg_current_wal_lsn())) present (lsn)
                  where not exists (select from pg_stat_replication where flush_lsn >= present.lsn)";
    wait_for("the standby has received everything", || (count(&mut source, behind) == 0).then_some(()));
}

#[test]
fn a_publisher_at_rest_follows_every_failover_behind_its_address() {
    let mut primary = PrivateServer::create("moving_a", 35, &["max_connections=40"]);
    let (mut replication, proxy) = start_behind_proxy("moving", &primary);
    let nats = replication.nats_b();
    let confirms = nats.subscribe(&confirm_subject(replication.name())).unwrap();
    for (number, name) in (36..).zip(["moving_b", "moving_c", "moving_d", "moving_e"]) {
        let standby = primary.standby(name, number);
        wait_for_standby(&replication);
        standby.promote();
        let mut former = replication.source();
        let before = takeovers(&[&replication.publisher]);
        await_confirm(&confirms);
        proxy.switch_to(&standby.address());
        // By turns only the leader loses its session, and all connections are lost.
        if number % 2 == 0 {
            end_leading_session(&mut former);
        } else {
            proxy.cut();
        }
        replication.source_is_at(&standby);
        wait_for("it leads again", || (takeovers(&[&replication.publisher]) > before).then_some(()));
        let mut target = replication.target();
        add_user(&mut replication.source(), &format!("{name}@x"));
        wait_for(&format!("the target has what was written to {name}"), || {
            let arrived = format!("select count(*) from users where email = '{name}@x'");
            (count(&mut target, &arrived) == 1).then_some(())
        });
        primary = standby;
    }
    replication.wait_until_caught_up();
    replication.publisher.wait_until_healthy();
    assert_eq!(assert_equal(&replication), (9, 5));
}

fn term(source: &mut Client) -> i64 {
    count(source, "select term from replication.progress")
}

/// Ends all sessions of the publisher in this database, but for the one by which it leads.
fn end_other_sessions(source: &mut Client) {
    let ended = source
        .query(
            "select pg_terminate_backend(a.pid) from pg_stat_activity a
             where a.datname = current_database() and a.application_name like 'outbox-publisher%'
               and not exists (select from pg_locks l where l.pid = a.pid and l.locktype = 'advisory' and l.granted)",
            &[],
        )
        .unwrap();
    assert!(!ended.is_empty(), "it has sessions beside the leading one");
}

/// Both servers gave the number of its term: the standby had not heard of it when it was promoted.
#[test]
fn a_publisher_of_the_former_primary_stores_no_progress_in_the_promoted_one() {
    let primary = PrivateServer::create("again_a", 42, &["max_connections=40"]);
    let (mut replication, proxy) = start_behind_proxy("term_again", &primary);
    let standby = primary.standby("again_b", 43);
    wait_for_standby(&replication);
    standby.stop_following();
    replication.publisher.kill();
    replication.publisher.set("RUST_LOG", "debug");
    replication.publisher.start();
    replication.publisher.wait_until_healthy();
    let mut former = replication.source();
    for email in ["lost1@x", "lost2@x"] {
        add_user(&mut former, email);
        replication.wait_until_caught_up();
    }
    replication.processor.kill();

    standby.promote();
    let mut elected = replication.publisher.twin();
    replication.source_is_at(&standby);
    elected.set("DATABASE_URL", replication.source_url());
    elected.start();
    let mut present = replication.source();
    wait_for("the promoted server gives the term's number again", || {
        (term(&mut present) == term(&mut former)).then_some(())
    });
    let last = "select max(tick) from replication.tick";
    for number in 1..=5 {
        let before = count(&mut present, last);
        add_user(&mut present, &format!("new{number}@x"));
        wait_for("it has a tick of its own", || (count(&mut present, last) > before).then_some(()));
    }
    let stored = "select published_tick * 1000 + confirmed_tick from replication.progress";
    let its_own = count(&mut present, stored);
    // The former publisher still leads at the former primary, and its sessions come to the promoted one.
    let mut locker = Client::connect(&beside(primary.url(), "term_again_source"), NoTls).unwrap();
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("lock table replication.progress in share mode").unwrap();
    add_user(&mut former, "lost3@x");
    let waits =
        "select count(*) from pg_locks where relation = 'replication.progress'::regclass and not granted";
    wait_for("it has progress to store", || (count(&mut former, waits) == 1).then_some(()));
    proxy.switch_to(&standby.address());
    end_other_sessions(&mut former);
    lock.commit().unwrap();
    let refused =
        format!("another publisher leads: the progress of term {} is not stored", term(&mut present));
    wait_for("it has tried to store it there", || {
        assert_eq!(count(&mut present, stored), its_own, "progress in ticks of another server");
        replication.publisher.log().contains(&refused).then_some(())
    });
    elected.kill();
}

#[test]
fn a_publisher_at_rest_notices_that_a_failover_behind_its_address_lost_ticks() {
    let primary = PrivateServer::create("forked_a", 40, &["max_connections=40"]);
    let (mut replication, proxy) = start_behind_proxy("forked", &primary);
    let nats = replication.nats_b();
    let confirms = nats.subscribe(&confirm_subject(replication.name())).unwrap();
    let standby = primary.standby("forked_b", 41);
    wait_for_standby(&replication);
    standby.stop_following();
    for email in ["lost1@x", "lost2@x"] {
        add_user(&mut replication.source(), email);
        replication.wait_until_caught_up();
    }
    let applied = applied_tick(&mut replication.target());
    standby.promote();
    await_confirm(&confirms);
    proxy.switch_to(&standby.address());
    proxy.cut();
    replication.source_is_at(&standby);
    let mut source = replication.source();
    add_user(&mut source, "new@x");
    let confirmed = "select confirmed_tick from replication.progress";
    let forked_at = count(&mut source, confirmed);
    assert!(forked_at < applied, "the standby has lost what came last");
    wait_for("the publisher recognises another history", || {
        let present = count(&mut source, confirmed);
        assert_eq!(present, forked_at, "a tick of the former history counts as confirmed");
        replication.publisher.log().contains("it is another history").then_some(())
    });
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    assert_eq!(applied_tick(&mut replication.target()), applied);
}
