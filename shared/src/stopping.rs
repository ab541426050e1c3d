//! Whether the process is stopping, for waits deep inside a call, where no
//! [`Stop`](crate::supervisor::Stop) reaches: they are not worth going on with.

use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A wait looks this often whether the process is stopping.
const STOP_CHECK: Duration = Duration::from_millis(100);

static STOPPING_SINCE: OnceLock<Instant> = OnceLock::new();

/// Says that the process is stopping, from now on.
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
        let next_look = deadline.min(Instant::now() + STOP_CHECK);
        match receiver.recv_deadline(next_look) {
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline && stopping_for().is_none() => {}
            result => return result,
        }
    }
}
