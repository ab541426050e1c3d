//! Which processor's confirms count for the target. Usually there is one. For a moment there may be two: one
//! that was suspended, lost its lock and resumes, and the one that took over from it. Two that keep
//! confirming belong to two databases with one identity, one of them a copy of the other's server: then
//! neither counts.

use super::silence::{CONTESTED_AFTER, PROCESSOR_GONE_AFTER};
use shared::wire::Confirm;
use std::time::Instant;
use uuid::Uuid;

/// The processor whose confirms count now, and another one that confirms for the same target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfirmAuthority {
    /// Its confirms count.
    pub current: Option<Processor>,
    /// The other one, if there were two.
    pub rival: Option<Rival>,
}

/// The processor whose confirms count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Processor {
    /// See [`Confirm::incarnation`].
    pub incarnation: Uuid,
    /// See [`Confirm::term`].
    pub term: i64,
    /// The highest counter.
    pub counter: u64,
    /// When that was heard.
    pub counted_at: Instant,
    /// When it was heard last.
    pub confirmed_at: Instant,
}

/// The other one of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rival {
    /// See [`Confirm::incarnation`].
    pub incarnation: Uuid,
    /// See [`Confirm::term`].
    pub term: i64,
    /// Since when there have been two.
    pub since: Instant,
    /// When it was heard last.
    pub confirmed_at: Instant,
}

impl ConfirmAuthority {
    /// Whether a confirm received at `now` counts. One that is older than another one before does not, nor
    /// does one of an earlier term while the later one confirms, nor any while two keep confirming. An
    /// earlier term that is the only one counts: the target was restored from a backup.
    pub fn accepts(&mut self, confirm: &Confirm, now: Instant) -> bool {
        let Some(current) = &mut self.current else {
            self.current = Some(Processor::of(confirm, now));
            return true;
        };
        if (current.incarnation, current.term) == (confirm.incarnation, confirm.term) {
            // Nothing is overtaken by so much: a higher one that was not followed up was not this
            // processor's.
            let newer = confirm.counter > current.counter || is_gone(current.counted_at, now);
            if newer {
                (current.counter, current.counted_at) = (confirm.counter, now);
            }
            current.confirmed_at = now;
            return newer && !self.is_contested(now);
        }
        let since = match &self.rival {
            Some(rival) if !is_gone(rival.confirmed_at, now) => rival.since,
            _ => now,
        };
        if is_gone(current.confirmed_at, now) {
            self.current = Some(Processor::of(confirm, now));
        } else if confirm.term < current.term {
            let Confirm { incarnation, term, .. } = *confirm;
            self.rival = Some(Rival { incarnation, term, since, confirmed_at: now });
            return false;
        } else {
            let Processor { incarnation, term, confirmed_at, .. } = *current;
            let former = Rival { incarnation, term, since, confirmed_at };
            // A restart makes three: of the other two, the one that was heard last.
            let other = self.rival.filter(|other| {
                (other.incarnation, other.term) != (confirm.incarnation, confirm.term)
                    && other.confirmed_at > confirmed_at
            });
            self.rival = Some(other.map_or(former, |other| Rival { since, ..other }));
            self.current = Some(Processor::of(confirm, now));
        }
        !self.is_contested(now)
    }

    /// Whether two processors have been confirming for so long that they cannot belong to one database.
    pub fn is_contested(&self, now: Instant) -> bool {
        let (Some(current), Some(rival)) = (&self.current, &self.rival) else { return false };
        (current.incarnation, current.term) != (rival.incarnation, rival.term)
            && !is_gone(current.confirmed_at, now)
            && !is_gone(rival.confirmed_at, now)
            && now.duration_since(rival.since) >= CONTESTED_AFTER
    }
}

impl Processor {
    fn of(confirm: &Confirm, now: Instant) -> Processor {
        let Confirm { incarnation, term, counter, .. } = *confirm;
        Processor { incarnation, term, counter, counted_at: now, confirmed_at: now }
    }
}

