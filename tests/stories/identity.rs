//! Who is who: a source that was promoted from a standby, an unexpected target, and one that is too old.

use crate::harness::{
    Demo, PrivateServer, Replication, add_user, applied_tick, assert_equal, count, wait_for, wait_for_health,
};
use crossbeam_channel::Receiver;
use shared::broker::Incoming;
use shared::wire::{Batch, Confirm, TickRef, confirm_subject, events_subject};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many batches went by since this was asked before; a processor that starts sends an empty message.
fn batches(wire: &Receiver<Incoming>) -> usize {
    wire.try_iter().filter(|message| Batch::decode(&message.data).is_ok()).count()
}

/// Starts over as docs/operations.md says; both services are stopped.
fn start_over(replication: &mut Replication) {
    let (mut source, mut target) = (replication.source(), replication.target());
    replication.start_over();
    replication.start_services();
    add_user(&mut source, "over@x");
    wait_for("the target has what came after", || {
        (count(&mut target, "select count(*) from users where email = 'over@x'") == 1).then_some(())
    });
    replication.wait_until_caught_up();
}

/// What check-replication.sh is told when it asks the source about the position of the target.
fn answer_to_the_check(replication: &Replication) -> String {
    let position = replication
        .target()
        .query_one("select applied_tick, applied_tick_id from replication.target_status", &[])
        .unwrap();
    let (tick, id): (i64, Uuid) = (position.get(0), position.get(1));
    let pending = "select from replication.pending_after($1, $2)";
    let error = replication.source().query(pending, &[&tick, &id]).unwrap_err();
    error.as_db_error().unwrap().message().to_owned()
}

#[test]
fn a_promoted_standby_that_lost_ticks_publishes_nothing_and_both_sides_start_over() {
    let primary = PrivateServer::create("lost_primary", 31, &["max_connections=40"]);
    let mut replication = Replication::start_from("lost_by_standby", &primary);
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    let system = "select system_identifier from pg_control_system()";
    let identifier = count(&mut replication.source(), system);
    let standby = primary.standby("lost_standby", 32);
    standby.kill();
    for email in ["lost1@x", "lost2@x"] {
        add_user(&mut replication.source(), email);
        replication.wait_until_caught_up();
    }
    let mut target = replication.target();
    let applied = applied_tick(&mut target);
    replication.processor.kill();
    replication.publisher.kill();
    primary.kill();
    standby.start();
    standby.promote();
    replication.move_source(&standby);
    let mut source = replication.source();
    assert_eq!(count(&mut source, system), identifier);
    assert_eq!(count(&mut source, "select count(*) from users"), 5, "the standby has lost what came last");

    // No start can tell yet: the target is down.
    let nats = replication.nats_b();
    let wire = nats.subscribe(&events_subject(replication.name())).unwrap();
    for email in ["new1@x", "new2@x", "new3@x"] {
        add_user(&mut source, email);
        replication.publisher.start();
        wait_for("it takes a tick, and says what it waits for", || {
            assert_eq!(batches(&wire), 0, "a tick was published that the target may know as another one");
            let waits = replication.publisher.health().contains("the source went from timeline 1 to 2");
            let unread = "select count(*) from outbox o where not exists (
                              select from replication.tick t where pg_visible_in_snapshot(o.txid, t.snapshot))";
            (waits && count(&mut source, unread) == 0).then_some(())
        });
        replication.publisher.kill();
    }
    let status = "select matched_timeline from replication.source_status where wal_timeline = 2";
    assert_eq!(count(&mut source, status), 1);

    replication.processor.start();
    replication.publisher.start();
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    wait_for_health(&replication.processor, "the source refuses this target");
    for log in [replication.publisher.log(), replication.processor.log()] {
        assert!(log.contains("it is another history") && log.contains("replication.start_over()"), "{log}");
    }
    assert_eq!(batches(&wire), 0, "something was published");
    assert_eq!(applied_tick(&mut target), applied);
    assert_eq!(count(&mut target, "select count(*) from users"), 7);
    let answer = answer_to_the_check(&replication);
    assert!(answer.contains("is not part of the history of this source"), "{answer}");

    assert_eq!(replication.processor.stop().code(), Some(0));
    start_over(&mut replication);
    assert_eq!(assert_equal(&replication), (9, 5));
    assert!(batches(&wire) > 0, "this test hears what is published");
}

