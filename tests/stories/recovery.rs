//! Histories that diverged: a restored target, a source that lost ticks, and starting over.

use crate::harness::{
    Demo, PrivateServer, Replication, add_user, applied_tick, assert_equal, count, wait_for, wait_for_health,
    wait_until_blocked, wait_until_published,
};
use postgres::Client;
use shared::wire::{Confirm, confirm_subject};
use std::time::Duration;

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

/// What it had applied by then is pruned in the source; what it needs next is in its inbox.
#[test]
fn a_target_restored_from_a_backup_in_which_ticks_waited_applies_them() {
    let mut replication = Replication::start_with("restored_waiting", &[("OUTBOX_RETENTION", "1")]);
    let mut source = replication.source();
    Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    let (refuse, take) = (
        "alter table users add constraint few check (email not like '_@x')",
        "alter table users drop constraint few",
    );
    replication.target().batch_execute(refuse).unwrap();
    // While apply is blocked nothing is pulled: all of them are there by then.
    replication.processor.kill();
    for number in 1..=5 {
        add_user(&mut source, &format!("{number}@x"));
        wait_until_published(&mut source);
    }
    replication.processor.start();
    wait_for("five ticks wait", || {
        let waiting = "select count(*) from replication.position
                       where received_tick >= applied_tick + 5 and received_ordinal = received_total and held_since is not null";
        (count(&mut replication.target(), waiting) == 1).then_some(())
    });
    replication.processor.kill();
    replication.copy_target("restored_waiting_backup");
    let waited = applied_tick(&mut replication.target());
    replication.target().batch_execute(take).unwrap();
    replication.processor.start();
    replication.wait_until_caught_up();
    wait_for("what the backup had applied is pruned", || {
        (count(&mut source, "select min(tick) from replication.tick") > waited).then_some(())
    });
    replication.processor.kill();
    replication.put_in_place_of_target("restored_waiting_backup");
    assert_eq!(count(&mut replication.target(), "select count(*) from users"), 5, "it is the backup");
    let nats = replication.nats_b();
    let confirms = nats.subscribe(&confirm_subject(replication.name())).unwrap();
    replication.processor.start();
    wait_until_blocked(&mut replication.target());
    for _ in 0..4 {
        let confirm = Confirm::decode(&confirms.recv_timeout(Duration::from_secs(30)).unwrap().data).unwrap();
        assert_eq!(confirm.applied.map(|applied| applied.number), Some(waited));
    }
    replication.publisher.wait_until_healthy();
    replication.target().batch_execute(take).unwrap();
    wait_for("what waited is applied", || {
        (count(&mut replication.target(), "select count(*) from users") == 10).then_some(())
    });
    add_user(&mut source, "later@x");
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (11, 5));
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
    // The same database without them takes other commits: the same numbers, other ids.
    replication.publisher.kill();
    replication.put_in_place_of_source("lost_ticks_backup");
    replication.publisher.start();
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    let log = replication.publisher.log();
    assert!(log.contains("it is another history") && log.contains("replication.start_over()"), "{log}");
    for email in ["new1@x", "new2@x", "new3@x"] {
        add_user(&mut replication.source(), email);
    }

    let mut target = replication.target();
    let name = replication.start_over();
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
    add_user(&mut replication.source(), "after@x");
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (9, 5));
}

/// Uses up transaction ids, so that this server is ahead of one that was made a moment ago.
fn spend_transaction_ids(client: &mut Client) {
    client
        .batch_execute(
            "do $$begin for i in 1..2000 loop perform pg_current_xact_id(); commit; end loop; end$$",
        )
        .unwrap();
}

/// Starts over as docs/operations.md says; both services are stopped.
fn start_over_and_acknowledge(replication: &mut Replication) {
    let mut target = replication.target();
    replication.start_over();
    target.execute("select replication.quarantine_acknowledge()", &[]).unwrap();
    replication.start_services();
    wait_for("the target has what the source has", || {
        (count(&mut target, "select count(*) from users where email = 'last@x'") == 1).then_some(())
    });
    replication.wait_until_caught_up();
}

/// A server of another system identifier has another name as a source. What its publisher has sent under that name
/// before anybody started over is of no use, and alarms nobody afterwards.
#[test]
fn a_source_that_was_moved_to_another_server_and_has_published_starts_over_as_the_page_says() {
    let server = PrivateServer::create("moved_from", 44, &["max_connections=40"]);
    let mut replication = Replication::start_from("moved_server", &server);
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    assert_eq!(replication.publisher.stop().code(), Some(0));
    replication.dump_source_into(None);
    let (mut source, mut target) = (replication.source(), replication.target());
    // As pg_upgrade keeps them: what is written now is behind the last tick.
    spend_transaction_ids(&mut source);
    replication.publisher.start();
    add_user(&mut source, "first@x");
    wait_for_health(&replication.processor, "setting aside what the source");
    assert_eq!(replication.processor.stop().code(), Some(0));
    add_user(&mut source, "last@x");
    wait_until_published(&mut source);
    assert_eq!(replication.publisher.stop().code(), Some(0));

    start_over_and_acknowledge(&mut replication);
    assert_eq!(assert_equal(&replication), (7, 5));
    assert_eq!(count(&mut target, "select unseen from replication.quarantine_status"), 0);
    let log = replication.processor.log();
    assert!(log.contains("dropping what the source"), "nothing was left of the former name: {log}");
    replication.processor.wait_until_healthy();
}

/// What is written there would be visible in the last tick's snapshot, and never be sent.
#[test]
fn a_source_that_was_dumped_into_a_server_with_fewer_transactions_publishes_nothing_until_it_starts_over() {
    let mut replication = Replication::prepare("fewer_transactions", &[]);
    spend_transaction_ids(&mut replication.source());
    replication.start_services();
    Demo::add_users(&mut replication.source(), 5);
    replication.wait_until_caught_up();
    let server = PrivateServer::create("fewer", 45, &["max_connections=40"]);
    assert_eq!(replication.publisher.stop().code(), Some(0));
    replication.dump_source_into(Some(&server));
    add_user(&mut replication.source(), "last@x");
    replication.publisher.start();
    assert_eq!(replication.publisher.wait_for_end().code(), Some(1));
    let log = replication.publisher.log();
    assert!(log.contains("is ahead of the transactions of this server"), "{log}");
    assert_eq!(replication.processor.stop().code(), Some(0));

    start_over_and_acknowledge(&mut replication);
    assert_eq!(assert_equal(&replication), (6, 5));
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
    wait_for("the confirmed position moves back", || {
        (count(&mut source, "select count(*) from outbox where not confirmed") == 1).then_some(())
    });
    replication
        .target()
        .batch_execute("alter table users add column status text not null default 'active'")
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(count(&mut replication.target(), "select count(*) from users where email = 'n@x'"), 1);
}
