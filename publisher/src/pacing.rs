//! How far ticks are apart, by what they cost.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The least time between ticks.
const TICK_INTERVAL: Duration = Duration::from_millis(1);
/// While fewer events than these arrive in the time that a tick takes to be published, ticks are taken at
/// once.
const EVENTS_IN_TIME_TO_PUBLISH: u32 = 10;
/// Where more arrive, ticks are taken this far apart.
const PACED_INTERVAL_MAX: Duration = Duration::from_millis(40);
/// One tick counts no more than this for the time that ticks take to be published.
const TIME_TO_PUBLISH_MAX: Duration = Duration::from_millis(500);

/// What the time between ticks follows from.
#[derive(Default)]
pub(crate) struct Pacing {
    /// How many events the last tick that was read has. Written by the reader.
    tick_events: AtomicI64,
    /// A tick that is not published yet, and when it was begun. Set by the ticker, taken by the publishing
    /// step.
    unpublished: Mutex<Option<(i64, Instant)>>,
    /// How long a tick takes from its beginning until it is published, in µs, smoothed. Written by the
    /// publishing step.
    time_to_publish_us: AtomicU64,
}

impl Pacing {
    /// A tick was taken, begun at `begun`.
    pub(crate) fn tick_taken(&self, tick: i64, begun: Instant) {
        self.unpublished.lock().get_or_insert((tick, begun));
    }

    /// The last tick that was read has this many events.
    pub(crate) fn tick_read(&self, events: i64) {
        self.tick_events.store(events, Ordering::Release);
    }

    /// Every batch up to the end of `tick` is acknowledged.
    pub(crate) fn tick_published(&self, tick: i64) {
        let mut unpublished = self.unpublished.lock();
        let Some((_, begun)) = unpublished.take_if(|(number, _)| *number <= tick) else { return };
        // An outage says nothing about the time that follows.
        let took = begun.elapsed().min(TIME_TO_PUBLISH_MAX).as_micros();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        let before = self.time_to_publish_us.load(Ordering::Acquire);
        // Smoothed as TCP does its round-trip time.
        self.time_to_publish_us.store(before - before / 8 + took / 8, Ordering::Release);
    }

    /// The time from the beginning of one tick to the next.
    pub(crate) fn interval(&self) -> Duration {
        let time_to_publish = Duration::from_micros(self.time_to_publish_us.load(Ordering::Acquire));
        paced_interval(self.tick_events.load(Ordering::Acquire), time_to_publish)
    }
}

/// The time from one tick to the next.
///
/// A tick costs the same however few events it has. So waiting pays off the more, the more events arrive in
/// the time that it takes to publish one. That time grows when the machine is saturated: small ticks, taken
/// at once, would then take resources from the application, and never grow.
fn paced_interval(tick_events: i64, time_to_publish: Duration) -> Duration {
    let events = u32::try_from(tick_events).unwrap_or(u32::MAX);
    let paced = (time_to_publish / EVENTS_IN_TIME_TO_PUBLISH).saturating_mul(events);
    paced.clamp(TICK_INTERVAL, PACED_INTERVAL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(2);
    const SLOW: Duration = Duration::from_millis(20);

    #[test]
    fn a_transaction_now_and_then_is_carried_at_once() {
        assert_eq!(paced_interval(5, QUICK), TICK_INTERVAL);
        assert_eq!(paced_interval(5, Duration::ZERO), TICK_INTERVAL);
    }

    #[test]
    fn ticks_grow_where_events_are_many() {
        assert_eq!(paced_interval(100, QUICK), Duration::from_millis(20));
        assert_eq!(paced_interval(i64::MAX, QUICK), PACED_INTERVAL_MAX);
    }

    #[test]
    fn ticks_grow_where_they_take_long() {
        assert_eq!(paced_interval(5, SLOW), Duration::from_millis(10));
        assert_eq!(paced_interval(25, SLOW), PACED_INTERVAL_MAX);
    }
}
