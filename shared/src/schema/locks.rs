//! Locks on what the application uses: awaited briefly, and again later. Whoever else wants the table queues
//! behind one that waits.

use anyhow::Result;
use postgres::error::SqlState;
use std::time::Duration;

/// How long one attempt waits for a lock, in the transaction that it is executed in.
pub(super) const SET_TIMEOUT: &str = "set local lock_timeout = '500ms'";

/// How often something is attempted that may find a lock taken.
#[derive(Clone, Copy)]
pub(super) struct Attempts {
    max: u32,
    pause: Duration,
}

impl Attempts {
    /// Of a service, which tries again by itself and must notice a stop: some seconds.
    pub(super) const OF_A_SERVICE: Attempts = Attempts { max: 8, pause: Duration::from_millis(250) };
    /// Of a command that an operator waits for: some minutes.
    pub(super) const OF_A_COMMAND: Attempts = Attempts { max: 80, pause: Duration::from_secs(2) };

    /// Attempts until something else happens than that a lock was not available in time.
    pub(super) fn until_unlocked(self, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
        for _ in 1..self.max {
            match attempt() {
                Err(error) if is_timeout(&error) => {
                    log::info!(error:% = format!("{error:#}"); "waiting for a lock that other transactions hold");
                    std::thread::sleep(self.pause);
                }
                ended => return ended,
            }
        }
        attempt()
    }
}

/// Whether a lock was not available in time.
pub(super) fn is_timeout(error: &anyhow::Error) -> bool {
    let database = error.chain().find_map(|cause| cause.downcast_ref::<postgres::Error>());
    database.and_then(postgres::Error::code) == Some(&SqlState::LOCK_NOT_AVAILABLE)
}
