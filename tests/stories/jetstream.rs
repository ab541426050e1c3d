//! What NATS denies, refuses or does not answer.

use crate::harness::{
    PrivateNats, Proxy, Replication, assert_equal, consumers, jetstream, messages, wait_for,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A NATS server whose users `outbox-publisher` and `inbox-processor` have the rights that docs/adopting.md
/// names, and no others; the rest may do everything but what their names say. `stream` is the one of the
/// replication that is to run on it.
fn nats_with_rights(stream: &str) -> PrivateNats {
    let user = |name: &str, denied: &str| {
        format!(
            "{{ user: {name}, password: password, permissions: {{ publish: {{ deny: {denied:?} }} }} }}\n"
        )
    };
    let of_stream = |call: &str, rest: &str| format!("$JS.API.{call}.{stream}{rest}");
    let of_processor = [
        format!("{stream}.confirm"),
        format!("{stream}.verified"),
        format!("{stream}.events"),
        "_INBOX.>".to_owned(),
        of_stream("STREAM.INFO", ""),
        of_stream("STREAM.MSG.GET", ""),
        of_stream("STREAM.CREATE", ""),
        of_stream("STREAM.DELETE", ""),
        of_stream("STREAM.PURGE", ""),
        of_stream("CONSUMER.CREATE", ".*"),
        of_stream("CONSUMER.MSG.NEXT", ".*"),
        of_stream("CONSUMER.DELETE", ".*"),
    ];
    let settings = format!(
        "accounts {{ CLIENT {{ jetstream: enabled, users: [
             {{ user: all, password: password }}
             {{ user: outbox-publisher, password: password, permissions: {{
                 publish: [\"{stream}.events\", \"{stream}.refusal\", \"{stream}.heartbeat\", \"{stream}.verify\"],
                 subscribe: [\"{stream}.confirm\", \"{stream}.verified\", \"_INBOX.>\"] }} }}
             {{ user: before-heartbeats, password: password, permissions: {{
                 publish: [\"{stream}.events\", \"{stream}.refusal\"], subscribe: [\"{stream}.confirm\", \"_INBOX.>\"] }} }}
             {{ user: inbox-processor, password: password, permissions: {{
                 publish: {of_processor:?}, subscribe: [\"{stream}.refusal\", \"{stream}.heartbeat\", \"{stream}.verify\", \"_INBOX.>\"] }} }}
             {}{}{}
         ] }} }}",
        user("no_release", &of_stream("STREAM.PURGE", "")),
        user("no_consumer", &of_stream("CONSUMER.CREATE", ".*")),
        user("no_pull", &of_stream("CONSUMER.MSG.NEXT", ".*")),
    );
    PrivateNats::start(stream, &settings)
}

#[test]
fn a_right_that_is_missing_at_nats_is_named_and_nothing_is_green_without_it() {
    const WITHIN: Duration = Duration::from_secs(14);
    const RETRIED_TWICE_IN: Duration = Duration::from_secs(5);
    let mut replication = Replication::prepare("rights", &[("NATS_STREAM_REPLICAS", "1")]);
    let nats = nats_with_rights(replication.name());
    nats.use_user(&mut replication.publisher, "outbox-publisher");
    let connection = nats.connect("all");
    let consumers = || consumers(&connection, "rights");
    nats.use_user(&mut replication.processor, "inbox-processor");
    replication.start_services();
    let insert = "insert into users (name, email) values ('N', $1)";
    replication.source().execute(insert, &[&"1@x"]).unwrap();
    replication.wait_until_caught_up();
    wait_for("confirmed messages are released", || (messages(&connection, "rights") == 0).then_some(()));
    let logs = replication.publisher.log() + &replication.processor.log();
    assert!(!logs.contains("Permissions Violation"), "{logs}");
    for user in ["no_consumer", "no_pull"] {
        assert_eq!(replication.processor.stop().code(), Some(0));
        wait_for("no consumer is left behind", || (consumers() == 0).then_some(()));
        nats.use_user(&mut replication.processor, user);
        replication.processor.start();
        let missing = if user == "no_pull" {
            "$JS.API.CONSUMER.MSG.NEXT.rights"
        } else {
            "$JS.API.CONSUMER.CREATE.rights"
        };
        let before = replication.processor.log().len();
        let (begun, mut named) = (Instant::now(), None);
        wait_for("the processor has retried twice", || {
            let health = replication.processor.health();
            if health.contains(missing) {
                named.get_or_insert(begun.elapsed());
            }
            // Before that it is idle, until it leads.
            assert!(named.is_none() || health.contains("degraded"), "{user}: {health}");
            let connections = replication.processor.log()[before..].matches("connected to").count();
            // Two of them are for heartbeats and for the verification.
            (connections > 4).then_some(())
        });
        let took = begun.elapsed();
        println!("{user}: named after {named:?}, retried twice within {took:?}, {} consumers", consumers());
        assert!(named.is_some_and(|named| named < WITHIN), "{}", replication.processor.health());
        assert!(took > RETRIED_TWICE_IN && consumers() < 2, "{user}: {took:?}");
    }
    replication.processor.kill();
    nats.use_user(&mut replication.processor, "no_release");
    replication.processor.start();
    replication.processor.wait_until_healthy();
    replication.source().execute(insert, &[&"2@x"]).unwrap();
    replication.wait_until_caught_up();
    let begun = Instant::now();
    wait_for("what cannot be released is named", || {
        assert!(begun.elapsed() < WITHIN, "not reported: {}", replication.processor.health());
        let health = replication.processor.health();
        (health.contains("degraded") && health.contains("$JS.API.STREAM.PURGE.rights")).then_some(())
    });
    let log = replication.processor.log();
    assert!(log.contains("the NATS user needs the right to publish there"), "{log}");
    assert_eq!(assert_equal(&replication), (2, 0));
}

/// An upgrade does not wait until whoever grants rights at NATS has granted the one for heartbeats.
#[test]
fn without_the_right_to_send_heartbeats_everything_else_works() {
    let mut replication = Replication::prepare("no_heartbeats", &[("NATS_STREAM_REPLICAS", "1")]);
    let nats = nats_with_rights(replication.name());
    nats.use_user(&mut replication.publisher, "before-heartbeats");
    nats.use_user(&mut replication.processor, "inbox-processor");
    replication.start_services();
    replication.source().execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    let missing = "Permissions Violation for Publish to \"no_heartbeats.heartbeat\"";
    wait_for("the right is named", || replication.publisher.log().contains(missing).then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(replication.publisher.log().matches(missing).count(), 1, "it is named with every heartbeat");
    replication.processor.wait_until_healthy();
    assert_eq!(assert_equal(&replication), (1, 0));
}

#[test]
fn a_stop_while_nats_is_slow_leaves_no_consumer_behind() {
    const NATS_TAKES: Duration = Duration::from_millis(500);
    let mut replication = Replication::prepare("slow_stop", &[]);
    let nodes = replication.processor.proxy("NATS_URL");
    replication.start_services();
    let nats = replication.nats_b();
    replication.wait_until_caught_up();
    wait_for("it pulls", || (consumers(&nats, replication.name()) == 1).then_some(()));
    nodes.iter().for_each(Proxy::black_hole);
    // A pull, a confirm or a round trip of the link, whichever comes first: nothing is written behind it.
    wait_for("it waits for NATS", || nodes.iter().any(Proxy::holds_up_client).then_some(()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(NATS_TAKES);
            nodes.iter().for_each(Proxy::heal);
        });
        assert_eq!(replication.processor.stop().code(), Some(0));
    });
    let begun = Instant::now();
    wait_for("no consumer is left behind", || {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", replication.processor.log());
        (consumers(&nats, replication.name()) == 0).then_some(())
    });
}

#[test]
fn consumers_whose_creation_is_not_answered_do_not_pile_up() {
    let mut replication = Replication::prepare("unanswered", &[]);
    let nodes = replication.processor.proxy("NATS_URL");
    for node in &nodes {
        node.withhold("consumer_create_response");
    }
    replication.processor.start();
    replication.publisher.start();
    replication.source().execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    let nats = replication.nats_b();
    let unanswered = "no answer from $JS.API.CONSUMER.CREATE.";
    wait_for("three sessions were not answered", || {
        let most = consumers(&nats, replication.name());
        assert!(most < 2, "{most} consumers: {}", replication.processor.log());
        let log = replication.processor.log();
        (log.matches(unanswered).count() >= 3).then_some(())
    });
    nodes.iter().for_each(Proxy::heal);
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    assert_eq!(replication.processor.stop().code(), Some(0));
    wait_for("no consumer is left behind", || (consumers(&nats, replication.name()) == 0).then_some(()));
}

/// As a node whose copy of the stream fell behind for good: it says that there is nothing, while the stream stores.
#[test]
fn a_stream_that_gives_nothing_is_read_by_other_consumers_and_then_made_anew() {
    let mut replication = Replication::prepare("gives_nothing", &[]);
    let nodes = replication.processor.proxy("NATS_URL");
    replication.start_services();
    let mut source = replication.source();
    let mut insert = |email: &str| {
        source.execute("insert into users (name, email) values ('N', $1)", &[&email]).unwrap();
    };
    insert("1@x");
    replication.wait_until_caught_up();
    for (email, said) in [("2@x", "another consumer is made"), ("3@x", "Recreating it")] {
        for node in &nodes {
            node.withhold("$JS.ACK.gives_nothing.");
        }
        insert(email);
        wait_for(said, || replication.processor.log().contains(said).then_some(()));
        nodes.iter().for_each(Proxy::heal);
        replication.wait_until_caught_up();
    }
    let log = replication.processor.log();
    assert!(log.contains("its consumers give none behind"), "{log}");
    replication.processor.wait_until_healthy();
    assert_eq!(assert_equal(&replication), (3, 0));
}

#[test]
fn a_stream_that_refuses_to_release_is_said_aloud_and_refused_at_the_next_start() {
    let mut replication = Replication::start("refuses_release");
    let (mut source, nats) = (replication.source(), replication.nats_b());
    let name = replication.name().to_owned();
    let mut config = jetstream(&nats, &format!("STREAM.INFO.{name}"), &Value::Null)["config"].take();
    config["deny_purge"] = Value::Bool(true);
    let updated = jetstream(&nats, &format!("STREAM.UPDATE.{name}"), &config);
    assert!(updated["error"].is_null(), "{updated}");
    let before = replication.processor.log().len();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    let fills_up = |health: &str| health.contains("degraded") && health.contains("refuses to release");
    wait_for("it reports that the stream fills up", || {
        fills_up(&replication.processor.health()).then_some(())
    });
    for number in 0..100 {
        let email = format!("{number}@y");
        source.execute("insert into users (name, email) values ('N', $1)", &[&email]).unwrap();
        assert!(fills_up(&replication.processor.health()), "{}", replication.processor.health());
        std::thread::sleep(Duration::from_millis(50));
    }
    replication.wait_until_caught_up();
    let log = replication.processor.log();
    assert!(!log[before..].contains("connected to"), "it reconnected: {log}");
    assert_eq!(assert_equal(&replication), (101, 0));

    assert_eq!(replication.processor.stop().code(), Some(0));
    wait_for("no consumer is left behind", || (consumers(&nats, &name) == 0).then_some(()));
    replication.processor.start();
    assert_eq!(replication.processor.wait_for_end().code(), Some(1));
    let log = replication.processor.log();
    assert!(log.contains("it is set to deny_purge"), "{log}");
}

#[test]
fn a_stream_that_was_sealed_is_refused_at_the_start() {
    let mut replication = Replication::start("sealed");
    let nats = replication.nats_b();
    replication.wait_until_caught_up();
    assert_eq!(replication.processor.stop().code(), Some(0));
    let mut config = jetstream(&nats, "STREAM.INFO.sealed", &Value::Null)["config"].take();
    config["sealed"] = Value::Bool(true);
    let updated = jetstream(&nats, "STREAM.UPDATE.sealed", &config);
    assert!(updated["error"].is_null(), "{updated}");
    replication.processor.start();
    assert_eq!(replication.processor.wait_for_end().code(), Some(1));
    let log = replication.processor.log();
    assert!(log.contains("it is set to sealed") && log.contains("delete it and start again"), "{log}");
}

/// It has the right subject and keeps messages for consumers that acknowledge, as somebody else may want it.
#[test]
fn a_stream_of_another_kind_is_deleted_only_where_that_is_allowed() {
    let mut replication = Replication::prepare("not_ours", &[("NATS_STREAM_RECREATE", "false")]);
    let nats = replication.nats_b();
    let config = json!({ "name": "not_ours", "subjects": ["not_ours.events"], "retention": "workqueue", "num_replicas": 3 });
    let created = jetstream(&nats, "STREAM.CREATE.not_ours", &config);
    assert!(created["error"].is_null(), "{created}");
    replication.processor.start();
    wait_for("it says why it does not use the stream", || {
        let health = replication.processor.health();
        (health.contains("its retention is \"workqueue\"") && health.contains("NATS_STREAM_RECREATE"))
            .then_some(())
    });
    let retention = |connection| {
        jetstream(connection, "STREAM.INFO.not_ours", &Value::Null)["config"]["retention"].clone()
    };
    assert_eq!(retention(&nats), "workqueue");
    replication.processor.kill();
    replication.processor.set("NATS_STREAM_RECREATE", "true");
    replication.start_services();
    assert_eq!(retention(&nats), "limits");
}
