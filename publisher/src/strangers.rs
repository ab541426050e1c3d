//! Who confirms on our subject and must not: another target than the one that this source is bound to, or one
//! that follows another source. Nothing that they say counts; that they are there is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A processor confirms every second; one that was not heard for longer is not there any more.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// More are not told apart.
const STRANGERS_MAX: usize = 8;

/// Those that were heard lately: what is wrong with each, by its identity.
#[derive(Default)]
pub(crate) struct Strangers(BTreeMap<String, (String, Instant)>);

impl Strangers {
    /// Notes that `target` was heard at `now`, and what is wrong with it.
    pub(crate) fn hear(&mut self, target: &str, trouble: &str, now: Instant) {
        if self.0.len() < STRANGERS_MAX || self.0.contains_key(target) {
            self.0.insert(target.to_owned(), (trouble.to_owned(), now));
        }
    }

    /// What is wrong with those that are still there at `now`; none where there is nobody.
    pub(crate) fn trouble(&mut self, now: Instant) -> Option<String> {
        self.0.retain(|_, (_, heard_at)| now.duration_since(*heard_at) < SILENT_AFTER);
        let troubles: Vec<&str> = self.0.values().map(|(trouble, _)| trouble.as_str()).collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_told_while_it_is_heard() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        assert_eq!(strangers.trouble(now), None);
        strangers.hear("2/b", "ignoring 2/b", now);
        strangers.hear("3/b", "ignoring 3/b", now + SILENT_AFTER / 2);
        assert_eq!(strangers.trouble(now + SILENT_AFTER / 2).unwrap(), "ignoring 2/b; ignoring 3/b");
        assert_eq!(strangers.trouble(now + SILENT_AFTER).unwrap(), "ignoring 3/b");
        assert_eq!(strangers.trouble(now + SILENT_AFTER * 2), None);
    }

    #[test]
    fn however_many_there_are_a_few_are_remembered() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        for number in 0..100 {
            strangers.hear(&number.to_string(), "somebody", now);
        }
        assert_eq!(strangers.0.len(), STRANGERS_MAX);
    }
}
