//! Messages that are as good as genuine ones, but for the key.

use super::forging::{next_tick, with};
use super::{SET_ASIDE, Victim};
use crate::harness::{
    Demo, Replication, Service, add_user, assert_equal, assert_nothing_applied_twice, audit_writes, count,
    wait_for,
};
use serde_json::{Value, json};
use shared::wire::{confirm_subject, events_subject, heartbeat_subject, refusal_subject};
use std::path::PathBuf;
use uuid::Uuid;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const NEW_KEY: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
const FORGED_ROWS: &str = "select count(*) from users where email like '%@forged.%'";

/// A file of keys, which is removed at the end.
struct KeyFile(PathBuf);

impl KeyFile {
    fn of(name: &str, keys: &[&str]) -> KeyFile {
        let file = KeyFile(std::env::temp_dir().join(format!("{name}-{}.keys", std::process::id())));
        file.write(keys);
        file
    }

    /// In one step: a service may read it at any time.
    fn write(&self, keys: &[&str]) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, keys.join("\n")).unwrap();
        std::fs::rename(&next, &self.0).unwrap();
    }

    fn setting(&self) -> (&'static str, &str) {
        ("NATS_SIGNING_KEY_FILE", self.0.to_str().unwrap())
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn started(name: &str, keys: &KeyFile) -> Replication {
    let mut replication = Replication::prepare(name, &[keys.setting()]);
    replication.start_services();
    replication
}

/// The tick behind the last one, as its publisher could have made it.
fn forged(last: &Value) -> Value {
    let row = last["events"][0]["row"].as_str().unwrap().replace('@', "@forged.");
    with(&with(&next_tick(last), "/events/0/row", json!(row)), "/events/0/event_id", json!(Uuid::new_v4()))
}

fn wait_for_line(service: &Service, text: &str) {
    wait_for(&format!("it says: {text}"), || service.log().contains(text).then_some(()));
}

#[test]
fn without_keys_whoever_may_publish_writes_the_target() {
    let mut victim = Victim::start("not_signed");
    victim.replication.publisher.kill();
    victim.send(&events_subject("not_signed"), forged(&victim.batch).to_string().into_bytes());
    let mut target = victim.replication.target();
    wait_for("the forged row is there", || (count(&mut target, FORGED_ROWS) == 1).then_some(()));
}

#[test]
fn with_keys_what_is_not_signed_with_one_is_not_believed() {
    let name = "signed";
    let (keys, others) = (KeyFile::of(name, &[KEY]), KeyFile::of("signed_by_others", &[NEW_KEY]));
    let mut victim = Victim::of(started(name, &keys));
    let mut target = victim.replication.target();
    let confirm = victim.heard(&confirm_subject(name), |confirm| !confirm["applied"].is_null());
    let heartbeat = victim.heard(&heartbeat_subject(name), |heartbeat| !heartbeat["as_of"].is_null());
    victim.replication.publisher.kill();

    let tick = forged(&victim.batch).to_string().into_bytes();
    victim.send(&events_subject(name), tick.clone());
    let with_another_key = victim.replication.nats_b_with(&[others.setting()]);
    with_another_key.publish_signed(&events_subject(name), None, tick).unwrap();
    wait_for("both are set aside", || (count(&mut target, SET_ASIDE) == 2).then_some(()));
    for reason in ["%not signed%", "%none of the keys%"] {
        let like = format!("select count(*) from replication.quarantine where reason like '{reason}'");
        assert_eq!(count(&mut target, &like), 1, "{reason}");
    }
    assert_eq!(count(&mut target, FORGED_ROWS), 0);

    let refusal =
        json!({"format": 1, "source": heartbeat["source"], "target": confirm["target"], "reason": "forged"});
    victim.send(&refusal_subject(name), refusal.to_string().into_bytes());
    wait_for_line(&victim.replication.processor, "ignoring a refusal: it is not signed");
    victim.send(&heartbeat_subject(name), heartbeat.to_string().into_bytes());
    wait_for_line(&victim.replication.processor, "ignoring a heartbeat: it is not signed");
    victim.replication.publisher.start();
    wait_for("a confirm that is not signed is ignored", || {
        victim.send(&confirm_subject(name), confirm.to_string().into_bytes());
        victim.replication.publisher.log().contains("ignoring a confirm: it is not signed").then_some(())
    });

    // What a server takes at most, it takes signed.
    let ours = victim.replication.nats_b_with(&[keys.setting()]);
    let largest = ours.subscribe("largest.of.signed").unwrap();
    ours.publish_signed("largest.of.signed", None, vec![0; ours.max_payload()]).unwrap();
    wait_for("the largest message arrives", || largest.try_recv().ok());

    add_user(&mut victim.replication.source(), "genuine@x");
    victim.replication.wait_until_caught_up();
    assert_equal(&victim.replication);
}

#[test]
fn keys_are_changed_while_the_services_run() {
    let name = "keys_changed";
    let keys = KeyFile::of(name, &[KEY]);
    let replication = started(name, &keys);
    let steps: [&[&str]; 3] = [&["# the old one signs", KEY, NEW_KEY], &[NEW_KEY, KEY], &[NEW_KEY]];
    for (number, step) in steps.iter().enumerate() {
        keys.write(step);
        for service in [&replication.publisher, &replication.processor] {
            wait_for("it has read the keys again", || {
                (service.log().matches("has other keys now").count() == number + 1).then_some(())
            });
        }
        add_user(&mut replication.source(), &format!("{number}@x"));
        replication.wait_until_caught_up();
    }
    keys.write(&["too short"]);
    for service in [&replication.publisher, &replication.processor] {
        wait_for_line(service, "going on with the keys that are known");
    }
    add_user(&mut replication.source(), "last@x");
    replication.wait_until_caught_up();
    assert_equal(&replication);
    assert_eq!(count(&mut replication.target(), SET_ASIDE), 0);
}

#[test]
fn a_processor_that_gets_the_keys_later_is_confirmed_then() {
    let name = "keys_later_in_b";
    let keys = KeyFile::of(name, &[KEY]);
    let mut replication = Replication::prepare(name, &[]);
    let (setting, path) = keys.setting();
    replication.publisher.set(setting, path);
    replication.start_services();
    let mut target = replication.target();
    add_user(&mut replication.source(), "early@x");
    wait_for("a signed message is believed without keys", || {
        (count(&mut target, "select count(*) from users") == 1).then_some(())
    });
    wait_for_line(&replication.publisher, "ignoring a confirm: it is not signed");
    let unconfirmed = "select count(*) from replication.outbox where not confirmed";
    assert_eq!(count(&mut replication.source(), unconfirmed), 1);
    replication.processor.kill();
    replication.processor.set(setting, path);
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_equal(&replication);
}

#[test]
fn a_publisher_that_gets_the_keys_later_loses_nothing() {
    let name = "keys_later";
    let keys = KeyFile::of(name, &[KEY]);
    let mut replication = Replication::prepare(name, &[]);
    let (setting, path) = keys.setting();
    replication.processor.set(setting, path);
    replication.start_services();
    let mut target = replication.target();
    add_user(&mut replication.source(), "early@x");
    wait_for("what is not signed is set aside", || (count(&mut target, SET_ASIDE) > 0).then_some(()));
    assert_eq!(count(&mut target, "select count(*) from users"), 0);
    replication.publisher.kill();
    replication.publisher.set(setting, path);
    replication.publisher.start();
    replication.wait_until_caught_up();
    assert_equal(&replication);
    assert_eq!(count(&mut target, "select count(*) from users"), 1);
}

/// Positions, counters and terms make a message that comes again harmless, or old news that nobody acts on.
#[test]
fn what_was_signed_is_of_no_use_when_it_is_sent_again() {
    let name = "replayed";
    let keys = KeyFile::of(name, &[KEY]);
    let replication = started(name, &keys);
    let (mut source, mut target) = (replication.source(), replication.target());
    audit_writes(&mut target);
    let attacker = replication.nats_b_with(&[keys.setting()]);
    let subjects = [events_subject(name), confirm_subject(name), heartbeat_subject(name)];
    let heard = subjects.map(|subject| (attacker.subscribe(&subject).unwrap(), subject));
    let demo = Demo::add_users(&mut source, 4);
    for _ in 0..6 {
        demo.move_money(&mut source);
        replication.wait_until_caught_up();
    }
    // The same bytes under the same key have the same signature.
    let mut recorded: Vec<(&str, Vec<u8>)> = Vec::new();
    for (messages, subject) in &heard {
        let first = wait_for(&format!("a message on {subject}"), || messages.try_recv().ok());
        // A processor that starts tries the stream with an empty one.
        let all =
            std::iter::once(first).chain(messages.try_iter()).filter(|message| !message.data.is_empty());
        recorded.extend(all.map(|message| (subject.as_str(), message.data.clone())));
    }
    for _ in 0..6 {
        fastrand::shuffle(&mut recorded);
        for (subject, message) in &recorded {
            attacker.publish_signed(subject, None, message.clone()).unwrap();
        }
        demo.move_money(&mut source);
    }
    replication.wait_until_caught_up();
    println!("{} messages were sent again 6 times", recorded.len());
    assert_eq!(assert_equal(&replication), (4, 4));
    assert_nothing_applied_twice(&mut target);
    assert_eq!(count(&mut target, SET_ASIDE), 0);
    replication.publisher.wait_until_healthy();
    replication.processor.wait_until_healthy();
}
