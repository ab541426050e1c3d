//! When the two histories have parted: a restored target, a source that lost ticks, and starting over.

use crate::harness::{Demo, Replication, assert_equal, count, wait_for};
use postgres::Client;

fn add_user(client: &mut Client, email: &str) {
    client.execute("insert into users (name, email) values ('N', $1)", &[&email]).unwrap();
}

fn start_both(replication: &mut Replication) {
    replication.processor.start();
    replication.publisher.start();
}

#[test]
fn a_target_restored_from_an_older_backup_catches_up_by_itself() {
    let mut replication = Replication::start("restored_target");
    let mut source = replication.source();
    let demo = Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    replication.processor.kill();
    replication.copy_target("restored_target_backup");
    replication.processor.start();
    for _ in 0..20 {
        demo.move_money(&mut source);
    }
    add_user(&mut source, "later@x");
    replication.wait_until_caught_up();
    replication.processor.kill();
    replication.put_in_place_of_target("restored_target_backup");
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 5, "it is the backup");
    replication.processor.start();
    wait_for("the restored target is where the source is", || {
        (count(&mut replication.target(), "select count(*) from users") == 6).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (6, 5));
}

#[test]
fn a_source_that_lost_ticks_is_refused_and_both_sides_start_over() {
    let mut replication = Replication::start("lost_ticks");
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    replication.publisher.kill();
    replication.copy_source("lost_ticks_backup");
    replication.publisher.start();
    for email in ["lost1@x", "lost2@x"] {
        add_user(&mut replication.source(), email);
        replication.wait_until_caught_up();
    }
    // The same database without them, which goes on otherwise: the same numbers, other ids.
    replication.publisher.kill();
    replication.put_in_place_of_source("lost_ticks_backup");
    replication.publisher.start();
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    let log = replication.publisher.log();
    assert!(log.contains("it is another history") && log.contains("replication.start_over()"), "{log}");
    for email in ["new1@x", "new2@x", "new3@x"] {
        add_user(&mut replication.source(), email);
    }

    let (mut source, mut target) = (replication.source(), replication.target());
    let name: String = source.query_one("select replication.start_over()", &[]).unwrap().get(0);
    target.execute("select replication.adopt_source($1)", &[&name]).unwrap();
    replication.processor.kill();
    start_both(&mut replication);
    wait_for("the target has what the source has", || {
        (count(&mut target, "select count(*) from users where email = 'new3@x'") == 1).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (8, 5));
    let adopted =
        count(&mut target, &format!("select count(*) from replication.adoption where to_source = '{name}'"));
    assert_eq!(adopted, 1);
    add_user(&mut source, "after@x");
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (9, 5));
}

#[test]
fn starting_over_sends_all_whoever_commits_meanwhile() {
    let mut replication = Replication::start("start_over_busy");
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    replication.publisher.kill();
    let (mut source, mut other, mut target) =
        (replication.source(), replication.source(), replication.target());
    let mut starting_over = source.transaction().unwrap();
    let begin_to_write = "select pg_current_xact_id()::text::bigint";
    let own: i64 = starting_over.query_one(begin_to_write, &[]).unwrap().get(0);
    // A younger transaction ends first: the older one counts as ended in every snapshot of its own.
    let younger: i64 = other.query_one(begin_to_write, &[]).unwrap().get(0);
    assert!(own < younger);
    let name: String = starting_over.query_one("select replication.start_over()", &[]).unwrap().get(0);
    starting_over.commit().unwrap();
    target.execute("select replication.adopt_source($1)", &[&name]).unwrap();
    // Only what is sent again can bring them back.
    target.batch_execute("delete from payments").unwrap();
    replication.processor.kill();
    start_both(&mut replication);
    wait_for("the target has what the source has", || {
        (count(&mut target, "select count(*) from payments") == 5).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (5, 5));
}

#[test]
fn a_transaction_is_skipped_on_record_and_the_rest_goes_on() {
    let replication = Replication::start("skipped");
    let (mut source, mut target) = (replication.source(), replication.target());
    Demo::add_users(&mut source, 2);
    replication.wait_until_caught_up();
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    source.execute("insert into users (name, email) values ('bad', 'bad@x')", &[]).unwrap();
    add_user(&mut source, "good@x");
    let txid: i64 = wait_for("the target names the transaction that it cannot take", || {
        let query =
            "select txid from replication.hold_status where key is not null and data ->> 'name' = 'bad'";
        target.query_opt(query, &[]).unwrap().map(|row| row.get(0))
    });
    let refused = target.execute("select replication.skip_transaction(1, 'why not')", &[]).unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("is not pending behind a blocked apply"));
    target.execute("select replication.skip_transaction($1, 'a test')", &[&txid]).unwrap();
    replication.wait_until_caught_up();
    let row = target
        .query_one(
            "select reason, skipped_by, events -> 0 ->> 'row', jsonb_array_length(events) from replication.skipped_transaction",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "a test");
    assert!(row.get::<_, &str>(2).contains("bad@x") && row.get::<_, i32>(3) == 1);
    assert_eq!(count(&mut target, "select count(*) from users where email = 'good@x'"), 1);
    assert_eq!(count(&mut target, "select count(*) from users where email = 'bad@x'"), 0);
    // The repair: the rows are sent again once the target can take them.
    target.batch_execute("alter table users drop constraint no_bad").unwrap();
    source.execute("select replication.resend('public.users')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (4, 2));
}

#[test]
fn a_transaction_behind_the_one_that_is_held_is_skipped_after_a_restart_too() {
    let mut replication = Replication::start("skipped_behind");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    add_user(&mut source, "first@x");
    source.execute("insert into users (name, email) values ('bad', 'bad@x')", &[]).unwrap();
    add_user(&mut source, "unwanted@x");
    add_user(&mut source, "last@x");
    let txid: i64 = wait_for("what is unwanted waits", || {
        let query = "select txid from replication.hold_status where data ->> 'email' = 'unwanted@x'";
        target.query_opt(query, &[]).unwrap().map(|row| row.get(0))
    });
    target.execute("select replication.skip_transaction($1, 'a test')", &[&txid]).unwrap();
    replication.processor.kill();
    target.batch_execute("alter table users drop constraint no_bad").unwrap();
    replication.processor.start();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut target, "select count(*) from users where email = 'unwanted@x'"), 0);
    assert_eq!(count(&mut target, "select count(*) from users"), 3);
    let skipped = "select count(*) from replication.skipped_transaction where applied_tick is not null";
    assert_eq!(count(&mut target, skipped), 1);
}

