//! replicationctl: what it says, and what its exit status says.

use crate::harness::{Replication, add_user, count, ctl, ctl_with, start_with_tables, wait_for};
use std::path::PathBuf;

#[test]
fn the_status_says_in_one_word_how_it_stands_and_its_exit_status_says_it_too() {
    let mut replication = Replication::start("ctl_status");
    add_user(&mut replication.source(), "1@x");
    replication.wait_until_caught_up();
    let status = wait_for("it follows, and each has heard of the other", || {
        let said = ctl(&replication, &["status"]);
        (said.status == Some(0)).then_some(said)
    });
    let words: Vec<&str> = status.result.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(words[..4], ["state", "behind", "trend", "needs"], "{}", status.result);
    assert!(status.result.contains("● FOLLOWING") && status.result.contains("needs you  nothing"));
    assert!(status.result.contains("users was attached"), "{}", status.result);
    assert!(status.aside.is_empty(), "{}", status.aside);
    let json = ctl(&replication, &["status", "--json"]).json();
    assert_eq!((&json["state"], &json["schema_version"]), (&"following".into(), &1.into()));
    let at = json["source"]["looked_at"].as_str().unwrap();
    assert!(at.ends_with("+00:00") && at.contains('T'), "{at} is no time of RFC 3339 in UTC");
    let watched = ctl(&replication, &["status", "--watch", "--interval", "1", "--count", "2"]).ended(0);
    assert_eq!(watched.lines().filter(|line| line.starts_with("FOLLOWING")).count(), 2, "{watched}");

    assert_eq!(replication.processor.stop().code(), Some(0));
    let down = ctl(&replication, &["status", "--json"]);
    assert!(down.result.contains("no inbox-processor works on B"), "{}", down.result);
    down.ended(2);
    replication.processor.start();
}

#[test]
fn each_side_is_looked_at_where_only_one_is_known_and_what_cannot_be_known_is_unknown() {
    let mut replication = Replication::start("ctl_sides");
    add_user(&mut replication.source(), "1@x");
    replication.wait_until_caught_up();
    let (source, target) = (replication.source_url().to_owned(), replication.target_url().to_owned());
    let json = ctl_with(&replication, &[("SOURCE_DATABASE_URL", &source)], &["status", "--json"]).json();
    assert!(json["target"].is_null() && json["source"]["last_tick"].is_number(), "{json}");
    // As a service has it: the database says which side it is.
    let json = ctl_with(&replication, &[("DATABASE_URL", &target)], &["status", "--json"]).json();
    assert!(json["source"].is_null() && json["target"]["applied_tick"].is_number(), "{json}");
    let file: PathBuf = std::env::temp_dir().join(format!("ctl-url-{}", std::process::id()));
    std::fs::write(&file, format!("{source}\n")).unwrap();
    let in_file = [("SOURCE_DATABASE_URL_FILE", file.to_str().unwrap())];
    ctl_with(&replication, &in_file, &["tables"]).ended(0);
    let said = ctl_with(&replication, &in_file, &["wait", "--now"]);
    assert!(said.aside.contains("set TARGET_DATABASE_URL"), "{}", said.aside);
    said.ended(3);
    std::fs::remove_file(&file).unwrap();
    let nobody =
        [("SOURCE_DATABASE_URL", source.as_str()), ("TARGET_DATABASE_URL", "postgres://u@127.0.0.1:1/x")];
    let said = ctl_with(&replication, &nobody, &["status"]);
    assert!(said.result.starts_with("state      ? UNKNOWN"), "{}", said.result);
    said.ended(3);
    let said = ctl_with(&replication, &[("SOURCE_DATABASE_URL", "postgres://u:S3cret@h")], &["tables"]);
    assert!(said.aside.contains("SOURCE_DATABASE_URL names no database"), "{}", said.aside);
    assert!(!said.aside.contains("S3cret"), "{}", said.aside);
    said.ended(3);
    let typed_wrong = ctl(&replication, &["stauts"]);
    assert!(typed_wrong.aside.contains("status"), "{}", typed_wrong.aside);
    typed_wrong.ended(3);
    let help = ctl(&replication, &["status", "--help"]).ended(0);
    assert!(help.trim_end().ends_with("replicationctl status --watch"), "{help}");
    assert!(ctl(&replication, &["completion", "bash"]).ended(0).contains("complete -F"));
    assert!(ctl(&replication, &["man"]).ended(0).contains(".TH replicationctl"));
    assert!(ctl(&replication, &["version"]).ended(0).starts_with("replicationctl "));
    replication.publisher.kill();
}

