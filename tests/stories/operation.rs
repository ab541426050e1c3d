//! What an operator meets: settings, stops, and what the services say.

use crate::harness::{
    Proxy, Replication, Service, assert_equal, consumers, count, jetstream, messages, wait_for,
    wait_until_blocked,
};
use serde_json::Value;
use shared::broker::{Broker, Connection};
use shared::config::Environment;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_bad_setting_stops_the_service_at_start_with_what_is_allowed() {
    let replication = Replication::prepare("bad_setting", &[]);
    for (name, value, allowed) in [
        ("BATCH_SIZE", "0", "it takes a whole number from 1 to 10000"),
        ("BATCH_SIZE", "3000", "it takes at most BATCH_SIZE_MAX, which is 2000"),
        ("GENERATION_INTERVAL", "0", "it takes seconds from 0.01 to 3600, fractions included"),
        ("POLL_INTERVAL", "soon", "it takes seconds from 0.01 to 60, fractions included"),
        ("SOURCE_STATEMENT_TIMEOUT", "0.5", "it takes a whole number from 1 to 3600"),
        ("NATS_URL", "http://127.0.0.1", "it takes nats://host:port"),
        ("DATABASE_URL", "127.0.0.1", "DATABASE_URL is not valid"),
    ] {
        let mut service = match name {
            "GENERATION_INTERVAL" => replication.generator.twin(),
            _ => replication.publisher.twin(),
        };
        service.set(name, value);
        service.start();
        assert_eq!(service.wait_for_end().code(), Some(2), "{name}={value}");
        let log = service.log();
        assert!(log.contains("cannot start") && log.contains(name) && log.contains(allowed), "{log}");
    }
    replication.without_stream();
}

#[test]
fn the_generator_goes_on_after_a_kill_and_writes_believable_data() {
    let mut replication = Replication::start_with("generator", &[("GENERATION_INTERVAL", "0.01")]);
    let mut source = replication.source();
    let mut target = 0;
    for killed in [true, false] {
        replication.generator.start();
        replication.generator.wait_until_healthy();
        target += 40;
        wait_for("more users have signed up", || {
            let users: i64 = source.query_one("select count(*) from users", &[]).unwrap().get(0);
            (users >= target).then_some(())
        });
        if killed {
            replication.generator.kill();
        } else {
            assert_eq!(replication.generator.stop().code(), Some(0));
        }
    }
    replication.wait_until_caught_up();
    let (users, payments) = assert_equal(&replication);
    println!("the generator made {users} users and {payments} payments");
    assert!((2..8).contains(&(payments / users)), "about four payments come with a user");
}

#[test]
fn a_stop_is_clean_and_a_start_goes_on() {
    let mut replication = Replication::start("clean_stop");
    let mut source = replication.source();
    for round in 0..2 {
        source.execute("insert into users (name, email) values ('N', $1)", &[&format!("{round}@x")]).unwrap();
        replication.wait_until_caught_up();
        assert_eq!(replication.publisher.stop().code(), Some(0));
        assert_eq!(replication.processor.stop().code(), Some(0));
        source
            .execute("insert into users (name, email) values ('N', $1)", &[&format!("{round}-down@x")])
            .unwrap();
        replication.publisher.start();
        replication.processor.start();
    }
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (4, 0));
    let logs = replication.publisher.log() + &replication.processor.log();
    assert!(!logs.contains("ERROR") && !logs.contains("did not stop in time"), "{logs}");
}

#[test]
fn an_event_that_the_target_cannot_take_holds_and_goes_on_when_it_is_mended() {
    let replication = Replication::start("held");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users rename to users_elsewhere").unwrap();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    let error = wait_until_blocked(&mut target);
    assert!(error.contains("the target has no table \"public\".\"users\""), "{error}");
    target.batch_execute("alter table users_elsewhere rename to users").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    let held: Option<String> =
        target.query_one("select held_error from replication.target_status", &[]).unwrap().get(0);
    assert_eq!(held, None);
}

#[test]
fn a_value_that_is_too_long_for_an_index_of_the_targets_own_holds_until_that_is_gone() {
    let replication = Replication::start("too_long");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("create index only_here on users (name)").unwrap();
    let insert = "insert into users (name, email)
        select string_agg(md5(random()::text), ''), '1@x' from generate_series(1, 320)";
    source.execute(insert, &[]).unwrap();
    let error = wait_until_blocked(&mut target);
    assert!(error.contains("index row requires"), "{error}");
    target.batch_execute("drop index only_here").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
}

