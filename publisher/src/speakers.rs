//! Which of the target's processors speaks for it. Usually there is one; for a moment there may be two:
//! one that was stopped, lost its lock meanwhile and wakes up, and one that took over from it.

use shared::wire::Confirm;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A processor confirms every second; one that was not heard for longer is not there any more.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// The processor that speaks for the target now.
#[derive(Default)]
pub(crate) struct Speakers(Option<Speaker>);

struct Speaker {
    incarnation: Uuid,
    term: i64,
    counter: u64,
    heard_at: Instant,
}

impl Speakers {
    /// Whether a confirm heard at `now` counts: not one that is older than one heard before, nor one of
    /// an earlier term while the later one speaks. An earlier term that is the only one to speak counts:
    /// the target was restored from a backup.
    pub(crate) fn hear(&mut self, confirm: &Confirm, now: Instant) -> bool {
        if let Some(current) = &mut self.0 {
            if (current.incarnation, current.term) == (confirm.incarnation, confirm.term) {
                let newer = confirm.counter > current.counter;
                current.counter = current.counter.max(confirm.counter);
                current.heard_at = now;
                return newer;
            }
            if confirm.term < current.term && now.duration_since(current.heard_at) < SILENT_AFTER {
                return false;
            }
        }
        self.0 = Some(Speaker {
            incarnation: confirm.incarnation,
            term: confirm.term,
            counter: confirm.counter,
            heard_at: now,
        });
        true
    }
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
}
