//! No room: a full disk under either database, a full stream, a store that is too small. Nothing is lost:
//! replication waits, and resumes by itself once there is room.

use crate::harness::{Door, PrivateServer, Replication, assert_equal, count, wait_for, wait_for_health};
use postgres::Client;
use postgres::error::SqlState;

/// Of a new server's data, of two databases more, and of some load.
const DISK_MB: u16 = 160;
/// Users of one transaction, of half a kilobyte each.
const USERS: i64 = 20;

/// A transaction that spans users and payments.
fn sign_up(client: &mut Client, round: i64) -> Result<(), postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.execute(
        "with person as (
             insert into users (name, email)
             select repeat(md5(i::text), 16), $1 || '-' || i || '@x' from generate_series(1, $2::bigint) i returning id)
         insert into payments (user_id, amount, currency, description) select id, 1, 'EUR', 'first' from person",
        &[&round.to_string(), &USERS],
    )?;
    transaction.commit()
}

fn connect(door: &Door) -> Client {
    wait_for("the database takes connections", || door.connect())
}

/// The number that a query gives, from a server that may be just restarting.
fn count_at(door: &Door, query: &str) -> i64 {
    wait_for(query, || Some(door.connect()?.query_one(query, &[]).ok()?.get(0)))
}

/// A transaction that changes all users, in place: what grows is the outbox.
fn rename(client: &mut Client, round: i64) -> Result<(), postgres::Error> {
    client.execute("update users set name = $1::bigint || repeat(' of many names', 20)", &[&round]).map(drop)
}

/// The rounds that the users are named after.
const ROUNDS: &str = "select max(split_part(name, ' ', 1)::bigint) * count(distinct name) from users";

#[test]
fn a_full_disk_of_the_source_fails_the_transaction_as_a_whole_and_nothing_else() {
    let server = PrivateServer::create_on_small_disk("small_a", 7, DISK_MB);
    let replication = Replication::start_from("full_source", &server);
    let door = replication.source_door();
    let mut client = connect(&door);
    sign_up(&mut client, 0).unwrap();
    let mut told = 0;
    while told < 20 {
        told += 1;
        rename(&mut client, told).unwrap();
    }
    replication.wait_until_caught_up();
    server.fill_disk();
    let refused = wait_for("a transaction finds no room", || match rename(&mut client, told + 1) {
        Ok(()) => {
            told += 1;
            None
        }
        Err(error) => Some(error),
    });
    println!("after {told} transactions: {refused:?}");
    // Or the server itself had no room left for its log, and is gone.
    assert!(refused.is_closed() || refused.code() == Some(&SqlState::DISK_FULL), "{refused}");
    server.free_disk();
    server.start();
    assert_eq!(count_at(&door, ROUNDS), told, "every acknowledged transaction, and none in part");
    sign_up(&mut connect(&door), 1).unwrap();
    wait_for("all of it is confirmed", || {
        (count_at(&door, "select count(*) from outbox where not confirmed") == 0).then_some(())
    });
    let rows = usize::try_from(2 * USERS).unwrap();
    assert_eq!(assert_equal(&replication), (rows, rows));
}

#[test]
fn a_full_disk_of_the_target_makes_it_wait_and_go_on_by_itself() {
    let server = PrivateServer::create_on_small_disk("small_b", 8, DISK_MB);
    let mut replication = Replication::prepare_to("full_target", &server);
    replication.start_services();
    let mut source = replication.source();
    sign_up(&mut source, 0).unwrap();
    replication.wait_until_caught_up();
    server.fill_disk();
    let mut rounds = 1;
    wait_for("the target finds no room", || {
        sign_up(&mut source, rounds).unwrap();
        rounds += 1;
        replication.processor.log().contains("No space left on device").then_some(())
    });
    assert!(count(&mut source, "select count(*) from outbox where not confirmed") > 0);
    server.free_disk();
    server.start();
    wait_for("all of it is confirmed", || {
        (count(&mut source, "select count(*) from outbox where not confirmed") == 0).then_some(())
    });
    // It is nothing that an operator could skip.
    let log = replication.processor.log();
    assert!(!log.contains("apply is blocked"), "{log}");
    let rows = usize::try_from(rounds * USERS).unwrap();
    assert_eq!(assert_equal(&replication), (rows, rows));
}

#[test]
fn a_full_stream_holds_the_publisher_back_and_loses_nothing() {
    let mut replication = Replication::start_with("full_stream", &[("NATS_STREAM_MAX_BYTES", "1048576")]);
    let mut source = replication.source();
    sign_up(&mut source, 0).unwrap();
    replication.wait_until_caught_up();
    replication.processor.kill();
    let mut rounds = 1;
    wait_for("the stream is full", || {
        for _ in 0..20 {
            sign_up(&mut source, rounds).unwrap();
            rounds += 1;
        }
        replication.publisher.log().contains("maximum bytes exceeded").then_some(())
    });
    assert!(count(&mut source, "select count(*) from outbox where not processed") > 0);
    replication.processor.start();
    replication.wait_until_caught_up();
    let rows = usize::try_from(rounds * USERS).unwrap();
    assert_eq!(assert_equal(&replication), (rows, rows));
}

#[test]
fn a_store_that_is_too_small_for_the_stream_is_said_and_events_wait() {
    // A pebibyte.
    let mut replication =
        Replication::prepare("small_store", &[("NATS_STREAM_MAX_BYTES", "1125899906842624")]);
    replication.processor.start();
    replication.publisher.start();
    sign_up(&mut replication.source(), 0).unwrap();
    wait_for("the processor says what JetStream says", || {
        let log = replication.processor.log();
        (log.contains("JetStream refuses") && log.contains("reserves NATS_STREAM_MAX_BYTES")).then_some(())
    });
    wait_for_health(&replication.processor, "JetStream refuses");
    replication.processor.kill();
    replication.processor.set("NATS_STREAM_MAX_BYTES", "268435456");
    replication.processor.start();
    replication.wait_until_caught_up();
    let rows = usize::try_from(USERS).unwrap();
    assert_eq!(assert_equal(&replication), (rows, rows));
}