#[test]
fn tables_are_attached_accepted_and_detached_by_pattern_and_named_with_what_they_lack() {
    let replication = Replication::start("ctl_tables");
    let make = "create schema shop; create table shop.orders (id int primary key, v text);
                create table shop.\"Odd.name\" (id int primary key); create table shop.keyless (v text);
                create table shop.item (id int primary key)";
    replication.source().batch_execute(make).unwrap();
    replication.target().batch_execute(make).unwrap();
    let planned = ctl(&replication, &["attach", "shop.*", "--dry-run"]).ended(1);
    assert!(planned.contains("shop.keyless") && planned.contains("it has no primary key"), "{planned}");
    let mut source = replication.source();
    let attached = "select count(*) from replication.attached_table where schema_name = 'shop'";
    assert_eq!(count(&mut source, attached), 0, "a dry run attaches nothing");
    let accepted = ctl(&replication, &["accept", "shop.o*", "shop.item", "--json"]);
    assert_eq!(accepted.json()["tables"].as_array().unwrap().len(), 2, "{}", accepted.result);
    let done = ctl(&replication, &["attach", "shop.o*", "shop.Odd.name", "shop.o?ders", "--json"]).json();
    let outcomes: Vec<&str> =
        done["tables"].as_array().unwrap().iter().map(|table| table["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["attached", "attached"], "{done}");
    assert_eq!(count(&mut source, attached), 2);
    assert!(ctl(&replication, &["attach", "shop.orders"]).ended(0).contains("is attached"));
    let none = ctl(&replication, &["attach", "nowhere.*"]);
    assert!(none.aside.contains("no table of the source is like nowhere.*"), "{}", none.aside);
    none.ended(3);

    source.batch_execute("insert into shop.orders values (1, 'a')").unwrap();
    replication.wait_until_caught_up();
    let tables = ctl(&replication, &["tables", "--all", "--json"]).json();
    let orders =
        tables["attached"].as_array().unwrap().iter().find(|table| table["table_name"] == "shop.orders");
    assert_eq!(orders.unwrap()["waiting"], 0, "{tables}");
    assert!(tables["not_attached"].to_string().contains("shop.keyless"), "{tables}");

    let unasked = ctl(&replication, &["detach", "shop.orders"]);
    assert!(unasked.aside.contains("say --yes"), "{}", unasked.aside);
    unasked.ended(3);
    assert_eq!(count(&mut source, attached), 2, "nothing is detached unasked");
    ctl(&replication, &["detach", "shop.*", "--yes"]).ended(0);
    assert_eq!(count(&mut source, attached), 0);
}

#[test]
fn the_schemas_of_both_sides_are_compared_as_they_are_judged_when_rows_arrive() {
    let replication = start_with_tables(
        "ctl_schema",
        "create table alike (id int primary key, v text); create table apart (id int primary key, v text, w int)",
        &["alike", "apart"],
    );
    ctl(&replication, &["schema", "diff"]).ended(0);
    let mut target = replication.target();
    target
        .batch_execute("alter table apart drop column w, alter column v type varchar(10), add column own int")
        .unwrap();
    let said = ctl(&replication, &["schema", "diff", "--json"]);
    let differences = said.json();
    let found: Vec<(&str, bool)> = differences["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (found["difference"].as_str().unwrap(), found["is_refused"].as_bool().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("the target has no column w", true),
            (
                "column v is text in the source and character varying(10) in the target: values are read from their text",
                false
            ),
            ("only the target has the column own: rows that are new there get its default", false),
        ]
    );
    said.ended(2);
    // The remedy is one.
    let remedy = differences["differences"][0]["remedy"].as_str().unwrap();
    target.batch_execute(remedy).unwrap();
    let said = ctl(&replication, &["schema", "diff"]).ended(1);
    assert!(!said.contains("blocks apply"), "{said}");
    target.batch_execute("drop table alike; alter table apart drop constraint apart_pkey").unwrap();
    let said = ctl(&replication, &["schema", "diff"]).ended(2);
    assert!(said.contains("no such table") && said.contains("ADD PRIMARY KEY (id)"), "{said}");
    let doctor = ctl(&replication, &["doctor"]).ended(2);
    assert!(doctor.contains("B  critical  public.alike: the target has no such table"), "{doctor}");
}

#[test]
fn the_doctor_names_each_trouble_with_what_mends_it() {
    let mut replication = Replication::start("ctl_doctor");
    add_user(&mut replication.source(), "1@x");
    replication.wait_until_caught_up();
    wait_for("nothing is wrong", || (ctl(&replication, &["doctor"]).status == Some(0)).then_some(()));
    replication.source().batch_execute("alter table users disable trigger replication_insert").unwrap();
    assert_eq!(replication.processor.stop().code(), Some(0));
    let said = ctl(&replication, &["doctor", "--json"]);
    let report = said.json();
    let finding = |part: &str| {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|found| found["finding"].as_str().unwrap().contains(part));
        found.unwrap_or_else(|| panic!("{part}: {report}")).clone()
    };
    let trigger = finding("its capture trigger for insert is not enabled always");
    assert_eq!((&trigger["level"], &trigger["side"]), (&"critical".into(), &"A".into()));
    assert_eq!(finding("no inbox-processor works on this database")["remedy"], "-- start inbox-processor");
    said.ended(2);
    replication.source().batch_execute(trigger["remedy"].as_str().unwrap()).unwrap();
    replication.processor.start();
    replication.wait_until_caught_up();
    wait_for("nothing is wrong any more", || {
        (ctl(&replication, &["doctor"]).status == Some(0)).then_some(())
    });
}
