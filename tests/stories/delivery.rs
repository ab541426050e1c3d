//! Nothing is lost and nothing is applied twice, whatever crashes and whatever NATS loses.

use crate::harness::{
    Demo, Proxy, Replication, Service, add_user, applied_tick, assert_equal, assert_nothing_applied_twice,
    audit_writes, count, delivered, meanwhile, wait_for, wait_until_published,
};
use postgres::Client;
use shared::broker::Incoming;
use shared::wire::{Batch, Confirm, confirm_subject, events_subject};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn audited(target: &mut Client) -> i64 {
    target.query_one("select count(*) from audit", &[]).unwrap().get(0)
}

#[test]
fn a_processor_that_is_slow_takes_no_more_messages_than_it_can_hold() {
    const MESSAGES: i32 = 3000;
    /// Part of a pull of 200.
    const STORED: i64 = 150;
    let settings = [("BATCH_SIZE", "1"), ("BATCH_SIZE_MAX", "1")];
    let replication = Replication::start_with("slow_processor", &settings);
    replication.processor.wait_until_healthy();
    replication
        .target()
        .batch_execute(
            "create function take_long() returns trigger language plpgsql as $$
             begin perform pg_sleep(0.03); return new; end $$;
             create trigger take_long before insert on replication.inbox_batch
                 for each row execute function take_long();
             alter table replication.inbox_batch enable always trigger take_long",
        )
        .unwrap();
    Demo::add_users(&mut replication.source(), MESSAGES);

    let nats = replication.nats_b();
    let mut target = replication.target();
    let mut most = 0;
    wait_for("many messages are stored", || {
        let stored = count(&mut target, "select count(*) from replication.inbox_batch");
        let delivered = delivered(&nats, replication.name());
        most = most.max(i64::try_from(delivered).unwrap() - stored);
        (stored >= STORED).then_some(())
    });
    // One pull of 200 in flight, one overlapping it, and the 500 that may be decoded.
    println!("{most} messages were in flight");
    assert!((100..=950).contains(&most), "{most} messages were in flight");
    replication.target().batch_execute("drop trigger take_long on replication.inbox_batch").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication).0, MESSAGES.unsigned_abs() as usize);
}

