//! Messages of others on our subjects: another source, a copy of our source, an old message, a forged one.
//! They are set aside or ignored, and reported; neither service ends by one of them.

use crate::harness::{Demo, Replication, add_user, assert_equal, count, wait_for, wait_for_health};
use crossbeam_channel::Receiver;
use shared::broker::{Connection, Incoming};
use shared::wire::{Batch, Confirm, TickRef, confirm_subject, events_subject};
use std::time::Duration;
use uuid::Uuid;

const SET_ASIDE: &str = "select messages from replication.quarantine_status";

/// The next batch that the source of this replication sends.
fn next_batch(wire: &Receiver<Incoming>) -> Batch {
    loop {
        let message = wire.recv_timeout(Duration::from_secs(30)).unwrap();
        // A processor that starts sends an empty message.
        if let Ok(batch) = Batch::decode(&message.data) {
            return batch;
        }
    }
}

fn next_confirm(confirms: &Receiver<Incoming>) -> Confirm {
    Confirm::decode(&confirms.recv_timeout(Duration::from_secs(30)).unwrap().data).unwrap()
}

#[test]
fn a_foreign_publisher_is_set_aside_and_named_while_it_publishes() {
    let replication = Replication::start("foreign");
    let (mut source, mut target) = (replication.source(), replication.target());
    Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    let mut staging = Replication::prepare("foreign_staging", &[]);
    staging.publisher.set("NATS_SUBJECT_PREFIX", replication.name());
    staging.publisher.start();
    let stray = staging.source().query_one("select replication.source_id()", &[]).unwrap();
    let stray: String = stray.get(0);
    for number in 1..=3 {
        add_user(&mut staging.source(), &format!("staging{number}@x"));
        wait_for("its message is set aside", || (count(&mut target, SET_ASIDE) >= number).then_some(()));
    }
    let health = wait_for("the processor names it", || {
        let health = replication.processor.health();
        health.contains(&stray).then_some(health)
    });
    assert!(health.contains("this target follows"), "{health}");
    let named = format!("the source {stray}");
    let errors =
        |log: String| log.lines().filter(|line| line.contains(" ERROR ") && line.contains(&named)).count();
    assert_eq!(errors(replication.processor.log()), 1, "{}", replication.processor.log());
    // Production goes on beside it, and after it.
    add_user(&mut source, "production1@x");
    replication.wait_until_caught_up();
    staging.publisher.kill();
    add_user(&mut source, "production2@x");
    replication.wait_until_caught_up();
    replication.processor.wait_until_healthy();
    assert_eq!(assert_equal(&replication), (7, 5));
    staging.without_stream();
}

#[test]
fn one_message_of_another_history_is_set_aside_and_ends_nothing() {
    let mut replication = Replication::start("one_message");
    let (mut source, mut target, nats) = (replication.source(), replication.target(), replication.nats_b());
    let subject = events_subject(replication.name());
    let wire = nats.subscribe(&subject).unwrap();
    Demo::add_users(&mut source, 5);
    let real = next_batch(&wire);
    add_user(&mut source, "6@x");
    replication.wait_until_caught_up();
    let last = next_batch(&wire).tick;
    // An old tick, the last one, and the next one.
    let other = |number| TickRef { number, id: Uuid::new_v4() };
    let ticks = [other(real.tick.number), other(last.number), other(last.number + 1)];
    for (number, tick) in (1..).zip(ticks) {
        let forged = Batch { tick, previous_id: Uuid::new_v4(), ..real.clone() };
        nats.publish(&subject, None, forged.encode().unwrap()).unwrap();
        wait_for("it is set aside", || (count(&mut target, SET_ASIDE) == number).then_some(()));
        add_user(&mut source, &format!("after{number}@x"));
        replication.wait_until_caught_up();
    }
    assert_eq!(replication.processor.log().matches("this is the processor of").count(), 1);
    wait_for_health(&replication.processor, "a copy of its server");
    replication.processor.wait_until_healthy();
    assert_eq!(replication.processor.stop().code(), Some(0));
    replication.processor.start();
    replication.processor.wait_until_healthy();
    assert_eq!(assert_equal(&replication), (9, 5));
    assert_eq!(count(&mut target, SET_ASIDE), 3);
}

