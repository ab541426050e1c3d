//! How much longer than usual a statement that reads a tick may take.

use anyhow::Result;
use postgres::error::SqlState;

/// Where a tick cannot be read within the time that a statement has, the next session gives it up to this
/// many times as much: rather a vacuum that is held back than a tick that is never read.
const FACTOR_MAX: u32 = 16;

/// A multiple of the statement timeout.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeoutFactor(u32);

impl Default for TimeoutFactor {
    fn default() -> TimeoutFactor {
        TimeoutFactor(1)
    }
}

impl TimeoutFactor {
    pub(super) fn get(self) -> u32 {
        self.0
    }

    /// Doubles after a timeout without progress; 1 again after a tick that was read. A read that got as far
    /// as a batch made progress: the next session continues behind that.
    pub(super) fn adapt(&mut self, read: &Result<()>, has_cut: bool) {
        match read {
            Ok(()) => self.0 = 1,
            Err(error) if !has_cut && has_timed_out(error) => self.0 = (self.0 * 2).min(FACTOR_MAX),
            Err(_) => {}
        }
    }
}

fn has_timed_out(error: &anyhow::Error) -> bool {
    let database = error.chain().find_map(|cause| cause.downcast_ref::<postgres::Error>());
    database.and_then(postgres::Error::code) == Some(&SqlState::QUERY_CANCELED)
}
