//! How much longer than usual the statements of a session may take.

use crate::fault::{Fault, fault_of};
use anyhow::Result;

/// Where a tick cannot be read or applied within the time that a statement has, the next session gives it up to
/// this many times as much: rather a vacuum that is held back than a tick that never arrives.
const FACTOR_MAX: u32 = 16;

/// A multiple of the statement timeout.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutFactor(u32);

impl Default for TimeoutFactor {
    fn default() -> TimeoutFactor {
        TimeoutFactor(1)
    }
}

impl TimeoutFactor {
    /// How many times the usual timeout.
    pub fn get(self) -> u32 {
        self.0
    }

    /// Doubles after a timeout without progress; 1 again after success. Work that made some progress continues
    /// behind that in the next session.
    pub fn adapt(&mut self, outcome: &Result<()>, has_progressed: bool) {
        match outcome {
            Ok(()) => self.0 = 1,
            Err(error) if !has_progressed && fault_of(error) == Fault::OutOfTime => {
                self.0 = (self.0 * 2).min(FACTOR_MAX);
            }
            Err(_) => {}
        }
    }
}