/// The target's confirm is not enough: what it has is part of this history, and what is in flight to it is
/// not.
#[test]
fn what_the_former_primary_had_published_arrives_before_anything_is_added_to_it() {
    let mut replication = Replication::start("in_the_stream");
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    replication.publisher.kill();
    replication.copy_source("in_the_stream_backup");
    replication.processor.kill();
    replication.publisher.start();
    let mut source = replication.source();
    add_user(&mut source, "lost@x");
    wait_for("it is in the stream", || {
        (count(&mut source, "select count(*) from outbox where processed = false") == 0).then_some(())
    });
    replication.publisher.kill();
    drop(source);
    replication.put_in_place_of_source("in_the_stream_backup");
    let mut source = replication.source();
    // As a promoted standby finds it.
    source.execute("update replication.progress set timeline = 99", &[]).unwrap();
    add_user(&mut source, "new@x");
    let nats = replication.nats_b();
    let wire = nats.subscribe(&events_subject(replication.name())).unwrap();
    let confirms = nats.subscribe(&confirm_subject(replication.name())).unwrap();
    let (mut locker, mut target) = (replication.target(), replication.target());
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("lock table users in exclusive mode").unwrap();
    replication.publisher.start();
    wait_for_health(&replication.publisher, "the source went from timeline 99 to 1");
    replication.processor.start();
    for _ in 0..4 {
        let heard = confirms.recv_timeout(Duration::from_secs(30)).unwrap();
        let confirm = Confirm::decode(&heard.data).unwrap();
        assert_eq!(confirm.received.map(|received| received.tick.number), Some(1));
    }
    assert_eq!(batches(&wire), 0, "a tick was published behind one of another history");
    lock.commit().unwrap();
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    wait_for_health(&replication.processor, "it is another history");
    assert_eq!(batches(&wire), 0, "a tick was published behind one of another history");
    assert_eq!(count(&mut target, "select count(*) from users"), 6);
}

/// It may be from before the former primary published its last tick.
#[test]
fn one_idle_confirm_does_not_let_a_promoted_standby_publish() {
    let mut replication = Replication::start("late_confirm");
    let nats = replication.nats_b();
    let confirms = nats.subscribe(&confirm_subject(replication.name())).unwrap();
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    let late = wait_for("an idle confirm of all", || {
        let heard = confirms.recv_timeout(Duration::from_secs(30)).unwrap();
        let confirm = Confirm::decode(&heard.data).unwrap();
        (confirm.idle && confirm.applied.is_some()).then_some(confirm)
    });
    replication.publisher.kill();
    replication.processor.kill();
    let mut source = replication.source();
    // As a promoted standby finds it.
    source.execute("update replication.progress set timeline = 99, confirmed_tick = 0", &[]).unwrap();
    add_user(&mut source, "new@x");
    let wire = nats.subscribe(&events_subject(replication.name())).unwrap();
    replication.publisher.start();
    wait_for_health(&replication.publisher, "the source went from timeline 99 to 1");
    let message = Confirm { counter: late.counter + 1, ..late }.encode().unwrap();
    wait_for("the confirm is heard", || {
        // Sent again, it counts once.
        nats.publish(&confirm_subject(replication.name()), None, message.clone()).unwrap();
        (count(&mut source, "select confirmed_tick from replication.progress") > 0).then_some(())
    });
    let published = wire.recv_timeout(Duration::from_secs(3));
    assert!(published.is_err(), "a tick was published although the confirm may have been late");
    wait_for_health(&replication.publisher, "the source went from timeline 99 to 1");
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 6);
}

#[test]
fn a_promoted_standby_that_lost_nothing_goes_on_by_itself() {
    let primary = PrivateServer::create("kept_primary", 33, &["max_connections=40"]);
    let mut replication = Replication::start_from("kept_by_standby", &primary);
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    let standby = primary.standby("kept_standby", 34);
    let mut source = replication.source();
    source.batch_execute("alter system set synchronous_standby_names = '*'").unwrap();
    source.batch_execute("select pg_reload_conf()").unwrap();
    wait_for("the standby is synchronous", || {
        let synchronous = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        (count(&mut source, synchronous) == 1).then_some(())
    });
    let mut target = replication.target();
    let begun = applied_tick(&mut target);
    let told = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let insert = "insert into users (name, email) values ('N', $1)";
            let mut told: i64 = 0;
            while source.execute(insert, &[&format!("{told}@x")]).is_ok() {
                told += 1;
            }
            told
        });
        wait_for("replication is busy", || (applied_tick(&mut target) > begun + 20).then_some(()));
        primary.kill();
        writer.join().unwrap()
    });
    replication.publisher.kill();
    standby.promote();
    replication.move_source(&standby);
    replication.publisher.start();
    let mut source = replication.source();
    add_user(&mut source, "after@x");
    replication.wait_until_caught_up();
    let (users, _) = assert_equal(&replication);
    assert!(
        users >= usize::try_from(5 + told + 1).unwrap(),
        "{users} users, {told} commits were acknowledged"
    );
    // The next start needs no confirm.
    replication.publisher.kill();
    replication.processor.kill();
    let nats = replication.nats_b();
    let wire = nats.subscribe(&events_subject(replication.name())).unwrap();
    replication.publisher.start();
    add_user(&mut source, "later@x");
    wire.recv_timeout(Duration::from_secs(30)).unwrap();
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_equal(&replication);
    let log = replication.publisher.log();
    assert_eq!(log.matches("Nothing is published until the target confirms").count(), 1, "{log}");
    assert_eq!(log.matches("publishing resumes from timeline 1 to 2").count(), 1, "{log}");
}

