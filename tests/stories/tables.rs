//! Tables that change while they are replicated.

use crate::harness::{
    Replication, assert_equal, assert_same, attach, count, make_in_both, start_with_tables, wait_for,
    wait_until_blocked,
};

#[test]
fn alter_table_is_followed_between_two_rows() {
    let replication = Replication::start("alter_table");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add column phone text, alter column name drop not null").unwrap();
    source
        .batch_execute(
            "begin;
             insert into users (name, email) values ('Before', 'before@x');
             alter table users add column phone text;
             insert into users (name, email, phone) values ('After', 'after@x', '+47 (0) 1, \"2\"');
             commit",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));

    // The same number of columns, others: a row read by the old list would end up in the wrong columns.
    target.batch_execute("alter table users rename column phone to telephone").unwrap();
    source
        .batch_execute(
            "alter table users rename column phone to telephone;
             update users set telephone = '1' where email = 'before@x'",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
}

/// In memory, in a large tick as it arrives, and in one that is applied from the inbox.
#[test]
fn what_goes_behind_an_alter_table_of_one_tick_stays_gone() {
    let replication = Replication::start("altered_and_gone");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add column phone text").unwrap();
    let swap = "update users set email = 'moving' where name = 'U1'; update users set email = 'u1@x' where name = 'U2';
                update users set email = 'u2@x' where name = 'U1';";
    for (filling, moving) in [(10, ""), (20_000, ""), (20_000, swap)] {
        source
            .batch_execute(
                "insert into users (name, email) values ('0', 'gone@x'), ('0', 'often@x');
                 insert into users (name, email) select 'U' || i, 'u' || i || '@x' from generate_series(1, 2) i",
            )
            .unwrap();
        replication.wait_until_caught_up();
        source
            .batch_execute(&format!(
                "begin;
                 insert into users (name, email) select 'F', i || '@x' from generate_series(1, {filling}) i;
                 {moving}
                 update users set name = '1' where name = '0';
                 alter table users add column phone text;
                 delete from users where email = 'gone@x';
                 update users set name = '2' where email = 'often@x';
                 alter table users drop column phone;
                 update users set name = '3' where email = 'often@x';
                 commit"
            ))
            .unwrap();
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["users"]), [filling + 3], "after {filling} rows {moving}");
        source
            .batch_execute(&format!(
                "begin;
                 insert into users (name, email) select 'G', 'g' || i || '@x' from generate_series(1, {filling}) i;
                 alter table users add column phone text;
                 truncate users cascade;
                 insert into users (name, email) values ('After', 'after@x');
                 alter table users drop column phone;
                 commit;
                 delete from users"
            ))
            .unwrap();
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["users"]), [0], "after {filling} rows {moving}");
    }
    let log = replication.processor.log();
    assert_eq!(
        log.matches("the quick apply was refused; applying from the inbox by staging").count(),
        1,
        "{log}"
    );
}

/// In memory and by staging, with a target that is altered before, and one that is altered once it is
/// blocked.
#[test]
fn only_the_last_state_of_a_key_has_to_fit_where_one_transaction_renames_and_drops_columns() {
    const CASES: [(&str, i32, bool); 4] = [
        ("small_before", 10, true),
        ("small_blocked", 10, false),
        ("large_before", 20_000, true),
        ("large_blocked", 20_000, false),
    ];
    let create =
        CASES.map(|(table, ..)| format!("create table {table} (id int primary key, v text, h text);"));
    let sql = format!("create table filling (id int primary key); {}", create.concat());
    let tables: Vec<&str> = CASES.iter().map(|(table, ..)| *table).chain(["filling"]).collect();
    let replication = start_with_tables("renamed_and_dropped", &sql, &tables);
    let (mut source, mut target) = (replication.source(), replication.target());
    for (table, filling, is_altered_before) in CASES {
        source.batch_execute(&format!("insert into {table} values (1, 'a', 'h'), (2, 'b', 'h')")).unwrap();
        replication.wait_until_caught_up();
        let alter = format!("alter table {table} rename v to w; alter table {table} drop column h");
        if is_altered_before {
            target.batch_execute(&alter).unwrap();
        }
        source
            .batch_execute(&format!(
                "begin;
                 insert into {table} values (3, 'c', 'h'), (4, 'd', 'h');
                 update {table} set v = v || '1' where id = 1;
                 delete from filling;
                 insert into filling select generate_series(1, {filling});
                 alter table {table} rename v to w;
                 update {table} set w = w || '2';
                 alter table {table} drop column h;
                 delete from {table} where id in (1, 3);
                 update {table} set w = w || '3';
                 commit"
            ))
            .unwrap();
        if !is_altered_before {
            let error = wait_until_blocked(&mut target);
            assert!(error.contains("has no column \"w\""), "{error}");
            target.batch_execute(&alter).unwrap();
        }
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &[table, "filling"])[0], 2, "{table}");
    }
}

