//! Tables that are named, keyed or governed otherwise than most: nothing in the SQL of the replication may
//! depend on that.

use crate::harness::{assert_same, make_in_both, start_with_tables};

/// Names that the SQL of the replication uses itself, keywords, and whatever else PostgreSQL takes as a name.
const COLUMNS: [&str; 24] = [
    "t",
    "k",
    "kept",
    "own",
    "r",
    "s",
    "n",
    "number",
    "part_1",
    "excluded",
    "shape",
    "operation",
    "key_text",
    "row_text",
    "new_rows",
    "old_rows",
    "select",
    "Mixed Case",
    "dot.ted",
    "t.dotted",
    "quo\"te",
    "it's",
    "größe",
    "a_name_of_sixty-three_bytes_is_as_long_as_postgresql_allows____",
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Unique values swap, so that rows are deleted and inserted again and B's own column is kept by key.
#[test]
fn columns_may_have_any_name_also_those_that_our_own_sql_uses() {
    let columns: Vec<String> = COLUMNS.iter().map(|name| format!("{} text", quoted(name))).collect();
    let columns = columns.join(", ");
    let table = "\"k\".\"t\"";
    let replication = start_with_tables(
        "names",
        &format!(
            "create schema k;
             create table {table} (\"k.no\" int, \"t.no\" numeric, u int unique, {columns}, primary key (\"k.no\", \"t.no\"))"
        ),
        &[table],
    );
    let mut target = replication.target();
    target.batch_execute(&format!("alter table {table} add column note text not null default 'B'")).unwrap();
    let mut source = replication.source();
    source
        .batch_execute(&format!("insert into {table} select i, i, i from generate_series(1, 5) i"))
        .unwrap();
    replication.wait_until_caught_up();
    target.batch_execute(&format!("update {table} set note = 'mine'")).unwrap();
    let values: Vec<String> = COLUMNS.iter().map(|name| format!("{} = 'v'", quoted(name))).collect();
    source
        .batch_execute(&format!(
            "begin;
             update {table} set u = 99, {} where u = 1;
             update {table} set u = 1 where u = 2;
             update {table} set u = 2 where u = 99;
             delete from {table} where u = 3;
             commit",
            values.join(", ")
        ))
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &[table]), [4]);
    let kept: i64 =
        target.query_one(&format!("select count(*) from {table} where note = 'mine'"), &[]).unwrap().get(0);
    assert_eq!(kept, 4, "B's own column");
}

#[test]
fn the_operators_of_a_key_may_be_in_a_schema_of_any_name() {
    let table = "cust";
    let replication = start_with_tables(
        "operators",
        "create schema ext; create extension citext schema ext;
         create table cust (c ext.citext primary key, u int unique, v text)",
        &[table],
    );
    let mut target = replication.target();
    target.batch_execute("alter table cust add column note text not null default 'n'").unwrap();
    let mut source = replication.source();
    source.batch_execute("insert into cust values ('Ann', 10, 'a'), ('Bob', 20, 'b')").unwrap();
    replication.wait_until_caught_up();
    source
        .batch_execute(
            "set search_path = public, ext;
             begin; update cust set u = 99 where c = 'ann'; update cust set u = 10 where c = 'bob';
             update cust set u = 20 where c = 'ann'; commit",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &[table]), [2]);
}

#[test]
fn a_primary_key_may_include_other_columns_and_gain_or_lose_them() {
    let tables = ["born", "turned"];
    let replication = start_with_tables(
        "including",
        "create table born (id int, v text, w int, primary key (id) include (v));
         create table turned (id int primary key, v text)",
        &tables,
    );
    let mut source = replication.source();
    let turn = "alter table turned drop constraint turned_pkey, add primary key (id) include (v)";
    make_in_both(&replication, turn);
    let write = "insert into born select i, 'v', i from generate_series(1, 4) i;
                 insert into turned select i, 'v' from generate_series(1, 4) i;
                 update born set v = 'changed' where id = 1; update turned set v = 'changed' where id = 1;
                 delete from born where id = 2; update turned set id = 22 where id = 2";
    source.batch_execute(write).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &tables), [3, 4]);
    make_in_both(&replication, "alter table turned add column c int");
    source.batch_execute("update turned set c = id").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &tables), [3, 4]);
}

/// PostgreSQL takes no ON CONFLICT on a table with such a rule, also while the rule is disabled.
#[test]
fn rules_of_the_application_for_insert_and_update_are_no_obstacle() {
    let replication = start_with_tables(
        "rules",
        "create table ruled (id int primary key, v text);
         create table ruled_log (n bigint generated always as identity primary key, id int, v text);
         create rule noted as on update to ruled do also insert into ruled_log (id, v) values (new.id, new.v)",
        &["ruled", "ruled_log"],
    );
    let mut source = replication.source();
    source.batch_execute("insert into ruled values (1, 'a'), (2, 'b')").unwrap();
    source
        .batch_execute("update ruled set v = 'changed' where id = 1; delete from ruled where id = 2")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["ruled", "ruled_log"]), [1, 1]);
}
