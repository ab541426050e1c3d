//! Retries: how long to pause, and how often to log.

use std::collections::VecDeque;
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

/// Complaints of one kind are repeated after this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// So many different ones are logged in that time: their texts may be somebody else's.
const COMPLAINTS_MAX: usize = 10;

/// Decides whether a complaint is worth a log line.
#[derive(Default)]
pub struct Complaint {
    last: Option<String>,
    /// When the last ones were logged.
    logged_at: VecDeque<Instant>,
    /// How many were not, since then.
    unlogged: u64,
}

impl Complaint {
    /// The text to log where it is due, with the number of complaints that were not logged since the last one.
    pub fn due(&mut self, text: &str) -> Option<String> {
        if !self.is_due(text) {
            return None;
        }
        Some(match std::mem::take(&mut self.unlogged) {
            0 => text.to_owned(),
            unlogged => format!("{text} ({unlogged} more like this since the last line)"),
        })
    }

    /// True when `text` is new or was last logged a minute ago, and not too many others were since.
    fn is_due(&mut self, text: &str) -> bool {
        while self.logged_at.front().is_some_and(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
            self.logged_at.pop_front();
        }
        let repeated = !self.logged_at.is_empty() && self.last.as_deref() == Some(text);
        if repeated || self.logged_at.len() >= COMPLAINTS_MAX {
            self.unlogged += 1;
            return false;
        }
        self.last = Some(text.to_owned());
        self.logged_at.push_back(Instant::now());
        true
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
        assert!(complaint.due("connection refused").is_some());
        assert!(complaint.due("connection refused").is_none());
        assert!(complaint.due("connection reset").is_some());
    }

    #[test]
    fn of_complaints_that_all_differ_a_few_are_made() {
        let mut complaint = Complaint::default();
        let made = (0..1000).filter(|number| complaint.due(&format!("message {number}")).is_some()).count();
        assert_eq!(made, COMPLAINTS_MAX);
    }

    #[test]
    fn what_is_not_logged_is_counted() {
        let mut complaint = Complaint::default();
        assert_eq!(complaint.due("refused").unwrap(), "refused");
        assert!((0..5).all(|_| complaint.due("refused").is_none()));
        assert_eq!(complaint.due("reset").unwrap(), "reset (5 more like this since the last line)");
        assert_eq!(complaint.due("again").unwrap(), "again");
    }
}
