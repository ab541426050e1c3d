//! A log for machines: each line is a record, with the same fields whoever writes it.

use crate::harness::{Replication, add_user, wait_until_blocked};
use serde_json::Value;

const ALWAYS: [&str; 5] = ["ts", "level", "service", "thread", "msg"];

#[test]
fn a_log_for_machines_names_in_fields_what_blocks_apply_and_what_is_retried() {
    let mut replication = Replication::prepare("log_formats", &[]);
    replication.processor.set("LOG_FORMAT", "json");
    replication.publisher.set("LOG_FORMAT", "logfmt");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add constraint \"no bad\" check (name <> 'bad')").unwrap();
    // Nobody takes it yet.
    let txid = source.query_one(
        "with added as (insert into users (name, email) values ('bad', '1@x') returning 1)
         select pg_current_xact_id()::text from added",
        &[],
    );
    let txid: String = txid.unwrap().get(0);
    replication.publisher.start();
    crate::harness::wait_for_health(&replication.publisher, "no stream takes messages");
    replication.processor.start();
    wait_until_blocked(&mut target);
    target.batch_execute("alter table users drop constraint \"no bad\"").unwrap();
    add_user(&mut source, "2@x");
    replication.wait_until_caught_up();
    replication.stop_services();

    let retried = pairs_of(&replication.publisher.log(), "msg=publish ");
    assert!(retried.contains(
        " level=info service=outbox-publisher thread=publishing msg=publish error=\"no stream takes"
    ));
    assert!(retried.ends_with(" next=retrying"), "{retried}");

    let records = objects_of(&replication.processor.log());
    let of = |msg: &str| records.iter().find(|record| text(record, "msg").starts_with(msg)).unwrap();
    let blocked = of("apply is blocked");
    assert_eq!(text(blocked, "level"), "error");
    assert_eq!(text(blocked, "service"), "inbox-processor");
    assert_eq!(text(blocked, "thread"), "applying");
    assert_eq!(blocked["txid"].to_string(), txid);
    assert!(blocked["tick"].as_i64().unwrap() > 0);
    assert!(text(blocked, "error").contains("\"no bad\""), "{blocked}");
    assert!(of("apply resumed")["tick"].as_i64() >= blocked["tick"].as_i64());
}

/// Every line is an object, which begins with what every line has.
fn objects_of(log: &str) -> Vec<Value> {
    let read = |line: &str| {
        let mut rest = line.strip_prefix('{').unwrap();
        for key in ALWAYS {
            rest = &rest[rest.find(&format!("\"{key}\":\"")).unwrap()..];
        }
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    log.lines().map(read).collect()
}

/// The first line that has these words. Every line begins with what every line has.
fn pairs_of(log: &str, words: &str) -> String {
    for line in log.lines() {
        let keys: Vec<&str> =
            line.split(' ').take(ALWAYS.len()).filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
        assert_eq!(keys, ALWAYS, "{line}");
    }
    log.lines().find(|line| line.contains(words)).unwrap().to_owned()
}

fn text<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_default()
}