#[test]
fn a_column_of_the_target_that_is_widened_takes_values_as_they_are_from_then_on() {
    let replication = Replication::start("widened");
    let (mut source, mut target) = (replication.source(), replication.target());
    source
        .batch_execute("create table measured (id int primary key, value double precision, code text)")
        .unwrap();
    target.batch_execute("create table measured (id int primary key, value real, code int)").unwrap();
    attach(&replication, &["measured"]);
    source.execute("insert into measured values (1, 0.1, '7')", &[]).unwrap();
    replication.wait_until_caught_up();
    target
        .batch_execute(
            "alter table measured alter column value type double precision, alter column code type text",
        )
        .unwrap();
    source.execute("insert into measured values (2, 0.1, '007')", &[]).unwrap();
    replication.wait_until_caught_up();
    let as_it_is = "select count(*) from measured where id = 2 and value = 0.1::float8 and code = '007'";
    assert_eq!(count(&mut target, as_it_is), 1);
}

#[test]
fn a_large_table_of_the_target_is_emptied_part_by_part_by_one_transaction() {
    let replication = Replication::start("emptied");
    let (mut source, mut target) = (replication.source(), replication.target());
    source
        .batch_execute("create table plain (id int primary key, filling text); create table parted (like plain including all)")
        .unwrap();
    // A row of either fills a block.
    target
        .batch_execute(
            "create table plain (id int primary key, filling text);
             alter table plain alter column filling set storage plain;
             create table parted (like plain including all) partition by range (id);
             create table parted_1 partition of parted for values from (0) to (6000);
             create table parted_2 partition of parted for values from (6000) to (9000);
             insert into plain select i, repeat('x', 7000) from generate_series(1, 4200) i;
             insert into parted select i + 100, repeat('x', 7000) from generate_series(1, 6100) i;
             create table emptying (name text, remaining bigint);
             create function note() returns trigger language plpgsql as $$begin
                 execute format('insert into public.emptying select %L, count(*) from public.%1$I', tg_table_name);
                 return null;
             end$$;
             create trigger note after delete on plain execute function note();
             alter table plain enable always trigger note;
             create trigger note after delete on parted execute function note();
             alter table parted enable always trigger note",
        )
        .unwrap();
    attach(&replication, &["plain", "parted"]);
    // Somebody moves a row from the last blocks to the first ones, and takes their time.
    target.batch_execute("delete from plain where id <= 100").unwrap();
    target.batch_execute("vacuum plain").unwrap();
    target.batch_execute("truncate emptying").unwrap();
    let mut somebody = replication.target();
    let mut moving = somebody.transaction().unwrap();
    let moved = moving
        .query_one("update plain set filling = filling || 'y' where id = 4200 returning (ctid::text::point)[0] < 200", &[])
        .unwrap();
    assert!(moved.get::<_, bool>(0));
    source.batch_execute("truncate plain; truncate parted; insert into plain values (1, 'new'); insert into parted values (7000, 'new')").unwrap();
    wait_for("the processor waits for them", || {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        (count(&mut target, waiting) > 0).then_some(())
    });
    moving.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["plain", "parted"]), [1, 1]);
    for table in ["plain", "parted"] {
        let statements = count(&mut target, &format!("select count(*) from emptying where name = '{table}'"));
        assert!(statements > 1, "{table} was emptied by {statements} statements");
        assert_eq!(
            count(&mut target, &format!("select min(remaining) from emptying where name = '{table}'")),
            0
        );
    }
}

