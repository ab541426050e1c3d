//! Tables of a test's own, beside those of the demo.

use super::Replication;
use postgres::Client;
use std::path::Path;
use std::process::Command;

/// The settings under which rows are compared: each value shown in full.
const EXACT: &str = "set extra_float_digits = 3; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres';
    set bytea_output = 'hex'; set timezone = 'UTC'; set lc_monetary = 'C'; set xmloption = 'content'";

/// Starts a replication with tables of its own, the same on both sides, attached.
pub(crate) fn start_with_tables(name: &str, sql: &str, tables: &[&str]) -> Replication {
    let replication = Replication::start(name);
    make_in_both(&replication, sql);
    attach(&replication, tables);
    replication
}

/// Makes the same tables (types, …) in source and target.
pub(crate) fn make_in_both(replication: &Replication, sql: &str) {
    replication.source().batch_execute(sql).unwrap();
    replication.target().batch_execute(sql).unwrap();
}

/// Attaches tables at the source.
pub(crate) fn attach(replication: &Replication, tables: &[&str]) {
    let mut source = replication.source();
    for table in tables {
        source.execute("select replication.attach($1::text::regclass)", &[table]).unwrap();
    }
}

/// The columns that both sides have, in the order of their names.
fn common_columns(replication: &Replication, table: &str) -> String {
    let columns = |client: &mut Client| -> Vec<String> {
        let rows = client
            .query(
                "select quote_ident(attname) from pg_attribute
                 where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attname",
                &[&table],
            )
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    let theirs = columns(&mut replication.target());
    let common: Vec<String> =
        columns(&mut replication.source()).into_iter().filter(|column| theirs.contains(column)).collect();
    common.iter().map(|column| format!("t.{column}::text")).collect::<Vec<_>>().join(", ")
}

/// All rows of a table, each column's text, sorted.
fn rows(client: &mut Client, table: &str, columns: &str) -> Vec<String> {
    client.batch_execute(EXACT).unwrap();
    let rows = client.query(&format!("select row({columns})::text from {table} t order by 1"), &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// How many rows the table has, if it is the same in source and target: every value of every column that
/// both have.
pub(crate) fn compare(replication: &Replication, table: &str) -> Result<usize, String> {
    let columns = common_columns(replication, table);
    let ours = rows(&mut replication.source(), table, &columns);
    let theirs = rows(&mut replication.target(), table, &columns);
    if ours == theirs {
        return Ok(ours.len());
    }
    let difference = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
    Err(format!(
        "{table} differs: {} rows in the source, {} in the target; first difference: {difference:#?}",
        ours.len(),
        theirs.len()
    ))
}

/// Fails unless the tables are the same in source and target. Returns how many rows each has.
pub(crate) fn assert_same(replication: &Replication, tables: &[&str]) -> Vec<usize> {
    tables
        .iter()
        .map(|table| compare(replication, table).unwrap_or_else(|difference| panic!("{difference}")))
        .collect()
}

/// What the source says about the capture of its tables.
pub(crate) fn capture_problems(source: &mut Client) -> Vec<String> {
    let rows = source.query("select problem from replication.capture_problem order by 1", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Runs compare-replication.sh for a table: its exit status and its output.
pub(crate) fn compare_by_script(replication: &Replication, table: &str) -> (Option<i32>, String) {
    compare_by_script_at(&replication.source_url, replication, table)
}

/// The same, with this URL of the source.
pub(crate) fn compare_by_script_at(
    source: &str,
    replication: &Replication,
    table: &str,
) -> (Option<i32>, String) {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../compare-replication.sh"))
        .arg(table)
        .env("SOURCE_DATABASE_URL", source)
        .env("TARGET_DATABASE_URL", &replication.target_url)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}
