//! Messages that nobody of ours sends. Whatever they say, both services run on, nothing of them is applied, what is
//! stored of them can be read, and the next genuine row arrives.

mod flood;
mod forging;
mod headers;
mod memory;
mod signing;

use crate::harness::{Demo, Replication, Service, add_user, assert_equal, count, wait_for};
use crossbeam_channel::Receiver;
use forging::{changed_by_one_value, next_ticks_that_cannot_be};
use postgres::Client;
use serde_json::{Value, json};
use shared::broker::{Connection, Incoming};
use shared::wire::{confirm_subject, events_subject, heartbeat_subject, refusal_subject, unpack};
use std::time::Duration;
use uuid::Uuid;

const SET_ASIDE: &str = "select messages from replication.quarantine_status";

/// A replication that has carried a tick, and what is on its wire.
struct Victim {
    replication: Replication,
    nats: Connection,
    /// The last batch that was applied.
    batch: Value,
    /// How much processor and publisher had logged by then: a stream that was just made may not answer at once.
    logged: [usize; 2],
}

impl Victim {
    fn start(name: &str) -> Victim {
        Victim::of(Replication::start(name))
    }

    fn of(replication: Replication) -> Victim {
        let name = replication.name();
        let nats = replication.nats_b();
        let batches = nats.subscribe(&events_subject(name)).unwrap();
        // The nodes tell each other of a subscription: what the source says afterwards comes here, too.
        next(&nats.subscribe(&heartbeat_subject(name)).unwrap(), |_| true);
        Demo::add_users(&mut replication.source(), 1);
        replication.wait_until_caught_up();
        let batch = next(&batches, |message| message.get("tick").is_some());
        let logged = [&replication.processor, &replication.publisher].map(|service| service.log().len());
        Victim { replication, nats, batch, logged }
    }

    fn send(&self, subject: &str, payload: Vec<u8>) {
        self.nats.publish(subject, None, payload).unwrap();
    }

    fn heard(&self, subject: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        next(&self.nats.subscribe(subject).unwrap(), is_wanted)
    }

    /// A genuine row arrives and is confirmed, and neither service was started again or began a session again.
    fn assert_unharmed(&self, email: &str) {
        self.assert_carries_on(email);
        let services = [&self.replication.processor, &self.replication.publisher];
        for (service, logged) in services.into_iter().zip(self.logged) {
            let log = service.log().split_off(logged);
            assert!(!log.contains("; retrying"), "{log}");
        }
    }

    /// A genuine row arrives and is confirmed, neither service was started again, and what is stored can be read.
    fn assert_carries_on(&self, email: &str) {
        let replication = &self.replication;
        add_user(&mut replication.source(), email);
        replication.wait_until_caught_up();
        assert_equal(replication);
        replication.processor.wait_until_healthy();
        replication.publisher.wait_until_healthy();
        read_all_views(&mut replication.source(), &["source_status", "outbox"]);
        let views = [
            "inbox",
            "inbox_event",
            "hold_status",
            "quarantine_status",
            "target_status",
            "target_drift",
            "as_of",
        ];
        read_all_views(&mut replication.target(), &views);
        for (service, begun) in [
            (&replication.processor, "this is the processor of"),
            (&replication.publisher, "this is the publisher of"),
        ] {
            let log = service.log();
            assert_eq!(log.matches(begun).count(), 1, "{log}");
            assert_shows_nothing_raw(service);
        }
    }
}

/// The next message that is wanted; the others are dropped.
fn next(messages: &Receiver<Incoming>, is_wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for("a message on the wire", || {
        let message = messages.recv_timeout(Duration::from_secs(30)).unwrap();
        // A processor that starts sends an empty message.
        serde_json::from_str(&unpack(&message.data).ok()?).ok().filter(&is_wanted)
    })
}

fn read_all_views(client: &mut Client, views: &[&str]) {
    for view in views {
        client
            .batch_execute(&format!("select * from replication.{view}"))
            .unwrap_or_else(|error| panic!("{view}: {error:?}"));
    }
}

/// No control character reaches a log or a health report, and no line of a log is somebody else's.
fn assert_shows_nothing_raw(service: &Service) {
    let (log, health) = (service.log(), service.health());
    for line in log.lines().chain(health.lines()) {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.len() < 10_000, "{} bytes: {line:.300}", line.len());
    }
    for line in log.lines() {
        let is_ours =
            line.split_whitespace().nth(2).is_some_and(|word| word.ends_with(':')) && line.starts_with("20");
        assert!(is_ours && !line.starts_with("2026-01-01T00:00:00.000Z"), "{line}");
    }
}

#[test]
fn no_batch_however_made_is_applied_or_keeps_anything_down() {
    let victim = Victim::start("hostile_batches");
    let mut target = victim.replication.target();
    let subject = events_subject(victim.replication.name());
    let forged = next_ticks_that_cannot_be(&victim.batch);
    let changed = changed_by_one_value(&victim.batch);
    for payload in &forged {
        victim.send(&subject, payload.clone());
    }
    let refused = i64::try_from(forged.len()).unwrap();
    wait_for("each is set aside", || (count(&mut target, SET_ASIDE) >= refused).then_some(()));
    assert_eq!(count(&mut target, SET_ASIDE), refused);
    let unexplained = "select count(*) from replication.quarantine where reason ~ '[[:cntrl:]]' or length(reason) not between 10 and 2000";
    assert_eq!(count(&mut target, unexplained), 0);
    victim.assert_unharmed("behind_next@x");
    for message in &changed {
        victim.send(&subject, message.to_string().into_bytes());
    }
    victim.assert_unharmed("behind_changed@x");
    println!(
        "batches: {} in the place of the next tick, {} with one value changed",
        forged.len(),
        changed.len()
    );
}

#[test]
fn no_confirm_however_made_keeps_anything_down() {
    let victim = Victim::start("hostile_confirms");
    let subject = confirm_subject(victim.replication.name());
    let heard =
        victim.heard(&subject, |confirm| !confirm["status"].is_null() && !confirm["applied"].is_null());
    let changed = changed_by_one_value(&heard);
    for message in &changed {
        // As of as many processes: what one says again, and nothing else, is believed.
        let mut message = message.clone();
        if let Some(incarnation) =
            message.get_mut("incarnation").filter(|incarnation| **incarnation == heard["incarnation"])
        {
            *incarnation = json!(Uuid::new_v4());
        }
        victim.send(&subject, message.to_string().into_bytes());
    }
    victim.assert_unharmed("behind@x");
    println!("confirms: {} with one value changed", changed.len());
}

#[test]
fn no_heartbeat_or_refusal_however_made_keeps_anything_down() {
    let victim = Victim::start("hostile_heartbeats");
    let name = victim.replication.name();
    let heartbeat = victim.heard(&heartbeat_subject(name), |heartbeat| !heartbeat["as_of"].is_null());
    let confirm = victim.heard(&confirm_subject(name), |_| true);
    let refusal =
        json!({"format": 1, "source": heartbeat["source"], "target": confirm["target"], "reason": "forged"});
    let (heartbeats, refusals) = (changed_by_one_value(&heartbeat), changed_by_one_value(&refusal));
    for message in &refusals {
        victim.send(&refusal_subject(name), message.to_string().into_bytes());
    }
    for message in &heartbeats {
        victim.send(&heartbeat_subject(name), message.to_string().into_bytes());
        // Of those that come together the last one counts.
        std::thread::sleep(Duration::from_millis(150));
    }
    victim.assert_unharmed("behind@x");
    println!("{} heartbeats and {} refusals with one value changed", heartbeats.len(), refusals.len());
}
