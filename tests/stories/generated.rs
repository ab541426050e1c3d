//! The SQL that `replication.attach` writes for a table, as a file that people read.

use crate::harness::Replication;
use postgres::Client;
use shared::config::Environment;

/// A table with every kind of column that the generated text differs for.
const SAMPLE: &str =
    "create table sample (id int, name text, at timestamptz, ratio float8, note xml, primary key (name, id))";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schema/source/generated-example.sql");

/// What was written for the table, with "ID" in place of its number.
fn written(source: &mut Client) -> String {
    let definitions = source
        .query(
            "select pg_get_functiondef(p.oid) || ';' from pg_proc p
             where p.oid in (select to_regproc(f) from replication.capture_function_names('sample') f)
             union all
             select pg_get_triggerdef(t.oid) || ';' from pg_trigger t where t.tgrelid = 'sample'::regclass
             order by 1",
            &[],
        )
        .unwrap();
    let mut text = format!(
        "-- What replication.attach writes for this table, in full. It is the third that is attached. A test compares; to renew\n\
         -- it, run that test with RENEW_GENERATED=yes: generated::the_capture_of_a_sample_table_is_written_as_the_file_shows\n\n\
         -- {SAMPLE};\n"
    );
    for definition in &definitions {
        let definition: String = definition.get(0);
        text.push('\n');
        for line in definition.trim_end().lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

#[test]
fn the_capture_of_a_sample_table_is_written_as_the_file_shows() {
    let replication = Replication::prepare("generated", &[]);
    let mut source = replication.source();
    source.batch_execute(SAMPLE).unwrap();
    source.execute("select replication.attach('sample')", &[]).unwrap();
    let written = written(&mut source);
    if Environment::read().optional("RENEW_GENERATED").is_some() {
        std::fs::write(FILE, &written).unwrap();
    }
    let file = std::fs::read_to_string(FILE).unwrap();
    assert!(
        file == written,
        "{FILE} differs from what is written now; if that is meant, renew it as it says:\n{written}"
    );
    replication.without_stream();
}

#[test]
fn every_part_of_the_capture_is_a_function_that_can_be_called_by_itself() {
    let replication = Replication::prepare("generated_parts", &[]);
    let mut source = replication.source();
    source
        .batch_execute("create table odd (\"a key\" int, b text, primary key (b, \"a key\")); select replication.attach('odd')")
        .unwrap();
    let shape = "(select shape_id from replication.attached where relation = 'odd'::regclass)";
    for (part, expected) in [
        ("capture_source({shape})", "public.odd"),
        ("capture_key_columns({shape}, 'k')", "k.b, k.\"a key\""),
        (
            "capture_events({shape}, 'I', 'ROW', 'ROWS')",
            "insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'I', \
             row(k.b, k.\"a key\")::pg_catalog.text, ROW from ROWS k;",
        ),
        (
            "capture_present_row('odd', {shape})",
            "(select row(t.\"a key\", t.b)::pg_catalog.text from public.odd t where t.b operator(pg_catalog.=) k.b and \
             t.\"a key\" operator(pg_catalog.=) k.\"a key\" limit 1)",
        ),
        ("capture_settings('odd', {shape}, '')", ""),
        (
            "capture_settings('users', (select shape_id from replication.attached where relation = 'users'::regclass), '')",
            "set datestyle = 'ISO, YMD'",
        ),
    ] {
        let call = format!("select replication.{}", part.replace("{shape}", shape));
        assert_eq!(source.query_one(&call, &[]).unwrap().get::<_, String>(0), expected, "{call}");
    }
    replication.without_stream();
}