#[test]
fn a_target_that_was_held_and_is_restored_under_a_living_processor_goes_on() {
    let mut replication = Replication::start("held_restored");
    let mut source = replication.source();
    add_user(&mut source, "first@x");
    replication.wait_until_caught_up();
    replication.processor.kill();
    replication.copy_target("held_restored_backup");
    replication.processor.start();
    replication.processor.wait_until_healthy();
    replication
        .target()
        .batch_execute("alter table users add constraint no_bad check (name <> 'bad')")
        .unwrap();
    source.execute("insert into users (name, email) values ('bad', 'bad@x')", &[]).unwrap();
    wait_for("it is held", || replication.processor.health().contains("apply is blocked").then_some(()));
    replication.put_in_place_of_target("held_restored_backup");
    wait_for("the restored target is where the source is", || {
        let mut target = replication.target_door().connect()?;
        (count(&mut target, "select count(*) from users") == 2).then_some(())
    });
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
}

#[test]
fn another_try_at_what_is_held_comes_at_once_when_it_is_asked_for() {
    let replication = Replication::start("retried");
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    source.execute("insert into users (name, email) values ('bad', 'bad@x')", &[]).unwrap();
    wait_for("it is held", || {
        (count(&mut target, "select count(*) from replication.hold_status") > 0).then_some(())
    });
    target
        .batch_execute("alter table users drop constraint no_bad; select replication.retry_hold()")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    assert_eq!(count(&mut target, "select count(*) from replication.hold_status"), 0);
}

#[test]
fn what_is_in_quarantine_counts_until_somebody_has_looked() {
    let replication = Replication::start("acknowledged");
    let subject = shared::wire::events_subject(replication.name());
    replication.nats_b().publish(&subject, None, b"garbage".to_vec()).unwrap();
    let mut target = replication.target();
    let unseen = "select count(*) from replication.quarantine
                  where id > coalesce((select max(up_to_id) from replication.quarantine_seen), 0)";
    wait_for("the message is set aside", || (count(&mut target, unseen) == 1).then_some(()));
    assert_eq!(count(&mut target, "select replication.quarantine_acknowledge()"), 1);
    assert_eq!(count(&mut target, unseen), 0);
}

#[test]
fn a_target_that_has_applied_nothing_any_more_confirms_nothing() {
    let mut replication = Replication::prepare("nothing_applied", &[]);
    replication.migrate_target();
    replication.copy_target("nothing_applied_backup");
    replication.start_services();
    let mut source = replication.source();
    source.execute("insert into users (name, email) values ('N', 'n@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(replication.processor.stop().code(), Some(0));
    replication.put_in_place_of_target("nothing_applied_backup");
    // It receives what is sent again, and cannot apply it.
    replication.target().batch_execute("alter table users drop column status").unwrap();
    replication.processor.start();
    wait_for("the mark goes back", || {
        (count(&mut source, "select count(*) from outbox where not confirmed") == 1).then_some(())
    });
    replication
        .target()
        .batch_execute("alter table users add column status text not null default 'active'")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut replication.target(), "select count(*) from users where email = 'n@x'"), 1);
}
