//! Servers that accept and never answer: because they are stopped, or because nothing passes on the
//! way to them.

use crate::harness::{DEADLINE, Replication, Service, assert_equal, wait_for};
use std::time::{Duration, Instant};

/// A server that does not answer is noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// A service stops within this time.
const STOPPED_WITHIN: Duration = Duration::from_secs(2);

fn add_user(replication: &Replication, name: &str) {
    replication
        .source()
        .execute("insert into users (name, email) values ($1, $1 || '@x')", &[&name])
        .unwrap();
}

/// Waits until `service` has logged `text`; fails if that takes longer than `limit` since `begun`.
fn wait_for_log(service: &Service, text: &str, begun: Instant, limit: Duration) {
    wait_for(text, || service.log().contains(text).then_some(()));
    let took = begun.elapsed();
    assert!(took < limit, "'{text}' after {took:?}, more than {limit:?}");
}

#[test]
fn a_database_that_accepts_and_never_answers_is_noticed_and_all_goes_on_when_it_does_again() {
    let mut replication = Replication::prepare("database_hangs", &[]);
    let source = replication.publisher.proxy("DATABASE_URL").remove(0);
    let target = replication.processor.proxy("DATABASE_URL").remove(0);
    replication.processor.start();
    replication.publisher.start();
    add_user(&replication, "before");
    replication.wait_until_caught_up();

    source.black_hole();
    target.black_hole();
    let begun = Instant::now();
    add_user(&replication, "meanwhile");
    for service in [&replication.publisher, &replication.processor] {
        wait_for_log(service, "has not answered for", begun, NOTICED_WITHIN);
    }
    println!("noticed after {:.1} s", begun.elapsed().as_secs_f32());
    // New connections are accepted as well, and not answered.
    let begun = Instant::now();
    for service in [&replication.publisher, &replication.processor] {
        let log_after = service.log().len();
        wait_for("connecting is given up", || {
            let log = service.log();
            log.contains("it has not answered for 5 s").then_some(()).or_else(|| {
                assert!(begun.elapsed() < DEADLINE, "{}", &log[log_after..]);
                None
            })
        });
    }
    source.heal();
    target.heal();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (2, 0));
}
