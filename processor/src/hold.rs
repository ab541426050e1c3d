//! What holds the target: an event that it cannot take. Nothing overtakes it, and it is tried again.

use shared::retry::Backoff;
use std::time::Instant;

/// The reason, and when to try again.
pub(crate) struct Hold {
    pub(crate) error: String,
    backoff: Backoff,
    retry_at: Instant,
}

impl Hold {
    /// Begins a hold, loudly.
    pub(crate) fn begin(error: String) -> Hold {
        log::error!("the target is held, nothing overtakes it, it is tried again until it works: {error}");
        let mut backoff = Backoff::default();
        let retry_at = Instant::now() + backoff.next_pause();
        Hold { error, backoff, retry_at }
    }

    /// Notes that another try has failed.
    pub(crate) fn failed_again(&mut self, error: String) {
        if self.error != error {
            log::error!("the target is held: {error}");
        }
        self.error = error;
        self.retry_at = Instant::now() + self.backoff.next_pause();
    }

    /// The cause may be mended: the next try comes at once.
    pub(crate) fn retry_now(&mut self) {
        self.backoff = Backoff::default();
        self.retry_at = Instant::now();
    }

    pub(crate) fn is_retry_due(&self) -> bool {
        Instant::now() >= self.retry_at
    }
}