#[test]
fn a_redelivered_batch_is_applied_once() {
    let mut replication = Replication::start("redelivered");
    let listening = replication.nats_b();
    let subject = events_subject(replication.name());
    let wire = listening.subscribe(&subject).unwrap();
    audit_writes(&mut replication.target());
    let mut source = replication.source();

    source.execute("insert into users (name, email) values ('First', 'a@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    source.execute("update users set name = 'Second'", &[]).unwrap();
    replication.wait_until_caught_up();
    let writes = audited(&mut replication.target());
    assert_eq!(writes, 2);

    // Both once more, in either order, before and after a restart of the processor.
    let messages: Vec<Incoming> =
        (0..2).map(|_| wire.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
    let again = |message: &Incoming| listening.publish(&subject, None, message.data.clone()).unwrap();
    messages.iter().for_each(again);
    replication.processor.kill();
    messages.iter().rev().for_each(again);
    replication.processor.start();
    messages.iter().for_each(again);
    replication.processor.wait_until_healthy();

    // A later message in the stream is applied later.
    source.execute("insert into users (name, email) values ('Marker', 'b@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_equal(&replication);
    assert_eq!(audited(&mut replication.target()), writes + 1, "a redelivered batch was applied again");
}

#[test]
fn batches_cut_differently_on_a_resend_overlap_without_harm() {
    let settings = [("BATCH_SIZE", "7"), ("BATCH_SIZE_MAX", "7")];
    let replication = Replication::start_with("overlap", &settings);
    let listening = replication.nats_b();
    let subject = events_subject(replication.name());
    let wire = listening.subscribe(&subject).unwrap();
    let mut source = replication.source();
    audit_writes(&mut replication.target());

    Demo::add_users(&mut source, 10);
    replication.wait_until_caught_up();
    let mut batches: Vec<Batch> = Vec::new();
    while batches.last().is_none_or(|batch| !batch.end().is_complete()) {
        batches.push(Batch::decode(&wire.recv_timeout(Duration::from_secs(5)).unwrap().data).unwrap());
    }
    assert_eq!(batches.len(), 3, "20 events in batches of 7");
    let whole = Batch {
        events: batches.iter().flat_map(|batch| batch.events.clone()).collect(),
        // The one in the middle has events of both tables.
        shapes: batches[1].shapes.clone(),
        ..batches[0].clone()
    };
    listening.publish(&subject, None, whole.encode().unwrap()).unwrap();
    source.execute("insert into users (name, email) values ('Marker', 'marker@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_equal(&replication);
    assert_eq!(audited(&mut replication.target()), 21);
}

#[test]
fn a_message_that_nats_acknowledged_and_lost_is_sent_again() {
    let mut replication = Replication::start("lost_message");
    let mut source = replication.source();
    Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    for something_follows in [false, true] {
        replication.processor.kill();
        source.execute("update payments set amount = amount + 1", &[]).unwrap();
        wait_until_published(&mut source);
        replication.purge_stream();
        if something_follows {
            source.execute("update users set status = 'vip'", &[]).unwrap();
        }
        replication.processor.start();
        replication.wait_until_caught_up();
        assert_eq!(assert_equal(&replication), (5, 5));
    }
    let log = replication.publisher.log();
    assert!(log.contains("the target is idle and lacks what was published"), "{log}");
    assert!(log.contains("the target reports a gap"), "{log}");
}

#[test]
fn a_stream_deleted_behind_their_backs_is_made_again_and_nothing_is_missing() {
    let mut replication = Replication::start("stream_deleted");
    let mut source = replication.source();
    Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();

    // With the processor running, and idle.
    replication.delete_stream();
    source.execute("update payments set amount = 1", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_equal(&replication);

    // With messages in it that nobody has received, and the publisher sure of them.
    replication.processor.kill();
    source.execute("update payments set amount = 2", &[]).unwrap();
    source.execute("insert into users (name, email) values ('Lost', 'lost@x')", &[]).unwrap();
    wait_until_published(&mut source);
    replication.delete_stream();
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (6, 5));
}

/// Otherwise a failover of the source, or a resend, would be decided by what the stream had before.
#[test]
fn a_target_that_was_cut_off_from_nats_is_idle_only_once_it_has_looked() {
    let mut replication = Replication::prepare("cut_off", &[]);
    let nodes = replication.processor.proxy("NATS_URL");
    replication.start_services();
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    let nats = replication.nats_b();
    let confirms = nats.subscribe(&confirm_subject(replication.name())).unwrap();
    let is_idle =
        || Confirm::decode(&confirms.recv_timeout(Duration::from_secs(60)).unwrap().data).unwrap().idle;
    wait_for("the target is idle", || is_idle().then_some(()));
    // Over its next connection no pull says that it brought nothing.
    for node in &nodes {
        node.withhold("NATS/1.0 4");
    }
    nodes.iter().for_each(Proxy::cut);
    wait_for("it has connected again", || nodes.iter().any(|node| node.accepted() > 0).then_some(()));
    while confirms.try_recv().is_ok() {}
    for _ in 0..4 {
        assert!(!is_idle(), "it does not know what the stream has");
    }
    nodes.iter().for_each(Proxy::heal);
    wait_for("the target is idle again", || is_idle().then_some(()));
    add_user(&mut replication.source(), "later@x");
    replication.wait_until_caught_up();
}

#[test]
fn killing_any_service_under_load_loses_nothing_and_doubles_nothing() {
    let mut replication = Replication::start("killed");
    let demo = Demo::add_users(&mut replication.source(), 20);
    replication.wait_until_caught_up();
    let mut target = replication.target();
    audit_writes(&mut target);
    let commits = AtomicU32::new(0);
    // One client for each writer, so that the services can be borrowed mutably meanwhile.
    let writers = [replication.source(), replication.source()].map(|mut client| {
        let (demo, commits) = (&demo, &commits);
        move || {
            demo.move_money(&mut client);
            commits.fetch_add(1, Ordering::Relaxed);
        }
    });
    meanwhile(writers, || {
        for round in 0..6 {
            // Under load again since the last kill.
            let so_far = applied_tick(&mut target);
            wait_for("more is applied", || (applied_tick(&mut target) > so_far + 20).then_some(()));
            let service: &mut Service =
                if round % 2 == 0 { &mut replication.publisher } else { &mut replication.processor };
            service.kill();
            service.start();
        }
    });
    replication.wait_until_caught_up();
    assert_equal(&replication);
    let total: String = target.query_one("select sum(amount)::text from payments", &[]).unwrap().get(0);
    assert_eq!(total, "20000.00");

    assert_nothing_applied_twice(&mut target);
    println!("{} transactions under 6 kills", commits.load(Ordering::Relaxed));
}
