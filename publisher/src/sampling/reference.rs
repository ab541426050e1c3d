//! Whether the target catches up.

use std::time::{Duration, Instant};

/// A target that is further behind, and does not catch up, keeps the publisher from being ready.
const LAG_MAX_SECONDS: f64 = 60.0;
/// The lag is compared with that of so long ago.
const COMPARED_AFTER: Duration = Duration::from_secs(10);

/// The lag of now, and that of a while ago.
#[derive(Default)]
pub(super) struct Reference {
    now: f64,
    before: Option<(Instant, f64)>,
    grows: bool,
}

impl Reference {
    pub(super) fn note(&mut self, lag_seconds: f64, at: Instant) {
        self.now = lag_seconds;
        match self.before {
            Some((since, _)) if at.duration_since(since) < COMPARED_AFTER => return,
            Some((_, before)) => self.grows = lag_seconds > before,
            None => {}
        }
        self.before = Some((at, lag_seconds));
    }

    pub(super) fn hindrance(&self) -> Option<String> {
        (self.now > LAG_MAX_SECONDS && self.grows)
            .then(|| format!("the target is {:.0} s behind, and does not catch up", self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_lag_that_grows_is_in_the_way() {
        let begun = Instant::now();
        let after = |lags: &[f64]| {
            let mut reference = Reference::default();
            for (number, lag) in (0_u32..).zip(lags) {
                reference.note(*lag, begun + COMPARED_AFTER * number);
            }
            reference.hindrance()
        };
        assert_eq!(after(&[100.0]), None);
        assert_eq!(after(&[100.0, 90.0]), None);
        assert_eq!(after(&[10.0, 20.0]), None);
        assert_eq!(after(&[90.0, 100.0]).unwrap(), "the target is 100 s behind, and does not catch up");
        assert_eq!(after(&[90.0, 100.0, 99.0]), None);
    }
}
