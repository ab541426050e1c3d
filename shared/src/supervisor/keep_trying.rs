//! Running the work of a thread again after each temporary failure.

use super::context::ThreadContext;
use crate::fault::{Fault, fault_of};
use crate::retry::{Backoff, Complaint};
use anyhow::Result;
use log::Level;
use std::time::{Duration, Instant};

/// What a service needs may be started beside it: before this time, a failure is no warning.
const START_GRACE: Duration = Duration::from_secs(15);

impl ThreadContext {
    /// Runs `session` until a stop is requested, again after each temporary failure.
    ///
    /// Pauses grow from 0.1 s to 5 s, with jitter, and start over once a session has reported
    /// itself healthy. A repeated error is logged when it changes and then once a minute, with how often it
    /// came; as a warning, unless this thread has just started. An error that carries [`Fault::Fatal`] is
    /// returned.
    pub fn keep_trying(&self, what: &str, mut session: impl FnMut() -> Result<()>) -> Result<()> {
        let mut backoff = Backoff::default();
        let mut complaints = Complaints::begin();
        self.starting();
        while !self.stop().requested() {
            let Err(error) = session() else { continue };
            if fault_of(&error) == Fault::Fatal {
                return Err(error);
            }
            if self.stop().requested() {
                // The stop itself is the likely cause.
                log::debug!(error:% = format!("{error:#}"); "{what}");
                break;
            }
            if self.is_healthy() {
                backoff = Backoff::default();
            }
            self.unhealthy(&format!("{what}: {error:#}"));
            if let Some((level, error)) = complaints.due(&format!("{error:#}"), Instant::now()) {
                log::log!(level, error = error.as_str(), next = "retrying"; "{what}");
            }
            self.stop().wait(backoff.next_pause());
        }
        Ok(())
    }
}

/// Complaints of a thread: as information at first, then as warnings. Neither silences the other.
struct Complaints {
    begun: Instant,
    at_first: Complaint,
    later: Complaint,
}

impl Complaints {
    fn begin() -> Complaints {
        Complaints { begun: Instant::now(), at_first: Complaint::default(), later: Complaint::default() }
    }

    fn due(&mut self, error: &str, now: Instant) -> Option<(Level, String)> {
        let (level, complaint) = if now.duration_since(self.begun) < START_GRACE {
            (Level::Info, &mut self.at_first)
        } else {
            (Level::Warn, &mut self.later)
        };
        complaint.due(error).map(|error| (level, error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Stop;
    use super::super::health::Health;
    use super::*;
    use anyhow::anyhow;
    use crossbeam_channel::bounded;

    #[test]
    fn a_temporary_failure_is_retried_until_a_stop_is_requested() {
        let (running, stopped) = bounded(0);
        let context = ThreadContext::new("reader", Stop(stopped), Health::default());
        let (mut running, mut tries) = (Some(running), 0);
        let result = context.keep_trying("read", || {
            tries += 1;
            if tries == 3 {
                running = None;
            }
            Err(anyhow!("connection reset"))
        });
        assert!(result.is_ok());
        assert_eq!(tries, 3);
        assert!(!context.is_healthy());
    }

    #[test]
    fn a_failure_that_outlasts_the_start_is_a_warning() {
        let mut complaints = Complaints::begin();
        let (start, later) = (complaints.begun, complaints.begun + START_GRACE);
        let due = |level: Level| Some((level, "no stream".to_owned()));
        assert_eq!(complaints.due("no stream", start), due(Level::Info));
        assert_eq!(complaints.due("no stream", start), None);
        assert_eq!(complaints.due("no stream", later), due(Level::Warn));
        assert_eq!(complaints.due("no stream", later), None);
    }

    #[test]
    fn a_fatal_failure_ends_the_thread() {
        let (_running, stopped) = bounded(0);
        let context = ThreadContext::new("reader", Stop(stopped), Health::default());
        let result = context.keep_trying("read", || Err(anyhow!("another history").context(Fault::Fatal)));
        assert_eq!(fault_of(&result.unwrap_err()), Fault::Fatal);
    }
}
