//! Databases of other encodings than UTF8.

use crate::harness::{
    Replication, assert_same, attach, count, create_database_of_bytes, make_in_both, wait_until_blocked,
};
use shared::schema::{Side, migrate};

const TABLE: &str = "create table \"größe\" (id int primary key, \"größe\" text)";

/// Both encodings have these characters.
const WRITES: [&str; 3] = [
    "insert into \"größe\" select i, 'äöü ß ' || i from generate_series(1, 2500) i",
    "update \"größe\" set \"größe\" = 'É' || \"größe\" where id % 3 = 0",
    "delete from \"größe\" where id = 5",
];

fn assert_rows_arrive(name: &str, source: &str, target: &str) {
    let mut replication = Replication::prepare_encoded(name, source, target);
    make_in_both(&replication, TABLE);
    attach(&replication, &["\"größe\""]);
    replication.migrate_target();
    replication.target().batch_execute("select replication.accept('\"größe\"')").unwrap();
    replication.start_services();
    for write in WRITES {
        replication.source().batch_execute(write).unwrap();
    }
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["\"größe\""]), [2499]);
}

#[test]
fn a_latin1_source_is_replicated_into_utf8() {
    assert_rows_arrive("from_latin1", "LATIN1", "UTF8");
}

#[test]
fn a_win1252_source_is_replicated_into_latin1() {
    assert_rows_arrive("from_win1252", "WIN1252", "LATIN1");
}

/// In a row, in a key, and in the name of a table; in a small tick and in a large one.
#[test]
fn a_character_that_the_target_lacks_blocks_and_names_its_row_and_can_be_skipped() {
    let mut replication = Replication::prepare_encoded("lacking_character", "UTF8", "LATIN1");
    make_in_both(&replication, TABLE);
    make_in_both(&replication, "create table named (name text primary key)");
    attach(&replication, &["\"größe\"", "named"]);
    replication.migrate_target();
    let mut target = replication.target();
    target
        .batch_execute("select replication.accept('\"größe\"'); select replication.accept('named')")
        .unwrap();
    replication.start_services();
    let mut source = replication.source();
    let long = "insert into \"größe\" select i, 'ä' from generate_series(100, 12100) i";
    let cases = [
        ("insert into \"größe\" values (1, 'ä漢字😀')", "", "(1) of public.größe"),
        ("insert into named values ('漢')", "", "(<U+6F22>) of public.named"),
        ("insert into \"größe\" values (2, '€')", long, "(2) of public.größe"),
    ];
    for (lacking, after, row) in cases {
        source.batch_execute("insert into \"größe\" values (7, 'é') on conflict (id) do update set \"größe\" = excluded.\"größe\" || 'é'").unwrap();
        source.batch_execute(&format!("begin; {lacking}; {after}; commit")).unwrap();
        source.batch_execute("insert into named select 'ü' || count(*) from named").unwrap();
        let error = wait_until_blocked(&mut target);
        assert!(error.contains(&format!("the row is {row}: ")), "{error}");
        assert!(
            error.contains("the encoding LATIN1 of the target's database lacks a character of it"),
            "{error}"
        );
        // People can read what waits.
        let lacking = "select txid from replication.hold_status where data::text like '%<U+%'";
        let txid: i64 = target.query_one(lacking, &[]).unwrap().get(0);
        target
            .execute("select replication.skip_transaction($1, 'no such character here')", &[&txid])
            .unwrap();
        replication.wait_until_caught_up();
    }
    let skipped = "select count(*) from replication.skipped_transaction where events::text like '%<U+%'";
    assert_eq!(count(&mut target, skipped), 3);
    let rows = target.query_one("select string_agg(\"größe\", ',') from \"größe\"", &[]).unwrap();
    assert_eq!(rows.get::<_, &str>(0), "éé");
    // What the source has is compared as it is.
    assert_eq!(
        count(
            &mut target,
            "select count(*) from replication.inbox where data::text like '%<U+6F22><U+5B57><U+1F600>%'"
        ),
        1
    );
}

#[test]
fn a_database_of_bytes_without_an_encoding_is_refused_on_both_sides() {
    let mut client = create_database_of_bytes("no_encoding");
    for (side, call) in [(Side::Source, "attach"), (Side::Target, "accept")] {
        migrate(&mut client, side).unwrap();
        client.batch_execute("create table if not exists t (id int primary key)").unwrap();
        let error = client.batch_execute(&format!("select replication.{call}('t')")).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains("its database has the encoding SQL_ASCII"), "{error:?}");
        assert!(error.hint().unwrap_or_default().contains("ENCODING 'UTF8'"), "{error:?}");
    }
}
