//! Why apply is blocked, and when it is retried. Later transactions wait.

use crate::inbox::Refusal;
use crate::metrics::METRICS;
use shared::retry::Backoff;
use std::time::Instant;

/// The reason, and the time of the next retry.
pub(super) struct Hold {
    pub(super) refusal: Refusal,
    backoff: Backoff,
    retry_at: Instant,
}

impl Hold {
    /// Begins a hold, and logs it as an error.
    pub(super) fn begin(refusal: Refusal) -> Hold {
        METRICS.hold_attempts.inc();
        let Refusal { tick, txid, error, row: _ } = &refusal;
        log::error!(tick, txid, error; "apply is blocked; retrying. Later transactions wait.");
        let mut backoff = Backoff::default();
        let retry_at = Instant::now() + backoff.next_pause();
        Hold { refusal, backoff, retry_at }
    }

    /// Notes that a retry has failed.
    pub(super) fn failed_again(&mut self, refusal: Refusal) {
        METRICS.hold_attempts.inc();
        if self.refusal != refusal {
            let Refusal { tick, txid, error, row: _ } = &refusal;
            log::error!(tick, txid, error; "apply is blocked");
        }
        self.refusal = refusal;
        self.retry_at = Instant::now() + self.backoff.next_pause();
    }

    /// Retries at once, since an operator asked for it.
    pub(super) fn retry_now(&mut self) {
        self.backoff = Backoff::default();
        self.retry_at = Instant::now();
    }

    pub(super) fn is_retry_due(&self) -> bool {
        Instant::now() >= self.retry_at
    }
}
