//! A source that was dumped and restored, so that everything in it has another oid.

use crate::harness::{Replication, assert_same, compare_by_script, count, make_in_both, start_with_tables};
use postgres::Client;

const TABLES: &str =
    "create table t (id int primary key, v text); create table u (id int primary key, v text)";

/// The numbers of capture triggers of each table.
fn triggers(source: &mut Client, table: &str) -> i64 {
    count(
        source,
        &format!(
            "select count(*) from pg_trigger where tgrelid = '{table}'::regclass and tgname like 'replication%'"
        ),
    )
}

/// Detaches one table of two, with DDL before it, and writes to both.
fn assert_that_detaching_concerns_one_table(replication: &Replication) {
    let mut source = replication.source();
    make_in_both(replication, "alter table t add column w int");
    source.batch_execute("insert into t values (2, 'after', 2); insert into u values (2, 'after')").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(replication, &["t", "u"]), [2, 2]);
    source.batch_execute("select replication.detach('u'); insert into u values (3, 'detached')").unwrap();
    assert_eq!([triggers(&mut source, "t"), triggers(&mut source, "u")], [4, 0]);
    source.batch_execute("update t set v = 'still captured'; select replication.resend('t')").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(replication, &["t"]), [2]);
    assert_eq!(count(&mut replication.target(), "select count(*) from u"), 2);
    source.batch_execute("select replication.attach('u')").unwrap();
    assert_eq!(triggers(&mut source, "u"), 4);
}

#[test]
fn a_source_that_was_dumped_and_restored_is_captured_by_the_functions_of_its_own_tables() {
    let mut replication = start_with_tables("restored", TABLES, &["t", "u"]);
    let mut source = replication.source();
    source.batch_execute("insert into t values (1, 'before'); insert into u values (1, 'before')").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(replication.publisher.stop().code(), Some(0));
    replication.dump_and_restore_source();
    replication.publisher.start();
    // What was written between the dump and the restore is not known.
    let mut source = replication.source();
    let told =
        "select count(*) from replication.capture_problem where problem like 'it was restored from a dump%'";
    assert_eq!(count(&mut source, told), 4);
    for table in ["t", "u", "payments"] {
        let (status, output) = compare_by_script(&replication, table);
        assert_eq!(status, Some(0), "{output}");
    }
    source.batch_execute("select replication.resend('users')").unwrap();
    assert_eq!(count(&mut source, told), 0);
    assert_that_detaching_concerns_one_table(&replication);
}

/// Names the capture functions by the oids of their tables, as older versions did.
const NAMED_BY_OIDS: &str = "
    drop event trigger replication_follow_ddl; drop event trigger replication_follow_drop;
    do $$declare f record; begin
        for f in select a.relation::oid as oid, a.id, kind
                 from replication.attached a, unnest(array['capture_insert_', 'capture_', 'capture_rows_']) kind loop
            -- Older ones recorded no snapshots.
            execute replace(pg_get_functiondef(format('replication.%I()', f.kind || f.id)::regprocedure),
                            'insert into replication.recorded_snapshot default values', 'null');
            execute format('alter function replication.%I() rename to %I', f.kind || f.id, f.kind || f.oid);
        end loop;
    end$$;
    alter table replication.attached drop column id cascade;
    delete from replication.schema_version where side = 'source' and version >= 60; drop table replication.capture_hole, replication.recorded_snapshot, replication.skipped_event, replication.moved_key, replication.heard_target, replication.verified_table, replication.verified_difference cascade;
    alter table replication.shape drop column key_collations cascade;
    alter table replication.progress drop column held_since cascade, drop column held_error cascade,
        drop column held_event cascade, drop column held_txid cascade;
    alter table replication.attached drop column sent_oid cascade, drop column cascade cascade;
    insert into replication.schema_version (side, version, name) values ('source', 59, 'older');
    update replication.repeatable set checksum = 'older' where side = 'source'";

#[test]
fn tables_whose_capture_was_named_by_their_oids_are_taken_over_without_a_lock_also_after_a_restore() {
    let mut replication = start_with_tables("restored_older", TABLES, &["t", "u"]);
    let mut source = replication.source();
    source.batch_execute("insert into t values (1, 'before'); insert into u values (1, 'before')").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(replication.publisher.stop().code(), Some(0));
    source.batch_execute(NAMED_BY_OIDS).unwrap();
    replication.dump_and_restore_source();
    let mut writer = replication.source();
    let mut open = writer.transaction().unwrap();
    open.batch_execute("lock table t, u in row exclusive mode").unwrap();
    // A service that starts takes them over, while transactions that write are open.
    replication.publisher.start();
    // As with each new version; it waits for them as little.
    replication.migrate_source();
    replication.publisher.wait_until_healthy();
    open.commit().unwrap();
    let mut source = replication.source();
    let by_oid = "select count(*) from pg_proc
                  where pronamespace = 'replication'::regnamespace and proname ~ '^capture_.*[0-9]{5}$'";
    assert_eq!(count(&mut source, by_oid), 0);
    let stale = "select count(*) from replication.attached a, replication.stale_capture_triggers(a.relation)";
    assert_eq!(count(&mut source, stale), 0);
    assert_that_detaching_concerns_one_table(&replication);
}
