//! Everything that can fail fails, under load, on servers of the suite's own: killed, frozen,
//! restarted, cut off, wiped. `./test-replication.sh --faults` runs it; without its servers it is ignored.
//!
//! Writers count the commits that were acknowledged to them. A reader of the target checks that every state
//! it sees is one that a snapshot of the source had. At the end source and target are the same, every
//! acknowledged commit is there, and an audit of every write to the target shows none twice and none late.

mod catalog;
mod field;
mod judge;
mod load;
mod report;
mod suite;

use catalog::{Fault, KINDS, kind, round};
use fastrand::Rng;
use shared::config::Environment;
use std::time::{Duration, Instant};
use suite::Suite;

/// A recovery may not take longer where the run is long enough to measure it.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
/// From here on a run is a long one.
const LONG_MINUTES: f64 = 3.0;
const SHORT_HOLD: Duration = Duration::from_secs(2);

fn setting(name: &str) -> f64 {
    Environment::read().optional(name).unwrap_or_else(|| panic!("{name} is not set")).parse().unwrap()
}

#[test]
#[ignore = "needs servers of its own: ./test-replication.sh --faults"]
fn whatever_fails_nothing_is_lost_or_doubled_and_no_transaction_is_torn() {
    let (seed, minutes) = (setting("TEST_FAULTS_SEED"), setting("TEST_FAULTS_MINUTES"));
    let mut rng = Rng::with_seed(format!("{seed}").parse().unwrap());
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut suite = Suite::start("faults");
    suite.under_load(|suite| {
        while Instant::now() < end {
            for fault in round(&mut rng) {
                if Instant::now() >= end {
                    break;
                }
                suite.survive(&fault);
            }
        }
    });
    suite.judge();
    suite.report().print();
    if minutes >= LONG_MINUTES {
        suite.report().assert_recovered_within(RECOVERY_MAX);
    }
}

/// One row of the table of failures in the design, alone.
fn survives(name: &str, kinds: &[&str]) {
    let mut suite = Suite::start(name);
    suite.under_load(|suite| {
        for name in kinds {
            suite.survive(&Fault { kind: kind(name), node: 1, hold: SHORT_HOLD });
        }
    });
    suite.judge();
    suite.report().print();
}

#[test]
#[ignore = "needs servers of its own: ./test-replication.sh --faults"]
fn one_nats_node_of_a_zone_is_killed_or_hangs() {
    survives("one_node", &["a NATS node killed", "a NATS node frozen"]);
}

#[test]
#[ignore = "needs servers of its own: ./test-replication.sh --faults"]
fn all_of_zone_a_then_all_of_zone_b_is_away() {
    survives("zones", &["zone A killed", "zone B killed"]);
}

#[test]
#[ignore = "needs servers of its own: ./test-replication.sh --faults"]
fn the_gateway_link_is_cut_and_then_swallows_everything() {
    survives("gateway", &["gateway cut", "gateway black-holed"]);
}

#[test]
#[ignore = "needs servers of its own: ./test-replication.sh --faults"]
fn every_nats_store_is_wiped() {
    survives("wiped", &["NATS stores wiped"]);
}

#[test]
#[ignore = "needs servers of its own: ./test-replication.sh --faults"]
fn zone_b_dies_after_its_stream_was_made_anew() {
    survives("anew", &["stream deleted", "zone B killed"]);
}

#[test]
#[ignore = "needs servers of its own: ./test-replication.sh --faults"]
fn postgresql_is_killed_on_either_side() {
    survives("postgresql", &["PostgreSQL A killed", "PostgreSQL B killed"]);
}

#[test]
fn the_same_seed_gives_the_same_schedule_and_each_round_has_every_kind() {
    let schedule = |seed| round(&mut Rng::with_seed(seed));
    assert_eq!(schedule(7), schedule(7));
    assert_ne!(schedule(7), schedule(8));
    let mut names: Vec<&str> = schedule(7).iter().map(|fault| fault.kind.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KINDS.len());
}
