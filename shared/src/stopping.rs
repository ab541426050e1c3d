//! Whether the process is stopping, for waits deep inside a call that no
//! [`Stop`](crate::supervisor::Stop) reaches: they end early.

use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How often a wait checks whether the process is stopping.
const STOP_CHECK: Duration = Duration::from_millis(100);

static STOPPING_SINCE: OnceLock<Instant> = OnceLock::new();

/// Marks the process as stopping.
pub(crate) fn begin() {
    STOPPING_SINCE.get_or_init(Instant::now);
}

/// How long the process has been stopping; none while it is not.
pub(crate) fn stopping_for() -> Option<Duration> {
    STOPPING_SINCE.get().map(Instant::elapsed)
}

/// Receives a message until `deadline`, or until the process is stopping, if that is sooner.
pub(crate) fn receive_until<T>(receiver: &Receiver<T>, deadline: Instant) -> Result<T, RecvTimeoutError> {
    loop {
        let next_check = deadline.min(Instant::now() + STOP_CHECK);
        match receiver.recv_deadline(next_check) {
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline && stopping_for().is_none() => {}
            result => return result,
        }
    }
}
