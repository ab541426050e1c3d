//! Retries: how long to pause, and how often to log.

use std::time::{Duration, Instant};

/// Pauses between tries: doubling from 0.1 s to 5 s, each shortened at random by up to a half, so
/// that many clients of one server do not reconnect at the same moment.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause before the next try.
    pub fn next_pause(&mut self) -> Duration {
        let full_ms = (100_u64 << self.failures.min(6)).min(5000);
        self.failures += 1;
        Duration::from_millis(fastrand::u64(full_ms / 2..=full_ms))
    }
}

/// Decides whether a repeated complaint is worth another log line.
#[derive(Default)]
pub struct Complaint {
    last: Option<(String, Instant)>,
}

impl Complaint {
    /// True when `text` is new or was last logged a minute ago.
    pub fn is_due(&mut self, text: &str) -> bool {
        let repeated = self
            .last
            .as_ref()
            .is_some_and(|(last, at)| last == text && at.elapsed() < Duration::from_secs(60));
        if !repeated {
            self.last = Some((text.to_owned(), Instant::now()));
        }
        !repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..20).map(|_| backoff.next_pause().as_millis()).collect();
        assert!((50..=100).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses[7..].iter().all(|pause| (2500..=5000).contains(pause)), "{pauses:?}");
    }

    #[test]
    fn a_repeated_complaint_is_made_once() {
        let mut complaint = Complaint::default();
        assert!(complaint.is_due("connection refused"));
        assert!(!complaint.is_due("connection refused"));
        assert!(complaint.is_due("connection reset"));
    }
}
