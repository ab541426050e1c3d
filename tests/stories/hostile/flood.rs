//! A flood of messages that nobody can read.

use super::{SET_ASIDE, Victim};
use crate::harness::{add_user, count, wait_for};
use shared::wire::events_subject;
use std::time::{Duration, Instant};

const FLOOD: usize = 30_000;
/// A bound on liveness. The delay is printed; without a load of its own, the machine takes well below a second.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// How long a genuine row takes.
fn time_of_a_row(victim: &Victim, email: &str) -> Duration {
    let mut target = victim.replication.target();
    let begun = Instant::now();
    add_user(&mut victim.replication.source(), email);
    let arrived = format!("select count(*) from users where email = '{email}'");
    wait_for("a genuine row arrives", || (count(&mut target, &arrived) == 1).then_some(()));
    begun.elapsed()
}

#[test]
fn a_flood_of_garbage_hardly_delays_a_genuine_row_and_is_counted() {
    let victim = Victim::start("garbage_flood");
    let subject = events_subject(victim.replication.name());
    let before = time_of_a_row(&victim, "before@x");
    let begun = Instant::now();
    for number in 0..FLOOD {
        victim.send(&subject, format!("garbage {number} {}", "x".repeat(180)).into_bytes());
    }
    victim.nats.flush().unwrap();
    let sent = begun.elapsed();
    let behind = time_of_a_row(&victim, "behind@x");
    println!("a row takes {before:?}; behind {FLOOD} messages of garbage, sent in {sent:?}, {behind:?}");
    assert!(behind < DELAY_MAX, "{behind:?}");
    let mut target = victim.replication.target();
    let all = i64::try_from(FLOOD).unwrap();
    wait_for("all of it is counted", || (count(&mut target, SET_ASIDE) == all).then_some(()));
    let kept = count(&mut target, "select kept from replication.quarantine_status");
    assert!((100..=1000).contains(&kept), "{kept}");
    let complaints = victim.replication.processor.log().matches("cannot be read are set aside").count();
    assert!((1..=20).contains(&complaints), "{complaints}");
    victim.assert_unharmed("unharmed@x");
}
