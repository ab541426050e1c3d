//! The gate that a failover of the source closes: what the former primary published may be missing here, and
//! then this is another history.

use shared::wire::{CONFIRM_INTERVAL, Confirm, Position};
use std::time::Instant;

/// Whether ticks may be published on `timeline`, where the target has shown on timeline `matched` that its
/// history is this one.
pub fn is_open(matched: i64, timeline: i64) -> bool {
    matched == timeline
}

/// What the target has shown of its history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shown {
    /// How far it is, and since when it is idle there.
    pub idle: Option<(Option<Position>, Instant)>,
}

impl Shown {
    /// Notes a confirm that was received at `now` and claims nothing that this source does not have. True once
    /// the target has shown that its history is this one: it is idle, and was so half an interval before, at
    /// the same position. One idle confirm may have been sent before the former primary published its last tick.
    pub fn is_history(&mut self, confirm: &Confirm, now: Instant) -> bool {
        let before = self.idle.filter(|(received, _)| confirm.idle && *received == confirm.received);
        let since = before.map_or(now, |(_, since)| since);
        self.idle = confirm.idle.then_some((confirm.received, since));
        self.idle.is_some() && now.duration_since(since) * 2 >= CONFIRM_INTERVAL
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use shared::wire::TickRef;
    use uuid::Uuid;

    fn confirm(received: i64, idle: bool) -> Confirm {
        let tick = TickRef { number: received, id: Uuid::nil() };
        Confirm { received: Some(Position { tick, ordinal: 1, total: 1 }), idle, ..fixtures::confirm() }
    }

    #[test]
    fn a_target_that_stays_idle_where_it_is_has_shown_its_history() {
        let (mut shown, now) = (Shown::default(), Instant::now());
        assert!(!shown.is_history(&confirm(3, true), now));
        assert!(!shown.is_history(&confirm(3, true), now));
        assert!(shown.is_history(&confirm(3, true), now + CONFIRM_INTERVAL));
        assert!(shown.is_history(&confirm(3, true), now + CONFIRM_INTERVAL));
    }

    #[test]
    fn one_that_receives_more_has_not() {
        let (mut shown, now) = (Shown::default(), Instant::now());
        assert!(!shown.is_history(&confirm(2, true), now));
        assert!(!shown.is_history(&confirm(3, true), now + CONFIRM_INTERVAL));
        assert!(!shown.is_history(&confirm(3, false), now + CONFIRM_INTERVAL * 2));
        assert!(!shown.is_history(&confirm(3, true), now + CONFIRM_INTERVAL * 3));
        assert!(shown.is_history(&confirm(3, true), now + CONFIRM_INTERVAL * 4));
    }
}
