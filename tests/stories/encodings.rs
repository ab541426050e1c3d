//! Databases of other encodings than UTF8.

use crate::harness::{Replication, assert_same, attach, create_database_of_bytes, make_in_both};
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