/// A confirm as the target sends it, but for a tick that the source never took.
fn send_unknown_tick(nats: &Connection, replication: &Replication, heard: &Confirm) {
    let unknown = Some(TickRef { number: 4711, id: Uuid::new_v4() });
    let forged = Confirm { counter: u64::MAX, applied: unknown, ..heard.clone() };
    nats.publish(&confirm_subject(replication.name()), None, forged.encode().unwrap()).unwrap();
}

#[test]
fn a_confirm_of_a_tick_that_the_source_never_took_ends_it_only_when_it_is_repeated() {
    let mut replication = Replication::start("unknown_tick");
    let (mut source, nats) = (replication.source(), replication.nats_b());
    let confirms = nats.subscribe(&confirm_subject(replication.name())).unwrap();
    Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    for number in 1..=2 {
        let heard = next_confirm(&confirms);
        send_unknown_tick(&nats, &replication, &heard);
        wait_for("the publisher reports it", || {
            (replication.publisher.log().matches("the target has tick 4711").count() >= number).then_some(())
        });
        // Also the confirms behind the highest counter count again.
        add_user(&mut source, &format!("after{number}@x"));
        replication.wait_until_caught_up();
        replication.publisher.wait_until_healthy();
    }
    assert_eq!(replication.publisher.log().matches("this is the publisher of").count(), 1);
    assert_eq!(assert_equal(&replication), (7, 5));
    // The one that confirms says nothing else.
    confirms.try_iter().for_each(drop);
    let heard = next_confirm(&confirms);
    assert_eq!(replication.processor.stop().code(), Some(0));
    let mut counter = heard.counter + 1000;
    wait_for("the publisher believes it", || {
        counter += 1;
        let unknown = Some(TickRef { number: 4711, id: Uuid::from_u128(9) });
        let forged = Confirm { counter, applied: unknown, ..heard.clone() };
        nats.publish(&confirm_subject(replication.name()), None, forged.encode().unwrap()).unwrap();
        replication.publisher.log().contains("thread confirms failed").then_some(())
    });
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
}

/// A copy of the source's whole server has its identity, its history, and the services' settings.
#[test]
fn of_two_publishers_of_one_source_both_sides_say_that_there_may_be_a_copy() {
    let mut replication = Replication::start("copied_source");
    let (mut source, mut target, nats) = (replication.source(), replication.target(), replication.nats_b());
    let subject = events_subject(replication.name());
    let wire = nats.subscribe(&subject).unwrap();
    add_user(&mut source, "1@x");
    let real = next_batch(&wire);
    replication.wait_until_caught_up();
    // As the publisher of the copy sends its next tick.
    let tick = TickRef { number: real.tick.number + 1, id: Uuid::new_v4() };
    let mut copied = Batch { tick, previous_id: real.tick.id, ..real.clone() };
    let key = Uuid::new_v4().to_string();
    for event in &mut copied.events {
        event.event_id = Uuid::new_v4();
        let own = event.key.as_deref().unwrap().trim_matches(['(', ')']).to_owned();
        event.key = Some(format!("({key})"));
        event.row = event.row.as_deref().map(|row| row.replace(&own, &key).replace("1@x", "copy@x"));
    }
    nats.publish(&subject, None, copied.encode().unwrap()).unwrap();
    wait_for("the target has it", || {
        (count(&mut target, "select count(*) from users where email = 'copy@x'") == 1).then_some(())
    });
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    wait_for_health(&replication.processor, "a copy of its server");
    assert!(replication.publisher.log().contains("a copy of its server"), "{}", replication.publisher.log());
    // What the source sends now does not continue what the target has.
    replication.publisher.start();
    add_user(&mut source, "2@x");
    wait_for("it is set aside", || (count(&mut target, SET_ASIDE) >= 1).then_some(()));
    assert_eq!(count(&mut target, "select count(*) from users"), 2);
    assert_eq!(replication.processor.log().matches("this is the processor of").count(), 1);
}