#[test]
fn what_cannot_be_a_message_of_ours_is_set_aside_and_stops_nothing() {
    let replication = Replication::start("garbage");
    let nats = replication.nats_b();
    let subject = shared::wire::events_subject(replication.name());
    for garbage in [&b"\xff\x00 not json"[..], b"{}", b"{\"format\": 99}"] {
        nats.publish(&subject, None, garbage.to_vec()).unwrap();
    }
    replication.source().execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    let rows = replication
        .target()
        .query("select reason, payload from replication.quarantine order by id", &[])
        .unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows[2].get::<_, &str>(0).contains("format 99"));
    assert_eq!(rows[0].get::<_, &[u8]>(1), b"\xff\x00 not json");
}

#[test]
fn quarantine_keeps_the_last_messages_the_beginning_of_long_ones_and_counts_all() {
    const FLOOD: usize = 1_500;
    let replication = Replication::start("flood");
    let nats = replication.nats_b();
    let subject = shared::wire::events_subject(replication.name());
    let mut target = replication.target();
    for number in 0..FLOOD {
        nats.publish(&subject, None, format!("garbage {number}").into_bytes()).unwrap();
    }
    // As long as NATS lets through, compressed to a size that cannot be, and with a reason that quotes what
    // PostgreSQL has no text for.
    let long = vec![b'x'; 7 * 1024 * 1024];
    let bomb = [&b"LZ4\0"[..], &u32::MAX.to_le_bytes(), b"x"].concat();
    let unprintable = br#"{"format": 1, "\u0000": 1, "events": [{"operation": "\u0000"}]}"#;
    for odd in [&long[..], &bomb, unprintable] {
        nats.publish(&subject, None, odd.to_vec()).unwrap();
    }
    replication.source().execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    let all = i64::try_from(FLOOD + 3).unwrap();
    wait_for("all of it is counted", || {
        (count(&mut target, "select messages from replication.quarantine_status") == all).then_some(())
    });
    let row = target.query_one("select unseen, kept from replication.quarantine_status", &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (all, 1000));
    let longest = "select max(octet_length(payload))::bigint from replication.quarantine";
    assert_eq!(count(&mut target, longest), 65536);
    assert_eq!(count(&mut target, "select max(bytes) from replication.quarantine"), 7 * 1024 * 1024);
    assert_eq!(count(&mut target, "select replication.quarantine_acknowledge()"), all);
    assert_eq!(count(&mut target, "select replication.quarantine_acknowledge()"), 0);
    assert_eq!(count(&mut target, "select unseen from replication.quarantine_status"), 0);
}

/// A NATS server of the test's own. Its users `outbox-publisher` and `inbox-processor` have the rights that
/// docs/adopting.md names, and no others; the rest may do everything but what their names say.
struct NatsWithRights {
    server: Child,
    directory: PathBuf,
    url: String,
}

