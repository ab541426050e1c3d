//! Both sides are upgraded from the last landed version (the file `last-landed` names its revision) while an
//! application writes and a transaction stays open: in all orders, and by both ways to replace a service.
//!
//! `ROLLING_OPEN_S` (12) is for how many seconds the transaction is open at least.

use super::writers::{OLDER_TRIGGERS, write_promptly};
use crate::harness::{
    Demo, Replication, applied_tick, assert_equal, assert_nothing_applied_twice, audit_writes, count,
    meanwhile, wait_for,
};
use crate::standby::takeovers;
use postgres::{Client, NoTls};
use shared::config::Environment;
use shared::schema::Side;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Scope, sleep};
use std::time::{Duration, Instant};

/// No writer waits as long as the open transaction lasts, nor is the target so far behind for it.
const PROMPT_MS: u64 = 5_000;
const LAG_MAX_MS: u64 = 10_000;
/// What the publisher says while the capture triggers are those that an older version made.
const TELLS_THE_REMEDY: &str = "its capture triggers are of an older version; run, as with each new version";
/// After so many more ticks a phase of the upgrade has seen some work.
const SOME_TICKS: i64 = 20;

#[derive(Clone, Copy)]
enum Way {
    /// The older service is stopped before the schema is brought up to date; then the newer one is started.
    Restart,
    /// The older service goes on with the newer schema, and the newer one stands by, until the older one is stopped.
    Takeover,
}

/// What people notice of an upgrade, in milliseconds.
#[derive(Default)]
struct Noticed {
    longest_wait: AtomicU64,
    largest_lag: AtomicU64,
}

impl Noticed {
    /// Does `work` as a writer that has other things to do as well.
    fn timed(&self, work: impl FnOnce()) {
        let begun = Instant::now();
        work();
        let waited = u64::try_from(begun.elapsed().as_millis()).unwrap();
        self.longest_wait.fetch_max(waited, Ordering::Relaxed);
        sleep(Duration::from_millis(5));
    }

    /// Looks how old the last change is that the target shows.
    fn look(&self, target: &mut Client) {
        let age =
            "select (extract(epoch from clock_timestamp() - max(updated_at)) * 1000)::bigint from payments";
        let age = u64::try_from(count(target, age)).unwrap_or(0);
        self.largest_lag.fetch_max(age, Ordering::Relaxed);
        sleep(Duration::from_millis(20));
    }

    fn tell(&self, name: &str) {
        let (wait, lag) =
            (self.longest_wait.load(Ordering::Relaxed), self.largest_lag.load(Ordering::Relaxed));
        println!("{name}: no writer waited longer than {wait} ms, the target was at most {lag} ms behind");
        assert!(wait < PROMPT_MS && lag < LAG_MAX_MS);
    }
}

/// Replaces the service of one side, and brings its schema up to date by the newer program's `migrate`. That ends,
/// for the source, once the transactions that were open when it began have ended. Returns the older one's log.
fn upgrade<'a>(scope: &'a Scope<'a, '_>, replication: &mut Replication, side: Side, way: Way) -> String {
    let (older, url) = match side {
        Side::Target => (&replication.processor, replication.target_url().to_owned()),
        _ => (&replication.publisher, replication.source_url().to_owned()),
    };
    let mut newer = replication.newer(older);
    let (command, mut target) = (newer.twin(), replication.target());
    let mut database = Client::connect(&url, NoTls).unwrap();
    let migrate = move || {
        scope.spawn(move || command.migrate(&url));
        wait_for("the newer schema", || (schema_version(&mut database, side) == side.newest()).then_some(()));
    };
    let older = match side {
        Side::Target => &mut replication.processor,
        _ => &mut replication.publisher,
    };
    match way {
        Way::Restart => {
            assert_eq!(older.stop().code(), Some(0));
            migrate();
            newer.start();
        }
        Way::Takeover => {
            migrate();
            wait_for_ticks(&mut target);
            newer.start();
            wait_for("it stands by", || newer.log().contains("standing by to take over").then_some(()));
            wait_for_ticks(&mut target);
            assert_eq!(older.stop().code(), Some(0));
        }
    }
    wait_for("the newer one leads", || (takeovers(&[&newer]) == 1).then_some(()));
    wait_for_ticks(&mut target);
    std::mem::replace(older, newer).log()
}

