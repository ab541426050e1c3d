//! What cannot be sent: named with its table, key and size, in nobody's way once somebody decides so, and on
//! record. And what only seems too large.

use crate::harness::{PrivateNats, Replication, count, make_in_both, wait_for};
use postgres::Client;
use shared::schema::{Side, migrate};
use uuid::Uuid;

const TABLE: &str = "create table big (id int primary key, v text)";

/// Text that cannot be compressed, of so many megabytes.
fn random_megabytes(megabytes: usize) -> String {
    let line: String = (0..1024 * 1024).map(|_| fastrand::alphanumeric()).collect();
    // Each part begins elsewhere, or it would repeat the one before.
    (0..megabytes).flat_map(|number| [&line[number * 1000..], "-"]).collect()
}

/// Waits until something holds up publishing; returns the event and why.
fn wait_until_held(source: &mut Client) -> (Uuid, String) {
    wait_for("publishing is held up", || {
        let row =
            source.query_one("select held_event, held_error from replication.source_status", &[]).unwrap();
        Some((row.get::<_, Option<Uuid>>(0)?, row.get(1)))
    })
}

fn rows(client: &mut Client) -> Vec<(i32, Option<i32>)> {
    let rows = client.query("select id, length(v) from big order by id", &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn wait_for_rows(target: &mut Client, expected: &[(i32, Option<i32>)]) {
    wait_for(&format!("the target has {expected:?}"), || (rows(target) == expected).then_some(()));
}

fn skip(source: &mut Client, event: Uuid) {
    source.execute("select replication.skip_event($1, 'too large for NATS')", &[&event]).unwrap();
}

#[test]
fn a_row_larger_than_nats_takes_is_named_and_skipped_on_record() {
    let replication = Replication::start("too_large");
    make_in_both(&replication, TABLE);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.execute("select replication.attach('big')", &[]).unwrap();
    let mut transaction = source.transaction().unwrap();
    for (id, v) in [(1, "before".to_owned()), (2, random_megabytes(10)), (3, "behind".to_owned())] {
        transaction.execute("insert into big values ($1, $2)", &[&id, &v]).unwrap();
    }
    transaction.commit().unwrap();
    source.execute("insert into big values (4, 'later')", &[]).unwrap();
    let (event, error) = wait_until_held(&mut source);
    for part in ["the row (2) of public.big", "and the NATS server takes 8388608", "replication.skip_event("]
    {
        assert!(error.contains(part), "{error}");
    }
    let log = replication.publisher.log();
    assert_eq!(
        log.matches("ERROR outbox_publisher::leadership::term: publishing is held up").count(),
        1,
        "{log}"
    );
    wait_for("its health says so", || {
        replication.publisher.health().contains("(2) of public.big").then_some(())
    });
    let refused =
        source.execute("select replication.skip_event($1, 'another')", &[&Uuid::nil()]).unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("does not hold up publishing"), "{refused:?}");
    assert_eq!(rows(&mut target), []);

    skip(&mut source, event);
    wait_for_rows(&mut target, &[(1, Some(6)), (3, Some(6)), (4, Some(5))]);
    replication.wait_until_caught_up();
    replication.publisher.wait_until_healthy();
    let record = "select count(*) from replication.skipped_event where key_text = '(2)' and skipped_by = 'postgres'
                      and table_name = 'public.big' and row_bytes > 10000000 and reason = 'too large for NATS'";
    assert_eq!(count(&mut source, record), 1);
    let open =
        "select count(*) from replication.source_status where held_since is not null or skipped_events <> 1";
    wait_for("nothing is held up", || (count(&mut source, open) == 0).then_some(()));
    let log = replication.processor.log();
    assert!(log.contains(&format!("the source left out event {event} of public.big")), "{log}");
    // The next state of the row that can be sent.
    source.execute("update big set v = 'small' where id = 2", &[]).unwrap();
    wait_for_rows(&mut target, &[(1, Some(6)), (2, Some(5)), (3, Some(6)), (4, Some(5))]);
}

#[test]
fn a_row_that_no_processor_would_take_is_named_before_it_is_sent() {
    let replication = Replication::start("bomb");
    make_in_both(&replication, TABLE);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.execute("select replication.attach('big')", &[]).unwrap();
    source.execute("insert into big values (1, 'before')", &[]).unwrap();
    // Compressed, it would be small.
    source.execute("insert into big values (2, repeat('a', 130 * 1024 * 1024))", &[]).unwrap();
    source.execute("insert into big values (3, 'later')", &[]).unwrap();
    let (event, error) = wait_until_held(&mut source);
    assert!(error.contains("the row (2) of public.big") && error.contains("at most 134217728"), "{error}");
    wait_for_rows(&mut target, &[(1, Some(6))]);
    skip(&mut source, event);
    wait_for_rows(&mut target, &[(1, Some(6)), (3, Some(5))]);
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select messages from replication.quarantine_status"), 0);
    // A tick is the same whenever it is read again.
    let messages = "select count(*) from replication.inbox_batch where payload like '%\"skipped\"%'";
    assert_eq!(count(&mut target, messages), 1);
}

/// A source of the encoding `SQL_ASCII` may have bytes that are no text.
#[test]
fn a_row_that_is_no_text_is_named_and_skipped_on_record() {
    let mut replication = Replication::prepare("no_text", &[]);
    replication
        .source()
        .batch_execute("drop database if exists no_text_ascii with (force)")
        .and_then(|()| {
            replication.source().batch_execute(
                "create database no_text_ascii template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'",
            )
        })
        .unwrap();
    replication.source_is_database("no_text_ascii");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute(TABLE).unwrap();
    migrate(&mut source, Side::Source).unwrap();
    // As they were captured before attach refused such a database.
    source
        .batch_execute(
            r"insert into replication.shape (schema_name, table_name, columns, key_columns, types)
              values ('public', 'big', '{id,v}', '{id}', '{integer,text}');
              insert into replication.outbox_event (shape_id, operation, key_text, row_text)
              select s.id, 'I', '(' || n || ')', '(' || n || ',' || case n when 2 then E'\377' else 'text' end || ')'
              from replication.shape s, generate_series(1, 3) n",
        )
        .unwrap();
    replication.processor.start();
    replication.publisher.start();
    let (event, error) = wait_until_held(&mut source);
    assert!(error.contains("the row (2) of public.big") && error.contains("0xff"), "{error}");
    skip(&mut source, event);
    wait_for_rows(&mut target, &[(1, Some(4)), (3, Some(4))]);
    replication.publisher.wait_until_healthy();
}

/// JetStream acknowledges a larger message than its files can hold, and never delivers it.
#[test]
fn whatever_nats_can_store_arrives_once_its_servers_take_it_and_more_is_named() {
    let mut replication = Replication::prepare("raised", &[("NATS_STREAM_REPLICAS", "1")]);
    let nats = PrivateNats::start(
        "raised",
        "max_payload: 67108864\nmax_pending: 134217728
         accounts { CLIENT { jetstream: enabled, users: [ { user: all, password: password } ] } }",
    );
    nats.use_user(&mut replication.publisher, "all");
    nats.use_user(&mut replication.processor, "all");
    make_in_both(&replication, TABLE);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.execute("select replication.attach('big')", &[]).unwrap();
    replication.start_services();
    for (id, megabytes) in [(1, 31), (2, 33), (3, 1)] {
        source.execute("insert into big values ($1, $2)", &[&id, &random_megabytes(megabytes)]).unwrap();
    }
    let (event, error) = wait_until_held(&mut source);
    assert!(error.contains("the row (2) of public.big") && error.contains("JetStream loses"), "{error}");
    skip(&mut source, event);
    replication.wait_until_caught_up();
    let mut expected = rows(&mut source);
    expected.remove(1);
    assert_eq!(rows(&mut target), expected);
    replication.without_stream();
}

#[test]
fn an_event_of_an_unknown_shape_is_reported_and_read_again_with_pauses() {
    let replication = Replication::start("no_shape");
    let mut source = replication.source();
    source
        .execute(
            "insert into replication.outbox_event (shape_id, operation, key_text) values (4711, 'D', '(1)')",
            &[],
        )
        .unwrap();
    wait_for("it is reported", || {
        let health = replication.publisher.health();
        health.contains("of the shape 4711, which is not in replication.shape").then_some(())
    });
}