impl NatsWithRights {
    /// `stream` is the one of the replication that is to run on it.
    fn start(stream: &str) -> NatsWithRights {
        let environment = Environment::read();
        let directory = PathBuf::from(environment.optional("TEST_RUN_DIR").unwrap()).join("nats-with-rights");
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        // Free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let user = |name: &str, denied: &str| {
            format!(
                "{{ user: {name}, password: password, permissions: {{ publish: {{ deny: {denied:?} }} }} }}\n"
            )
        };
        let of_stream = |call: &str, rest: &str| format!("$JS.API.{call}.{stream}{rest}");
        let of_processor = [
            format!("{stream}.confirm"),
            format!("{stream}.events"),
            "_INBOX.>".to_owned(),
            of_stream("STREAM.INFO", ""),
            of_stream("STREAM.CREATE", ""),
            of_stream("STREAM.DELETE", ""),
            of_stream("STREAM.PURGE", ""),
            of_stream("CONSUMER.CREATE", ".*"),
            of_stream("CONSUMER.MSG.NEXT", ".*"),
            of_stream("CONSUMER.DELETE", ".*"),
        ];
        let config = format!(
            "listen: \"127.0.0.1:{port}\"
             jetstream {{ store_dir: \"{}\" }}
             accounts {{ CLIENT {{ jetstream: enabled, users: [
                 {{ user: all, password: password }}
                 {{ user: outbox-publisher, password: password, permissions: {{
                     publish: [\"{stream}.events\", \"{stream}.refusal\"], subscribe: [\"{stream}.confirm\", \"_INBOX.>\"] }} }}
                 {{ user: inbox-processor, password: password, permissions: {{
                     publish: {of_processor:?}, subscribe: [\"{stream}.refusal\", \"_INBOX.>\"] }} }}
                 {}{}{}
             ] }} }}",
            directory.join("store").display(),
            user("no_release", &of_stream("STREAM.PURGE", "")),
            user("no_consumer", &of_stream("CONSUMER.CREATE", ".*")),
            user("no_pull", &of_stream("CONSUMER.MSG.NEXT", ".*")),
        );
        std::fs::write(directory.join("nats.conf"), config).unwrap();
        let log = std::fs::File::create(directory.join("nats.log")).unwrap();
        let server = Command::new(environment.optional("NATS_SERVER").unwrap_or("nats-server"))
            .arg("--config")
            .arg(directory.join("nats.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_for("the NATS server takes connections", || TcpStream::connect(("127.0.0.1", port)).ok());
        NatsWithRights { server, directory, url: format!("nats://127.0.0.1:{port}") }
    }

    /// Has the service log in as this user.
    fn use_user(&self, service: &mut Service, user: &str) {
        for (name, value) in [("NATS_URL", &*self.url), ("NATS_USER", user), ("NATS_PASSWORD", "password")] {
            service.set(name, value);
        }
    }

    fn connect(&self) -> Connection {
        let url = self.url.replace("nats://", "nats://all:password@");
        let environment = Environment::from_pairs([("NATS_URL".to_owned(), url)]);
        Broker::from_env(&environment, "test").unwrap().connect().unwrap()
    }
}

impl Drop for NatsWithRights {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_right_that_is_missing_at_nats_is_named_and_nothing_is_green_without_it() {
    const WITHIN: Duration = Duration::from_secs(14);
    const RETRIED_TWICE_IN: Duration = Duration::from_secs(5);
    let mut replication = Replication::prepare("rights", &[("NATS_STREAM_REPLICAS", "1")]);
    let nats = NatsWithRights::start(replication.name());
    nats.use_user(&mut replication.publisher, "outbox-publisher");
    let connection = nats.connect();
    let consumers = || consumers(&connection, "rights");
    nats.use_user(&mut replication.processor, "inbox-processor");
    replication.start_services();
    let insert = "insert into users (name, email) values ('N', $1)";
    replication.source().execute(insert, &[&"1@x"]).unwrap();
    replication.wait_until_caught_up();
    wait_for("what is settled is released", || (messages(&connection, "rights") == 0).then_some(()));
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
            // Before that it rests, for as long as it does not lead.
            assert!(named.is_none() || health.contains("degraded"), "{user}: {health}");
            let connections = replication.processor.log()[before..].matches("connected to").count();
            (connections > 2).then_some(())
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
        assert!(begun.elapsed() < WITHIN, "nothing said: {}", replication.processor.health());
        let health = replication.processor.health();
        (health.contains("degraded") && health.contains("$JS.API.STREAM.PURGE.rights")).then_some(())
    });
    let log = replication.processor.log();
    assert!(log.contains("the NATS user needs the right to publish there"), "{log}");
    assert_eq!(assert_equal(&replication), (2, 0));
}

#[test]
fn a_stop_while_nats_is_slow_leaves_no_consumer_behind() {
    const NATS_TAKES: Duration = Duration::from_millis(200);
    let mut replication = Replication::prepare("slow_stop", &[]);
    let nodes = replication.processor.proxy("NATS_URL");
    replication.start_services();
    let nats = replication.nats_b();
    replication.wait_until_caught_up();
    wait_for("it pulls", || (consumers(&nats, replication.name()) == 1).then_some(()));
    nodes.iter().for_each(Proxy::black_hole);
    wait_for("a pull is under way", || {
        nodes.iter().any(|node| node.holds_up("CONSUMER.MSG.NEXT")).then_some(())
    });
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
    wait_for("it says that the stream fills up", || fills_up(&replication.processor.health()).then_some(()));
    for number in 0..100 {
        let email = format!("{number}@y");
        source.execute("insert into users (name, email) values ('N', $1)", &[&email]).unwrap();
        assert!(fills_up(&replication.processor.health()), "{}", replication.processor.health());
        std::thread::sleep(Duration::from_millis(50));
    }
    replication.wait_until_caught_up();
    let log = replication.processor.log();
    assert!(!log[before..].contains("connected to"), "it began anew: {log}");
    assert_eq!(assert_equal(&replication), (101, 0));

    assert_eq!(replication.processor.stop().code(), Some(0));
    wait_for("no consumer is left behind", || (consumers(&nats, &name) == 0).then_some(()));
    replication.processor.start();
    assert_eq!(replication.processor.wait_for_end().code(), Some(1));
    let log = replication.processor.log();
    assert!(log.contains("it is set to deny_purge"), "{log}");
}