fn schema_version(client: &mut Client, side: Side) -> i32 {
    let side = format!("{side:?}").to_lowercase();
    let version = "select max(version) from replication.schema_version where side = $1";
    client.query_one(version, &[&side]).unwrap().get(0)
}

fn wait_for_ticks(target: &mut Client) {
    let so_far = applied_tick(target);
    wait_for("replication is at work", || (applied_tick(target) > so_far + SOME_TICKS).then_some(()));
}

/// Upgrades both sides while one transaction is open. Returns the logs of the older services.
fn upgrade_both(replication: &mut Replication, order: [Side; 2], way: Way) -> [String; 2] {
    let seconds = Environment::read().count("ROLLING_OPEN_S", 12, 1..=600).unwrap();
    std::thread::scope(|scope| {
        // Within the scope: where something fails, it ends, and with it whoever waits for it.
        let mut client = replication.source();
        let begun = Instant::now();
        let mut open = client.transaction().unwrap();
        open.execute("insert into users (name, email) values ('Long', 'first@x')", &[]).unwrap();
        let logs = order.map(|side| upgrade(scope, replication, side, way));
        sleep(Duration::from_secs(seconds).saturating_sub(begun.elapsed()));
        open.execute("insert into users (name, email) values ('Long', 'last@x')", &[]).unwrap();
        open.commit().unwrap();
        logs
    })
}

fn upgraded_under_load(name: &str, order: [Side; 2], way: Way) {
    let Some(mut replication) = Replication::prepare_older(name) else {
        println!(
            "SKIPPED: there are no services of the last landed version, see scripts/test-older-services.sh"
        );
        return;
    };
    let (mut source, mut target) = (replication.source(), replication.target());
    replication.start_services();
    source.batch_execute(OLDER_TRIGGERS).unwrap();
    let demo = Demo::add_users(&mut source, 20);
    replication.wait_until_caught_up();
    audit_writes(&mut target);

    let noticed = Noticed::default();
    let (mut mover, mut writer, mut reader) =
        (replication.source(), replication.source(), replication.target());
    let mut number = 0;
    let mut write = || {
        number += 1;
        write_promptly(&mut writer, number);
    };
    let works: [Box<dyn FnMut() + Send>; 3] = [
        Box::new(|| noticed.timed(|| demo.move_money(&mut mover))),
        Box::new(|| noticed.timed(&mut write)),
        Box::new(|| noticed.look(&mut reader)),
    ];
    let older_logs = meanwhile(works, || upgrade_both(&mut replication, order, way));
    replication.wait_until_caught_up();
    let (users, _) = assert_equal(&replication);
    assert_eq!(users, 20 + number + 2);
    assert_nothing_applied_twice(&mut target);
    assert_eq!(count(&mut target, "select count(*) from replication.quarantine"), 0);
    assert_eq!(count(&mut source, "select count(*) from replication.capture_problem"), 0);
    // The publisher looks at its triggers once a minute, and was asked above.
    replication.processor.wait_until_healthy();
    for log in older_logs.iter().chain(&[replication.publisher.log(), replication.processor.log()]) {
        let wrong = log.lines().find(|line| line.contains("ERROR") && !line.contains(TELLS_THE_REMEDY));
        assert_eq!(wrong, None, "{log}");
    }
    noticed.tell(name);
}

#[test]
fn the_source_first_each_service_restarted() {
    upgraded_under_load("rolling_source_restart", [Side::Source, Side::Target], Way::Restart);
}

#[test]
fn the_target_first_each_service_restarted() {
    upgraded_under_load("rolling_target_restart", [Side::Target, Side::Source], Way::Restart);
}

#[test]
fn the_source_first_each_service_taken_over_by_a_standby() {
    upgraded_under_load("rolling_source_takeover", [Side::Source, Side::Target], Way::Takeover);
}

#[test]
fn the_target_first_each_service_taken_over_by_a_standby() {
    upgraded_under_load("rolling_target_takeover", [Side::Target, Side::Source], Way::Takeover);
}
