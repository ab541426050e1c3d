//! What triggers of the target see that are made for replication (ENABLE REPLICA or ENABLE ALWAYS): the table of
//! docs/adopting.md, line by line.

use crate::harness::{Replication, assert_same, count, start_with_tables as start};
use postgres::Client;

/// Notes each row that a trigger sees, and each statement.
const NOTING: &str = "
    create table public.seen (n bigint generated always as identity, what text);
    create function public.see() returns trigger language plpgsql as $$begin
        if tg_level = 'STATEMENT' then
            insert into public.seen (what) values (lower(tg_op));
        else
            insert into public.seen (what)
            select tg_op || ' ' || array_to_string(array(select value from json_each_text(to_json(coalesce(new, old)))), ' ', '-');
        end if;
        return null;
    end$$;
    create procedure public.watch(watched regclass) language plpgsql as $$begin
        execute format(
            'create trigger see after insert or update or delete on %1$s for each row execute function public.see();
             create trigger see_all after insert or update or delete or truncate on %1$s execute function public.see();
             alter table %1$s enable always trigger see, enable replica trigger see_all', watched);
    end$$";

/// What triggers have seen since the last call: rows, and apart from them the kinds of statements.
fn seen(replication: &Replication) -> (String, String) {
    let mut target = replication.target();
    let row = target
        .query_one(
            "with gone as (delete from public.seen returning what)
             select coalesce(string_agg(what, ', ' order by what) filter (where what <> lower(what)), ''),
                    coalesce(string_agg(distinct what, ', ') filter (where what = lower(what)), '') from gone",
            &[],
        )
        .unwrap();
    (row.get(0), row.get(1))
}

/// Runs the transaction in the source; what it does must be seen as `rows`, by statements of these kinds.
fn see(replication: &Replication, transaction: &str, rows: &str, statements: &str) {
    replication.source().batch_execute(&format!("begin; {transaction}; commit")).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(seen(replication), (rows.to_owned(), statements.to_owned()), "{transaction}");
}

#[test]
fn triggers_of_the_target_see_what_the_documents_say() {
    let tables = "create table noted (id int primary key, v text, u text unique)";
    let replication = start("triggers_see", tables, &["noted"]);
    let mut target = replication.target();
    target.batch_execute(&format!("{NOTING}; call public.watch('noted')")).unwrap();
    let lines = [
        ("insert into noted values (1, 'a', 'A'), (2, 'b', 'B')", "INSERT 1 a A, INSERT 2 b B", "insert"),
        ("update noted set v = 'c' where id = 1", "UPDATE 1 c A", "update"),
        ("delete from noted where id = 2", "DELETE 2 b B", "delete"),
        // Several changes of one row.
        ("update noted set v = 'd'; update noted set v = 'e'", "UPDATE 1 e A", "update"),
        (
            "insert into noted values (3, 'a', 'C'); update noted set v = 'b' where id = 3",
            "INSERT 3 b C",
            "insert",
        ),
        ("insert into noted values (4, 'a', 'D'); delete from noted where id = 4", "", "delete"),
        ("delete from noted where id = 3; insert into noted values (3, 'c', 'C')", "UPDATE 3 c C", "update"),
        // The key, and unique values that move.
        ("update noted set id = 10 where id = 1", "DELETE 1 e A, INSERT 10 e A", "delete, insert, update"),
        (
            "update noted set u = 'E' where id = 3; update noted set u = 'C' where id = 10",
            "UPDATE 10 e C, UPDATE 3 c E",
            "update",
        ),
        (
            "update noted set u = 'tmp' where id = 3; update noted set u = 'E' where id = 10; update noted set u = 'C' where id = 3",
            "DELETE 10 e C, DELETE 3 c E, INSERT 10 e E, INSERT 3 c C",
            "delete, insert",
        ),
        // All rows.
        (
            "select replication.resend('noted')",
            "DELETE 10 e E, DELETE 3 c C, INSERT 10 e E, INSERT 3 c C",
            "delete, insert",
        ),
        ("truncate noted", "DELETE 10 e E, DELETE 3 c C", "delete"),
    ];
    for (transaction, rows, statements) in lines {
        see(&replication, transaction, rows, statements);
    }
    assert_eq!(assert_same(&replication, &["noted"]), [0]);
}

#[test]
fn triggers_of_a_target_that_differs_see_what_makes_it_equal() {
    let tables = "create table noted (id int primary key, v text)";
    let replication = start("triggers_differ", tables, &["noted"]);
    let mut target = replication.target();
    target.batch_execute(&format!("{NOTING}; call public.watch('noted')")).unwrap();
    see(&replication, "insert into noted values (1, 'a')", "INSERT 1 a", "insert");
    write_as_somebody_else(&mut target, "delete from noted; insert into noted values (2, 'stray')");
    see(&replication, "update noted set v = 'b'", "INSERT 1 b", "insert, update");
    see(&replication, "insert into noted values (2, 'c')", "UPDATE 2 c", "update");
    assert_eq!(assert_same(&replication, &["noted"]), [2]);
}

#[test]
fn triggers_of_a_table_with_columns_of_its_own_see_only_what_differs_when_it_is_sent_again() {
    let tables = "create table noted (id int primary key, v text)";
    let replication = start("triggers_own", tables, &["noted"]);
    let mut target = replication.target();
    target
        .batch_execute(&format!("alter table noted add own text; {NOTING}; call public.watch('noted')"))
        .unwrap();
    see(&replication, "insert into noted values (1, 'a'), (2, 'b')", "INSERT 1 a -, INSERT 2 b -", "insert");
    write_as_somebody_else(
        &mut target,
        "update noted set own = 'mine'; insert into noted values (3, 'stray')",
    );
    let sent_again = "select replication.resend('noted')";
    see(&replication, sent_again, "DELETE 3 stray -, UPDATE 1 a mine, UPDATE 2 b mine", "delete, update");
}

#[test]
fn triggers_see_a_row_with_an_identity_that_cannot_be_updated_deleted_and_inserted() {
    let tables = "create table noted (id int primary key, v text, number int generated always as identity)";
    let replication = start("triggers_identity", tables, &["noted"]);
    let mut target = replication.target();
    target.batch_execute(&format!("{NOTING}; call public.watch('noted')")).unwrap();
    see(&replication, "insert into noted values (1, 'a')", "INSERT 1 a 1", "delete, insert");
    see(&replication, "update noted set v = 'b'", "DELETE 1 a 1, INSERT 1 b 1", "delete, insert");
}

#[test]
fn a_trigger_before_insert_changes_only_rows_that_are_inserted() {
    let tables = "create table stamped (id int primary key, v text, created text)";
    let replication = start("triggers_before", tables, &["stamped"]);
    let mut target = replication.target();
    target
        .batch_execute(
            "create function public.stamp() returns trigger language plpgsql as $$begin
                 if new.id >= 10 then return null; end if;
                 new.created := 'stamped';
                 return new;
             end$$;
             create trigger stamp before insert on stamped for each row execute function public.stamp();
             alter table stamped enable replica trigger stamp;
             insert into stamped values (20, 'old', 'by hand')",
        )
        .unwrap();
    let mut source = replication.source();
    source.batch_execute("insert into stamped values (1, 'a', 'as it was'), (20, 'b', 'as it was')").unwrap();
    // Or the rows would be inserted as the update left them.
    replication.wait_until_caught_up();
    source.batch_execute("update stamped set v = 'c', created = '2000-01-01'").unwrap();
    replication.wait_until_caught_up();
    let as_in_the_source = "select count(*) from stamped where v = 'c' and created = '2000-01-01'";
    assert_eq!(count(&mut target, as_in_the_source), 2);
}

/// What no trigger notes, since no replica does it.
fn write_as_somebody_else(target: &mut Client, sql: &str) {
    target
        .batch_execute(&format!(
            "alter table noted disable trigger user; {sql}; alter table noted enable always trigger see, enable replica trigger see_all"
        ))
        .unwrap();
}
