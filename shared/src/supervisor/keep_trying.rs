//! Running the work of a thread again after each temporary failure.

use super::context::ThreadContext;
use crate::fault::{Fault, fault_of};
use crate::retry::{Backoff, Complaint};
use anyhow::Result;

impl ThreadContext {
    /// Runs `session` until a stop is requested, again after each temporary failure.
    ///
    /// Pauses grow from 0.1 s to 5 s, with jitter, and start over once a session has reported
    /// itself healthy. A repeated error is logged when it changes and then once a minute. An error
    /// that carries [`Fault::Fatal`] is returned.
    pub fn keep_trying(&self, what: &str, mut session: impl FnMut() -> Result<()>) -> Result<()> {
        let mut backoff = Backoff::default();
        let mut complaint = Complaint::default();
        self.starting();
        while !self.stop().requested() {
            let Err(error) = session() else { continue };
            if fault_of(&error) == Fault::Fatal {
                return Err(error);
            }
            let text = format!("{what}: {error:#}");
            if self.stop().requested() {
                // The stop itself is the likely cause.
                log::debug!("{text}");
                break;
            }
            if self.is_healthy() {
                backoff = Backoff::default();
            }
            self.unhealthy(&text);
            if complaint.is_due(&text) {
                log::warn!("{text}; retrying");
            }
            self.stop().wait(backoff.next_pause());
        }
        Ok(())
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
    fn a_fatal_failure_ends_the_thread() {
        let (_running, stopped) = bounded(0);
        let context = ThreadContext::new("reader", Stop(stopped), Health::default());
        let result = context.keep_trying("read", || Err(anyhow!("another history").context(Fault::Fatal)));
        assert_eq!(fault_of(&result.unwrap_err()), Fault::Fatal);
    }
}
