//! Those whose messages do not count. That they are there is reported while they send, and a while longer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// More are not told apart.
const SENDERS_MAX: usize = 8;

/// Those that were heard lately: what is wrong with each, by its name.
pub struct UnexpectedSenders {
    gone_after: Duration,
    heard: BTreeMap<String, (String, Instant)>,
}

impl UnexpectedSenders {
    /// Nobody yet. Who has been silent for `gone_after` is forgotten.
    pub fn new(gone_after: Duration) -> UnexpectedSenders {
        UnexpectedSenders { gone_after, heard: BTreeMap::new() }
    }

    /// Notes that `name` was heard at `now`, and what is wrong with it. True where that is new.
    pub fn note(&mut self, name: &str, trouble: &str, now: Instant) -> bool {
        self.forget_silent(now);
        let is_known = self.heard.contains_key(name);
        if is_known || self.heard.len() < SENDERS_MAX {
            self.heard.insert(name.to_owned(), (trouble.to_owned(), now));
            return !is_known;
        }
        false
    }

    /// What is wrong with those that are still there at `now`; none if nothing is.
    pub fn trouble(&mut self, now: Instant) -> Option<String> {
        self.forget_silent(now);
        let troubles: Vec<&str> = self.heard.values().map(|(trouble, _)| trouble.as_str()).collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    fn forget_silent(&mut self, now: Instant) {
        self.heard.retain(|_, (_, heard_at)| now.duration_since(*heard_at) < self.gone_after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE_AFTER: Duration = Duration::from_secs(5);

    #[test]
    fn a_sender_is_reported_while_it_sends() {
        let (mut senders, now) = (UnexpectedSenders::new(GONE_AFTER), Instant::now());
        assert_eq!(senders.trouble(now), None);
        assert!(senders.note("2/b", "ignoring 2/b", now));
        assert!(!senders.note("2/b", "ignoring 2/b", now));
        assert!(senders.note("3/b", "ignoring 3/b", now + GONE_AFTER / 2));
        assert_eq!(senders.trouble(now + GONE_AFTER / 2).unwrap(), "ignoring 2/b; ignoring 3/b");
        assert_eq!(senders.trouble(now + GONE_AFTER).unwrap(), "ignoring 3/b");
        assert_eq!(senders.trouble(now + GONE_AFTER * 2), None);
        assert!(senders.note("2/b", "ignoring 2/b", now + GONE_AFTER * 2));
    }

    #[test]
    fn however_many_there_are_a_few_are_remembered() {
        let (mut senders, now) = (UnexpectedSenders::new(GONE_AFTER), Instant::now());
        let new = (0..100).filter(|number| senders.note(&number.to_string(), "somebody", now)).count();
        assert_eq!((new, senders.heard.len()), (SENDERS_MAX, SENDERS_MAX));
    }
}
