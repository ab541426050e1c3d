//! Targets that confirm on this source's subject and must not: another one than the source is bound to, or
//! one that follows another source. Their confirms do not count; that they are there is reported.

use super::silence::UNEXPECTED_GONE_AFTER;
use std::collections::BTreeMap;
use std::time::Instant;

/// More are not told apart.
const TARGETS_MAX: usize = 8;

/// Those that confirmed recently: what is wrong with each, by its identity.
#[derive(Default)]
pub(super) struct UnexpectedTargets(BTreeMap<String, (String, Instant)>);

impl UnexpectedTargets {
    /// Notes that `target` confirmed at `now`, and what is wrong with it.
    pub(super) fn note(&mut self, target: &str, trouble: &str, now: Instant) {
        if self.0.len() < TARGETS_MAX || self.0.contains_key(target) {
            self.0.insert(target.to_owned(), (trouble.to_owned(), now));
        }
    }

    /// What is wrong with those that are still there at `now`; none if nothing is.
    pub(super) fn trouble(&mut self, now: Instant) -> Option<String> {
        self.0.retain(|_, (_, confirmed_at)| now.duration_since(*confirmed_at) < UNEXPECTED_GONE_AFTER);
        let troubles: Vec<&str> = self.0.values().map(|(trouble, _)| trouble.as_str()).collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexpected_target_is_reported_while_it_confirms() {
        let (mut unexpected, now) = (UnexpectedTargets::default(), Instant::now());
        assert_eq!(unexpected.trouble(now), None);
        unexpected.note("2/b", "ignoring 2/b", now);
        unexpected.note("3/b", "ignoring 3/b", now + UNEXPECTED_GONE_AFTER / 2);
        assert_eq!(
            unexpected.trouble(now + UNEXPECTED_GONE_AFTER / 2).unwrap(),
            "ignoring 2/b; ignoring 3/b"
        );
        assert_eq!(unexpected.trouble(now + UNEXPECTED_GONE_AFTER).unwrap(), "ignoring 3/b");
        assert_eq!(unexpected.trouble(now + UNEXPECTED_GONE_AFTER * 2), None);
    }

    #[test]
    fn however_many_there_are_a_few_are_remembered() {
        let (mut unexpected, now) = (UnexpectedTargets::default(), Instant::now());
        for number in 0..100 {
            unexpected.note(&number.to_string(), "somebody", now);
        }
        assert_eq!(unexpected.0.len(), TARGETS_MAX);
    }
}
