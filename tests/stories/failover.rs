//! A source that fails over behind one address, under services that keep running.

use crate::harness::{
    Demo, PrivateServer, Proxy, Replication, add_user, applied_tick, assert_equal, count, wait_for,
};
use crate::standby::{end_leading_session, takeovers};
use crossbeam_channel::Receiver;
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