/// The worst case: a copy of the target, which accepts every message and so takes it away.
#[test]
fn a_stray_processor_that_takes_the_messages_confirms_and_prunes_nothing() {
    let mut replication = Replication::start_with("stray", &[("OUTBOX_RETENTION", "1")]);
    let mut source = replication.source();
    let demo = Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    replication.processor.kill();
    replication.copy_target("stray_staging");
    let mut stray = replication.stray_processor("stray_staging");
    stray.start();
    for _ in 0..20 {
        demo.move_money(&mut source);
    }
    let mut staging = replication.other_target_door("stray_staging").connect().unwrap();
    wait_for("the stray has taken all of it", || {
        let last = count(&mut source, "select max(tick) from replication.tick");
        let taken = "select count(*) from outbox o where not exists (
                         select from replication.tick t where pg_visible_in_snapshot(o.txid, t.snapshot))";
        (count(&mut source, taken) == 0 && applied_tick(&mut staging) == last).then_some(())
    });
    let old =
        "select count(*) from replication.tick where taken_at < clock_timestamp() - interval '3 seconds'
               and tick = (select max(tick) from replication.tick)";
    wait_for("it is older than the retention by far", || (count(&mut source, old) == 1).then_some(()));
    assert_eq!(count(&mut source, "select count(*) from outbox where not confirmed"), 40);
    wait_for_health(&replication.publisher, "stray_staging: this source is bound to");
    stray.kill();
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (5, 5));
    replication.publisher.wait_until_healthy();
}

#[test]
fn a_publisher_that_nobody_confirms_says_so_until_somebody_does() {
    let mut replication = Replication::start("silence");
    replication.processor.kill();
    wait_for_health(&replication.publisher, "no target has confirmed for 3");
    assert!(replication.publisher.health().contains("silence.confirm"), "{}", replication.publisher.health());
    replication.processor.start();
    wait_for_health(&replication.publisher, "ok");
}

#[test]
fn of_two_databases_with_one_identity_neither_confirms() {
    let replication = Replication::start("one_identity");
    let (mut source, mut target) = (replication.source(), replication.target());
    Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    let nats = replication.nats_b();
    let subject = confirm_subject(replication.name());
    let heard = nats.subscribe(&subject).unwrap().recv_timeout(Duration::from_secs(10)).unwrap();
    // As the processor of a copy of the target's whole server speaks, one that was started later.
    let real = Confirm::decode(&heard.data).unwrap();
    let mut copy =
        Confirm { incarnation: Uuid::new_v4(), term: real.term + 1, counter: 0, idle: false, ..real };
    let mut speak = |applied: Option<TickRef>| {
        copy.counter += 1;
        copy.applied = applied.or(copy.applied);
        nats.publish(&subject, None, copy.encode().unwrap()).unwrap();
    };
    wait_for("the publisher says that there are two", || {
        speak(None);
        replication.publisher.health().contains("two processors confirm for it").then_some(())
    });
    add_user(&mut source, "6@x");
    wait_for("it is in the target nevertheless", || {
        speak(None);
        (count(&mut target, "select count(*) from users") == 6).then_some(())
    });
    let last = "select tick, tick_id from replication.tick order by tick desc limit 1";
    let last = source.query_one(last, &[]).unwrap();
    let last = TickRef { number: last.get(0), id: last.get(1) };
    let mut words = 0;
    wait_for("the copy has confirmed it often enough", || {
        speak(Some(last));
        words += 1;
        assert_eq!(count(&mut source, "select count(*) from outbox where not confirmed"), 1);
        (words == 200).then_some(())
    });
    // The copy is silent.
    replication.wait_until_caught_up();
    replication.publisher.wait_until_healthy();
    assert_eq!(assert_equal(&replication), (6, 5));
}

