//! Keys that are equal on one side and not on the other.

use crate::harness::{Replication, assert_same, attach, count, have_icu, make_in_both, wait_until_blocked};

/// The table `keyed`, of which the key has another type on each side.
fn make_keyed(replication: &Replication, source_key: &str, target_key: &str) {
    let create = |key: &str| format!("create table keyed (k {key} primary key, v text)");
    replication.source().batch_execute(&create(source_key)).unwrap();
    replication.target().batch_execute(&create(target_key)).unwrap();
    attach(replication, &["keyed"]);
}

const CITEXT: &str = "create extension citext";
const IGNORING_CASE: &str =
    "create collation ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";

const IGNORING: &str = "text collate ignoring_case";

#[test]
fn a_key_whose_type_tells_other_keys_apart_holds_until_it_is_the_sources() {
    let cases = [
        // Different in the source, equal in the target.
        ("text", "citext", "insert into keyed values ('a', '1'), ('A', '2')", 2),
        (
            "numeric",
            "numeric(10, 2)",
            "insert into keyed values (1.005, '1'), (3.333, '2'); delete from keyed where k = 1.005",
            1,
        ),
        (
            "timestamptz",
            "timestamptz(0)",
            "insert into keyed values ('2024-01-01 00:00:00.1', '1'), ('2024-01-01 00:00:00.2', '2')",
            2,
        ),
        // Equal in the source, different in the target.
        ("citext", "text", "insert into keyed values ('ann', '1'); update keyed set k = 'Ann'", 1),
        ("numeric", "text", "insert into keyed values (1.0, '1'); update keyed set k = 1.00", 1),
        ("text", "text collate ignoring_case", "insert into keyed values ('a', '1'), ('A', '2')", 2),
    ];
    for (number, (source_key, target_key, change, rows)) in cases.into_iter().enumerate() {
        let replication = Replication::start(&format!("key_type_{number}"));
        let collates = target_key.contains("collate");
        if collates && !have_icu(&replication, "a key whose collation differs") {
            continue;
        }
        make_in_both(&replication, if collates { IGNORING_CASE } else { CITEXT });
        make_keyed(&replication, source_key, target_key);
        replication.source().batch_execute(change).unwrap();
        let mut target = replication.target();
        let error = wait_until_blocked(&mut target);
        let what = if collates { "collation" } else { "type" };
        let begin = format!(
            r#"the key of the target's table "public"."keyed" has another {what} than in the source: "k" "#
        );
        assert!(error.contains(&begin), "{error}");
        assert_eq!(count(&mut target, "select count(*) from keyed"), 0);
        let (_, remedy) = error.split_once("run: ").unwrap();
        target.batch_execute(remedy.split_once("; --").unwrap().0).unwrap();
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["keyed"]), [rows], "{source_key}");
    }
}

#[test]
fn a_key_of_a_wider_type_takes_the_same_rows() {
    let replication = Replication::start("key_wider");
    let common = "create table wide (a {a}, b {b}, c {c}, d {d}, v text, primary key (a, b, c, d))";
    let create = |types: [&str; 4]| {
        ["{a}", "{b}", "{c}", "{d}"]
            .iter()
            .zip(types)
            .fold(common.to_owned(), |sql, (place, name)| sql.replace(place, name))
    };
    replication.source().batch_execute(&create(["smallint", "int", "varchar(5)", "numeric(4, 1)"])).unwrap();
    replication.target().batch_execute(&create(["int", "numeric", "text", "numeric"])).unwrap();
    attach(&replication, &["wide"]);
    replication
        .source()
        .batch_execute("insert into wide select i, i, i, i, '' from generate_series(1, 9) i; update wide set v = 'x', c = 'c' where a < 5; delete from wide where d > 7.5")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["wide"]), [7]);
}

/// Capture tells keys apart by their text, so it has one event for each.
#[test]
fn a_row_whose_key_is_spelt_otherwise_stays_where_the_target_takes_both_for_one_key() {
    let replication = Replication::start("key_spelt");
    if !have_icu(&replication, "keys that are spelt in several ways") {
        return;
    }
    make_in_both(&replication, IGNORING_CASE);
    make_keyed(&replication, IGNORING, IGNORING);
    let mut source = replication.source();
    let words = ["ann", "zed", "Bob", "eva", "Kim", "lou"];
    for word in words {
        source.execute("insert into keyed values ($1, '')", &[&word]).unwrap();
    }
    replication.wait_until_caught_up();
    let respell =
        "update keyed set k = case when k = lower(k) then initcap(k) else lower(k) end where length(k) = 3";
    for _ in 0..2 {
        source.batch_execute(respell).unwrap();
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["keyed"]), [words.len()]);
        for word in words {
            source.execute("update keyed set k = upper(k) where lower(k) = lower($1)", &[&word]).unwrap();
            source.execute("update keyed set k = lower(k) where lower(k) = lower($1)", &[&word]).unwrap();
        }
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["keyed"]), [words.len()]);
    }
    // In a large tick, whose events are applied in parts.
    source
        .batch_execute("insert into keyed select 'many ' || i, '' from generate_series(1, 12000) i; update keyed set k = upper(k)")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["keyed"]), [words.len() + 12_000]);
    // What is deleted is deleted, however its key was spelt before.
    source
        .batch_execute("begin; update keyed set k = lower(k); delete from keyed where k < 'm'; commit")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["keyed"]), [12_001]);
    let drift = "select deletes_missing + inserts_overwritten from replication.target_drift";
    assert_eq!(count(&mut replication.target(), drift), 0);
}
