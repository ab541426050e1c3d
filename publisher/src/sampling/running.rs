//! How long the oldest running transaction has been seen. When it began, `pg_stat_activity` tells superusers only.

use std::time::Instant;

/// The transaction that was seen last, and since when.
#[derive(Default)]
pub(super) struct Running(Option<(String, Instant)>);

impl Running {
    /// `oldest` is the oldest one that runs now, by its number.
    pub(super) fn note(&mut self, oldest: Option<&str>) {
        let known = self.0.as_ref().map(|(number, _)| number.as_str());
        if known != oldest {
            self.0 = oldest.map(|number| (number.to_owned(), Instant::now()));
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.0.as_ref().map_or(0.0, |(_, since)| since.elapsed().as_secs_f64())
    }
}