/// It dies every three seconds, and the next one speaks 2.5 s after its last word: when it is almost forgotten.
#[test]
fn two_databases_with_one_identity_are_found_although_the_processor_of_one_keeps_dying() {
    let mut replication = Replication::start("one_dies");
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    let nats = replication.nats_b();
    let subject = confirm_subject(replication.name());
    let heard = nats.subscribe(&subject).unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
    let mut one = Confirm { idle: false, ..Confirm::decode(&heard.data).unwrap() };
    let mut other = Confirm { term: one.term + 1, ..one.clone() };
    replication.processor.kill();
    let speak = |processor: &mut Confirm| {
        processor.counter += 1;
        nats.publish(&subject, None, processor.encode().unwrap()).unwrap();
    };
    let begun = Instant::now();
    let mut beginnings = 0;
    wait_for("the publisher says that there are two", || {
        for after in [250, 1250, 2250, 2500, 3000] {
            let due = begun + Duration::from_millis(3000 * beginnings + after);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            match after {
                2500 => {
                    other = Confirm { incarnation: Uuid::new_v4(), term: other.term + 1, ..other.clone() };
                    speak(&mut other);
                }
                3000 => speak(&mut other),
                _ => speak(&mut one),
            }
        }
        beginnings += 1;
        replication.publisher.health().contains("two processors confirm for it").then_some(())
    });
    replication.processor.start();
    replication.wait_until_caught_up();
    replication.publisher.wait_until_healthy();
}

#[test]
fn another_target_takes_the_place_of_the_one_before_by_rebind_target_alone() {
    let mut replication = Replication::start("rebound");
    let mut source = replication.source();
    Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    assert_eq!(replication.processor.stop().code(), Some(0));
    let mut former = replication.stray_processor("rebound_target");
    replication.move_target("rebound_new");
    replication.processor.start();
    add_user(&mut source, "6@x");
    wait_for_health(&replication.publisher, "rebound_new: this source is bound to");
    let refused = source.execute("select replication.rebind_target()", &[]).unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().message(), "outbox-publisher runs on this database");
    assert_eq!(count(&mut source, "select count(*) from outbox where not confirmed"), 1);
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 0);

    assert_eq!(replication.publisher.stop().code(), Some(0));
    let bound: String = source.query_one("select replication.rebind_target()", &[]).unwrap().get(0);
    assert!(bound.ends_with("/rebound_target"), "{bound}");
    replication.publisher.start();
    wait_for("the new target has it all", || {
        (count(&mut replication.target(), "select count(*) from users") == 6).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (6, 5));
    // Now the former one is the stranger.
    former.start();
    wait_for_health(&replication.publisher, "rebound_target: this source is bound to");
    former.kill();
    add_user(&mut source, "7@x");
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (7, 5));
}

#[test]
fn a_target_that_is_older_than_what_is_retained_is_told_which_ticks_are_missing() {
    let mut replication = Replication::start_with("too_old", &[("OUTBOX_RETENTION", "1")]);
    let mut source = replication.source();
    let demo = Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    replication.processor.kill();
    let backup = applied_tick(&mut replication.target());
    replication.copy_target("too_old_backup");
    replication.processor.start();
    for _ in 0..3 {
        demo.move_money(&mut source);
        replication.wait_until_caught_up();
    }
    let oldest = wait_for("ticks behind the backup are pruned", || {
        let oldest = count(&mut source, "select min(tick) from replication.tick");
        (oldest > backup + 1).then_some(oldest)
    });
    replication.processor.kill();
    replication.put_in_place_of_target("too_old_backup");
    replication.processor.start();
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    wait_for_health(&replication.processor, "the source refuses this target");
    let missing = format!("the target needs ticks {} to {oldest}, which have left the outbox", backup + 1);
    for log in [replication.publisher.log(), replication.processor.log()] {
        assert!(log.contains(&missing) && log.contains("replication.start_over()"), "{missing}: {log}");
    }
    assert_eq!(applied_tick(&mut replication.target()), backup);
    let answer = answer_to_the_check(&replication);
    assert!(answer.contains("older than OUTBOX_RETENTION"), "{answer}");

    assert_eq!(replication.processor.stop().code(), Some(0));
    start_over(&mut replication);
    assert_eq!(assert_equal(&replication), (6, 5));
}
