//! Attempts that cannot be ended once they hang: bounded in number.

use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Beyond so many that have not ended, no new one is made.
const UNENDED_MAX: usize = 16;

/// Counts the attempts at one thing that have not ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<AtomicUsize>);

/// One of them. It ends when this is dropped.
pub(crate) struct Attempt(Attempts);

impl Attempts {
    /// Begins one; fails where too many have not ended.
    pub(crate) fn begin(&self) -> Result<Attempt> {
        if self.0.fetch_add(1, Ordering::AcqRel) >= UNENDED_MAX {
            self.0.fetch_sub(1, Ordering::AcqRel);
            bail!("{UNENDED_MAX} earlier attempts still hang");
        }
        Ok(Attempt(self.clone()))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_made_than_may_hang() {
        let attempts = Attempts::default();
        let mut hanging: Vec<Attempt> = (0..UNENDED_MAX).map(|_| attempts.begin().unwrap()).collect();
        assert!(attempts.begin().is_err());
        hanging.pop();
        assert!(attempts.begin().is_ok());
    }
}
