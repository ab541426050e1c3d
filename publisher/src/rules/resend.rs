//! When to send again what the stream has acknowledged: the target says that it did not get it.

use super::cursor::CursorPosition;
use shared::wire::{Confirm, Position};
use std::time::{Duration, Instant};

/// What was in flight before a resend still causes reports of the same gap; they are not answered again for
/// this long.
pub const RESEND_GRACE: Duration = Duration::from_secs(3);

/// What is needed to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resends {
    /// How far the target was at its last idle confirm, and what was acknowledged by then.
    pub idle: Option<(Option<Position>, CursorPosition)>,
    /// Where it was resent from last, and when.
    pub last: Option<(CursorPosition, Instant)>,
}

impl Resends {
    /// Where to resend from: behind what the target has received, when it reports a gap, or when it was idle
    /// twice in a row without having received what was acknowledged before the first time.
    pub fn wanted(
        &mut self,
        confirm: &Confirm,
        acknowledged: CursorPosition,
        now: Instant,
    ) -> Option<CursorPosition> {
        let next = next_needed(confirm);
        let stuck = confirm.idle
            && self.idle.is_some_and(|(received, behind)| received == confirm.received && next < behind);
        self.idle = confirm.idle.then_some((confirm.received, acknowledged));
        if !confirm.gap && !stuck {
            return None;
        }
        if self.last.is_some_and(|(last, at)| last == next && now.duration_since(at) < RESEND_GRACE) {
            return None;
        }
        self.last = Some((next, now));
        self.idle = None;
        Some(next)
    }
}

/// The first event that the target has not received.
pub fn next_needed(confirm: &Confirm) -> CursorPosition {
    confirm.received.map_or(CursorPosition::start_of(1), |received| CursorPosition::after(&received))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use shared::wire::TickRef;
    use uuid::Uuid;

    fn confirm(tick: i64, gap: bool, idle: bool) -> Confirm {
        let tick = TickRef { number: tick, id: Uuid::nil() };
        Confirm {
            received: (tick.number > 0).then_some(Position { tick, ordinal: 4, total: 4 }),
            gap,
            idle,
            ..fixtures::confirm()
        }
    }

    #[test]
    fn a_gap_is_answered_once() {
        let mut resends = Resends::default();
        let acknowledged = CursorPosition::start_of(9);
        assert_eq!(
            resends.wanted(&confirm(3, true, false), acknowledged, Instant::now()),
            Some(CursorPosition::start_of(4))
        );
        assert_eq!(resends.wanted(&confirm(3, true, false), acknowledged, Instant::now()), None);
        assert_eq!(
            resends.wanted(&confirm(5, true, false), acknowledged, Instant::now()),
            Some(CursorPosition::start_of(6))
        );
    }

    #[test]
    fn a_target_that_idles_behind_what_was_acknowledged_gets_it_again() {
        let mut resends = Resends::default();
        assert_eq!(
            resends.wanted(&confirm(0, false, true), CursorPosition::start_of(9), Instant::now()),
            None
        );
        assert_eq!(
            resends.wanted(&confirm(0, false, true), CursorPosition::start_of(9), Instant::now()),
            Some(CursorPosition::start_of(1))
        );
    }

    #[test]
    fn what_was_acknowledged_between_two_confirms_may_still_be_under_way() {
        let mut resends = Resends::default();
        assert_eq!(
            resends.wanted(&confirm(3, false, true), CursorPosition::start_of(4), Instant::now()),
            None
        );
        assert_eq!(
            resends.wanted(&confirm(3, false, true), CursorPosition::start_of(9), Instant::now()),
            None
        );
        assert_eq!(
            resends.wanted(&confirm(3, false, true), CursorPosition::start_of(9), Instant::now()),
            Some(CursorPosition::start_of(4))
        );
    }
}