#[test]
fn a_column_that_the_target_lacks_holds_it_until_it_is_added() {
    let replication = Replication::start("column_lacking");
    let (mut source, mut target) = (replication.source(), replication.target());
    source
        .batch_execute(
            "alter table users add column phone text;
             insert into users (name, email, phone) values ('N', 'n@x', '1')",
        )
        .unwrap();
    let error = wait_until_blocked(&mut target);
    assert!(error.contains("has no column \"phone\""), "{error}");
    assert_eq!(count(&mut target, "select count(*) from users"), 0);
    target.batch_execute("alter table users add column phone text").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
}

#[test]
fn a_target_table_that_was_changed_and_mended_meanwhile_is_looked_at_anew() {
    let replication = Replication::start("target_changed");
    let (mut source, mut target) = (replication.source(), replication.target());
    source.execute("insert into users (name, email) values ('Known', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    target.batch_execute("alter table users drop column status").unwrap();
    source.execute("insert into users (name, email) values ('Held', '2@x')", &[]).unwrap();
    wait_for("apply is blocked", || {
        let held = "select count(*) from replication.target_status where held_error like '%status%'";
        (count(&mut target, held) == 1).then_some(())
    });
    // Another type and another place than before; the rows that were there have lost their values.
    target.batch_execute("alter table users add column status varchar(20)").unwrap();
    source.execute("update users set status = 'checked'", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select count(*) from users where status = 'checked'"), 2);
}

#[test]
fn a_column_that_goes_with_its_type_is_followed() {
    let replication = Replication::start("type_dropped");
    let tables = "create type mood as enum ('good', 'bad'); create domain code as int;
                  create table felt (id int primary key, m mood, v text); create table coded (id code primary key)";
    make_in_both(&replication, tables);
    attach(&replication, &["felt", "coded"]);
    let mut source = replication.source();
    source.batch_execute("insert into felt values (1, 'good', 'a')").unwrap();
    replication.wait_until_caught_up();
    source
        .batch_execute(
            "begin; update felt set v = 'b'; drop type mood cascade; insert into felt values (2, 'c'); commit;
             update felt set v = v || '!'",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["felt"]), [2]);
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    // With its key it cannot go.
    let refused = source.batch_execute("drop domain code cascade").unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(
        refused.message().contains("the replicated table public.coded cannot be changed so"),
        "{refused:?}"
    );
    // What nobody replicates goes as ever, and so does all of it.
    source
        .batch_execute(
            "create table other (id int, c code); drop table other; drop schema if exists none cascade",
        )
        .unwrap();
}

#[test]
fn rows_are_found_by_their_key_however_much_their_table_has_grown() {
    let mut replication = Replication::start("grown");
    make_in_both(
        &replication,
        "create table grown (id int primary key, v text) with (autovacuum_enabled = off)",
    );
    attach(&replication, &["grown"]);
    replication.target().batch_execute("alter table grown add column own text").unwrap();
    let mut source = replication.source();
    source.batch_execute("insert into grown select i, '' from generate_series(1, 10) i").unwrap();
    let mut change_often = |replication: &Replication| {
        for id in 1..=10 {
            source
                .batch_execute(&format!("update grown set v = v || '.' where id = {id}; insert into grown values (-{id}); delete from grown where id < 0"))
                .unwrap();
            replication.wait_until_caught_up();
        }
    };
    // PostgreSQL decides how rows of a small table are found, and stays with it.
    change_often(&replication);
    replication
        .source()
        .batch_execute("insert into grown select i, repeat('x', 100) from generate_series(11, 50000) i")
        .unwrap();
    change_often(&replication);
    // Its session tells what it has read when it ends, at the latest.
    replication.processor.stop();
    let read = wait_for("the statistics have its inserts", || {
        let row = replication
            .target()
            .query_one("select n_tup_ins, seq_tup_read from pg_stat_user_tables where relname = 'grown'", &[])
            .unwrap();
        (row.get::<_, i64>(0) >= 50_000).then(|| row.get::<_, i64>(1))
    });
    assert!(read < 100_000, "{read} rows were read to find those with a key");
}
