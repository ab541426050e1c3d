//! Which of the target's processors speaks for it. Usually there is one; for a moment there may be two:
//! one that was stopped, lost its lock meanwhile and wakes up, and one that took over from it. Two that go on
//! speaking are those of two databases with one identity, a copy of the target on a server of its own: then
//! neither counts.

use shared::wire::Confirm;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A processor confirms every second; one that was not heard for longer is not there any more.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// One that lost its lock notices within seconds; two that speak for longer than this both hold one.
const CONTESTED_AFTER: Duration = Duration::from_secs(15);

/// The processor that speaks for the target now, and another one that does so, too.
#[derive(Default)]
pub(crate) struct Speakers {
    current: Option<Speaker>,
    rival: Option<Rival>,
}

struct Speaker {
    incarnation: Uuid,
    term: i64,
    counter: u64,
    heard_at: Instant,
}

/// The one of two that does not speak for the target.
struct Rival {
    incarnation: Uuid,
    term: i64,
    /// Since when there have been two.
    since: Instant,
    heard_at: Instant,
}

impl Speakers {
    /// Whether a confirm heard at `now` counts: not one that is older than one heard before, nor one of
    /// an earlier term while the later one speaks, nor any while two go on speaking. An earlier term that is the
    /// only one to speak counts: the target was restored from a backup.
    pub(crate) fn hear(&mut self, confirm: &Confirm, now: Instant) -> bool {
        let Some(current) = &mut self.current else {
            self.current = Some(Speaker::of(confirm, now));
            return true;
        };
        if (current.incarnation, current.term) == (confirm.incarnation, confirm.term) {
            let newer = confirm.counter > current.counter;
            current.counter = current.counter.max(confirm.counter);
            current.heard_at = now;
            return newer && !self.are_contested(now);
        }
        let since = match &self.rival {
            Some(rival) if !is_silent(rival.heard_at, now) => rival.since,
            _ => now,
        };
        if is_silent(current.heard_at, now) {
            self.current = Some(Speaker::of(confirm, now));
        } else if confirm.term < current.term {
            let Confirm { incarnation, term, .. } = *confirm;
            self.rival = Some(Rival { incarnation, term, since, heard_at: now });
            return false;
        } else {
            let Speaker { incarnation, term, heard_at, .. } = *current;
            self.rival = Some(Rival { incarnation, term, since, heard_at });
            self.current = Some(Speaker::of(confirm, now));
        }
        !self.are_contested(now)
    }

    /// Whether two processors have been speaking for the target for so long that they cannot be of one database.
    pub(crate) fn are_contested(&self, now: Instant) -> bool {
        let (Some(current), Some(rival)) = (&self.current, &self.rival) else { return false };
        (current.incarnation, current.term) != (rival.incarnation, rival.term)
            && !is_silent(current.heard_at, now)
            && !is_silent(rival.heard_at, now)
            && now.duration_since(rival.since) >= CONTESTED_AFTER
    }
}

impl Speaker {
    fn of(confirm: &Confirm, now: Instant) -> Speaker {
        let Confirm { incarnation, term, counter, .. } = *confirm;
        Speaker { incarnation, term, counter, heard_at: now }
    }
}

fn is_silent(heard_at: Instant, now: Instant) -> bool {
    now.duration_since(heard_at) >= SILENT_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::FORMAT;

    fn confirm(term: i64, counter: u64) -> Confirm {
        Confirm {
            format: FORMAT,
            target: "1/b".to_owned(),
            incarnation: Uuid::from_u128(u128::from(term.unsigned_abs())),
            term,
            counter,
            source: None,
            received: None,
            applied: None,
            gap: false,
            idle: false,
        }
    }

    #[test]
    fn a_confirm_that_was_overtaken_does_not_count() {
        let (mut speakers, now) = (Speakers::default(), Instant::now());
        assert!(speakers.hear(&confirm(7, 5), now));
        assert!(!speakers.hear(&confirm(7, 4), now));
        assert!(!speakers.hear(&confirm(7, 5), now));
        assert!(speakers.hear(&confirm(7, 6), now));
    }

    #[test]
    fn an_earlier_term_does_not_count_while_a_later_one_speaks() {
        let (mut speakers, now) = (Speakers::default(), Instant::now());
        assert!(speakers.hear(&confirm(7, 5), now));
        assert!(speakers.hear(&confirm(8, 1), now));
        assert!(!speakers.hear(&confirm(7, 6), now));
        assert!(speakers.hear(&confirm(8, 2), now));
    }

    #[test]
    fn a_target_that_was_restored_to_an_earlier_term_is_heard_after_a_while() {
        let (mut speakers, now) = (Speakers::default(), Instant::now());
        assert!(speakers.hear(&confirm(8, 5), now));
        assert!(!speakers.hear(&confirm(3, 1), now));
        assert!(speakers.hear(&confirm(3, 4), now + SILENT_AFTER));
        assert!(speakers.hear(&confirm(3, 5), now + SILENT_AFTER));
    }

    /// Hears confirms of these terms each second; returns for each whether it counted.
    fn hear_by_turns(
        speakers: &mut Speakers,
        begun: Instant,
        seconds: std::ops::Range<u64>,
        terms: &[i64],
    ) -> Vec<bool> {
        let mut counted = Vec::new();
        for second in seconds {
            for term in terms {
                counted.push(speakers.hear(&confirm(*term, second + 1), begun + Duration::from_secs(second)));
            }
        }
        counted
    }

    #[test]
    fn of_two_that_go_on_speaking_neither_counts_until_one_is_silent() {
        let (mut speakers, begun) = (Speakers::default(), Instant::now());
        let counted = hear_by_turns(&mut speakers, begun, 0..15, &[7, 8]);
        assert_eq!(counted[..4], [true, true, false, true]);
        assert!(!speakers.are_contested(begun + Duration::from_secs(14)));
        let counted = hear_by_turns(&mut speakers, begun, 16..30, &[7, 8]);
        assert!(counted.iter().all(|counted| !counted), "{counted:?}");
        assert!(speakers.are_contested(begun + Duration::from_secs(29)));
        let counted = hear_by_turns(&mut speakers, begun, 30..40, &[7]);
        assert_eq!(counted, [false, false, true, true, true, true, true, true, true, true]);
        assert!(!speakers.are_contested(begun + Duration::from_secs(39)));
    }

    #[test]
    fn takeovers_in_a_row_are_not_taken_for_two_that_speak() {
        let (mut speakers, begun) = (Speakers::default(), Instant::now());
        for term in 1..10_i64 {
            let from = term.unsigned_abs() * 4;
            assert!(
                hear_by_turns(&mut speakers, begun, from..from + 4, &[term]).iter().all(|counted| *counted)
            );
        }
    }
}
