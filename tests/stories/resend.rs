//! Rows that a table holds already, sent to the target as a whole.

use crate::harness::{Replication, assert_equal, assert_same, attach, count, make_in_both, wait_for};
use postgres::IsolationLevel;

#[test]
fn a_table_that_holds_rows_is_sent_as_a_whole_and_a_target_that_differs_is_repaired() {
    let replication = Replication::start("resent");
    let tables = "create table stock (id int primary key, v text)";
    make_in_both(&replication, tables);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("insert into stock select i, 'old ' || i from generate_series(1, 30000) i").unwrap();
    let refused = source.execute("select replication.resend('stock')", &[]).unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("stock is not attached"), "{refused:?}");
    attach(&replication, &["stock"]);
    source.execute("update stock set v = 'new' where id = 7", &[]).unwrap();
    source.batch_execute("begin; select replication.resend('stock'); insert into stock values (0, 'same transaction'); commit").unwrap();
    wait_for("the rows are there", || {
        let seen = count(&mut target, "select count(*) from stock");
        assert!([0, 1, 30_001].contains(&seen), "a reader saw {seen} rows of 30001");
        (seen == 30_001).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["stock"]), [30_001]);

    target.batch_execute("update stock set v = 'spoilt' where id < 100; delete from stock where id > 29000; insert into stock values (-1, 'stray')").unwrap();
    source.execute("select replication.resend('stock')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["stock"]), [30_001]);
}

#[test]
fn what_is_sent_again_is_what_was_there_after_the_wait_for_those_who_write() {
    let replication = Replication::start("resent_late");
    let mut source = replication.source();
    let mut transaction =
        source.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().unwrap();
    transaction.query("select from users", &[]).unwrap();
    // Captured before the rows that are sent, which do not have it.
    replication.source().execute("insert into users (name, email) values ('New', 'new@x')", &[]).unwrap();
    let refused = transaction.execute("select replication.resend('users')", &[]).unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(
        refused.message().contains("replication.resend must run in a READ COMMITTED transaction"),
        "{refused:?}"
    );
    transaction.rollback().unwrap();
    source.execute("select replication.resend('users')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
}

#[test]
fn row_security_cannot_hide_rows_from_what_is_sent_again() {
    let replication = Replication::start("resent_in_part");
    let mut source = replication.source();
    source
        .batch_execute(
            "insert into users (name, email) values ('Seen', 'seen@x'), ('Hidden', 'hidden@x');
             do $$begin create role resent_owner; exception when duplicate_object then null; end$$;
             alter table payments owner to resent_owner;
             alter table users owner to resent_owner",
        )
        .unwrap();
    let forced = "alter table users force row level security, enable row level security; create policy seen on users using (name = 'Seen')";
    let refused = source.batch_execute(forced).unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(
        refused.message().contains("row security hides rows of it from replication_capture_"),
        "{refused:?}"
    );
    let (_, remedy) = refused.hint().unwrap().split_once("as a superuser: ").unwrap();
    source.batch_execute(remedy.split_inclusive(';').next().unwrap()).unwrap();
    source.batch_execute(forced).unwrap();
    // Read by a role that no policy concerns, whoever asks for it.
    let sent = "select replication.resend('users')";
    source.batch_execute(sent).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 2);
    // By one that policies concern, as where no superuser attached the table.
    source
        .batch_execute(
            "do $$begin execute format('alter function replication.capture_rows_%s() owner to resent_owner',
                                       replication.capture_id('users')); end$$;
             grant usage on schema replication to resent_owner; grant insert on replication.outbox_event to resent_owner",
        )
        .unwrap();
    let refused = source.batch_execute(sent).unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(refused.message().contains("would be affected by row-level security policy"), "{refused:?}");
    source.batch_execute("select replication.attach('users'); select replication.resend('users')").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 2);
    source
        .batch_execute(
            "alter table users owner to current_user; alter table payments owner to current_user;
             drop owned by resent_owner; drop role resent_owner",
        )
        .unwrap();
}