fn is_gone(confirmed_at: Instant, now: Instant) -> bool {
    now.duration_since(confirmed_at) >= PROCESSOR_GONE_AFTER
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use std::time::Duration;

    fn confirm(term: i64, counter: u64) -> Confirm {
        Confirm {
            incarnation: Uuid::from_u128(u128::from(term.unsigned_abs())),
            term,
            counter,
            ..fixtures::confirm()
        }
    }

    #[test]
    fn a_confirm_that_was_overtaken_does_not_count() {
        let (mut authority, now) = (ConfirmAuthority::default(), Instant::now());
        assert!(authority.accepts(&confirm(7, 5), now));
        assert!(!authority.accepts(&confirm(7, 4), now));
        assert!(!authority.accepts(&confirm(7, 5), now));
        assert!(authority.accepts(&confirm(7, 6), now));
    }

    #[test]
    fn a_counter_that_is_not_followed_up_outlaws_nothing_for_long() {
        let (mut authority, now) = (ConfirmAuthority::default(), Instant::now());
        assert!(authority.accepts(&confirm(7, 5), now));
        assert!(authority.accepts(&confirm(7, u64::MAX), now));
        assert!(!authority.accepts(&confirm(7, 6), now + PROCESSOR_GONE_AFTER / 2));
        assert!(authority.accepts(&confirm(7, 7), now + PROCESSOR_GONE_AFTER));
        assert!(authority.accepts(&confirm(7, 8), now + PROCESSOR_GONE_AFTER));
        assert!(!authority.accepts(&confirm(7, 7), now + PROCESSOR_GONE_AFTER));
    }

    #[test]
    fn an_earlier_term_does_not_count_while_a_later_one_confirms() {
        let (mut authority, now) = (ConfirmAuthority::default(), Instant::now());
        assert!(authority.accepts(&confirm(7, 5), now));
        assert!(authority.accepts(&confirm(8, 1), now));
        assert!(!authority.accepts(&confirm(7, 6), now));
        assert!(authority.accepts(&confirm(8, 2), now));
    }

    #[test]
    fn a_target_that_was_restored_to_an_earlier_term_counts_after_a_while() {
        let (mut authority, now) = (ConfirmAuthority::default(), Instant::now());
        assert!(authority.accepts(&confirm(8, 5), now));
        assert!(!authority.accepts(&confirm(3, 1), now));
        assert!(authority.accepts(&confirm(3, 4), now + PROCESSOR_GONE_AFTER));
        assert!(authority.accepts(&confirm(3, 5), now + PROCESSOR_GONE_AFTER));
    }

    /// Receives confirms of these terms each second; returns for each whether it counted.
    fn confirm_by_turns(
        authority: &mut ConfirmAuthority,
        begun: Instant,
        seconds: std::ops::Range<u64>,
        terms: &[i64],
    ) -> Vec<bool> {
        let mut counted = Vec::new();
        for second in seconds {
            for term in terms {
                counted.push(
                    authority.accepts(&confirm(*term, second + 1), begun + Duration::from_secs(second)),
                );
            }
        }
        counted
    }

    #[test]
    fn of_two_that_keep_confirming_neither_counts_until_one_is_silent() {
        let (mut authority, begun) = (ConfirmAuthority::default(), Instant::now());
        let counted = confirm_by_turns(&mut authority, begun, 0..15, &[7, 8]);
        assert_eq!(counted[..4], [true, true, false, true]);
        assert!(!authority.is_contested(begun + Duration::from_secs(14)));
        let counted = confirm_by_turns(&mut authority, begun, 16..30, &[7, 8]);
        assert!(counted.iter().all(|counted| !counted), "{counted:?}");
        assert!(authority.is_contested(begun + Duration::from_secs(29)));
        let counted = confirm_by_turns(&mut authority, begun, 30..40, &[7]);
        assert_eq!(counted, [false, false, true, true, true, true, true, true, true, true]);
        assert!(!authority.is_contested(begun + Duration::from_secs(39)));
    }

    #[test]
    fn one_of_two_that_is_restarted_is_still_one_of_two() {
        let (mut authority, begun) = (ConfirmAuthority::default(), Instant::now());
        confirm_by_turns(&mut authority, begun, 0..10, &[7, 8]);
        confirm_by_turns(&mut authority, begun, 10..12, &[7]);
        assert!(authority.accepts(&confirm(9, 1), begun + Duration::from_millis(11_500)));
        confirm_by_turns(&mut authority, begun, 12..16, &[7, 9]);
        assert!(authority.is_contested(begun + Duration::from_secs(15)));
    }

    #[test]
    fn takeovers_in_a_row_are_not_taken_for_two_that_confirm() {
        let (mut authority, begun) = (ConfirmAuthority::default(), Instant::now());
        for term in 1..10_i64 {
            let from = term.unsigned_abs() * 4;
            assert!(
                confirm_by_turns(&mut authority, begun, from..from + 4, &[term])
                    .iter()
                    .all(|counted| *counted)
            );
        }
    }
}
