//! A bound on the bytes that are in work at the same time.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many bytes may be in work.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    limit: usize,
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// The right to have some bytes in work. Dropping it gives them back.
pub struct Permit {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// Nothing is taken yet.
    pub fn new(limit: usize) -> Budget {
        Budget(Arc::new(Inner { limit, taken: Mutex::new(0), given_back: Condvar::new() }))
    }

    /// Takes `bytes`; waits at most `timeout` for others to give theirs back. More than the limit is given
    /// once nothing else is taken.
    ///
    /// Those who take must do so in the order in which they finish: then nobody waits for what comes later.
    pub fn take(&self, bytes: usize, timeout: Duration) -> Option<Permit> {
        let deadline = Instant::now() + timeout;
        let mut taken = self.0.taken.lock();
        while *taken > 0 && taken.saturating_add(bytes) > self.0.limit {
            if self.0.given_back.wait_until(&mut taken, deadline).timed_out() {
                return None;
            }
        }
        *taken += bytes;
        Some(Permit { budget: self.clone(), bytes })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.0.taken.lock() -= self.bytes;
        self.budget.0.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn what_is_in_work_stays_below_the_limit() {
        let budget = Budget::new(10);
        let first = budget.take(6, NOW).unwrap();
        let second = budget.take(4, NOW).unwrap();
        assert!(budget.take(1, NOW).is_none());
        drop(first);
        assert!(budget.take(6, NOW).is_some());
        drop(second);
    }

    #[test]
    fn what_is_larger_than_the_limit_is_in_work_alone() {
        let budget = Budget::new(10);
        let small = budget.take(1, NOW).unwrap();
        assert!(budget.take(100, NOW).is_none());
        drop(small);
        let large = budget.take(100, NOW).unwrap();
        assert!(budget.take(1, NOW).is_none());
        drop(large);
        assert!(budget.take(1, NOW).is_some());
    }

    #[test]
    fn who_waits_is_woken_when_bytes_are_given_back() {
        let budget = Budget::new(10);
        let all = budget.take(10, NOW).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.take(10, Duration::from_secs(60)).is_some());
            drop(all);
            assert!(waiting.join().unwrap());
        });
    }
}
