//! Waiting for a condition, with a deadline that says what was awaited.

use super::service::Service;
use postgres::Client;
use std::time::{Duration, Instant};

/// No wait of a test is longer. A bound on liveness, not a claim about speed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// Waits until `condition` gives a value; fails with `what` after [`DEADLINE`]. It is asked less and less often: other
/// stories need the machine.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    const PAUSES: std::ops::Range<Duration> = Duration::from_millis(5)..Duration::from_millis(100);
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        let waited = begun.elapsed();
        assert!(waited < DEADLINE, "still waiting after {} s: {what}", DEADLINE.as_secs());
        std::thread::sleep((waited / 20).clamp(PAUSES.start, PAUSES.end));
    }
}

/// Waits until a service says `text` of its health.
pub(crate) fn wait_for_health(service: &Service, text: &str) {
    wait_for(&format!("it says of its health \"{text}\""), || service.health().contains(text).then_some(()));
}

/// Waits until apply is blocked at this target; returns the error.
pub(crate) fn wait_until_blocked(target: &mut Client) -> String {
    wait_for("apply is blocked", || {
        let row = target.query_opt("select held_error from replication.target_status", &[]).unwrap();
        row.and_then(|row| row.get(0))
    })
}

/// Waits until the stream has acknowledged all that is committed in this source.
pub(crate) fn wait_until_published(source: &mut Client) {
    wait_for("the stream has acknowledged every event", || {
        let row =
            source.query_one("select count(*) from replication.outbox where not processed", &[]).unwrap();
        (row.get::<_, i64>(0) == 0).then_some(())
    });
}
