//! Gaining or losing: what changed between two looks.

use super::Overview;
use serde::Serialize;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Trend {
    /// Seconds of the source's time that are applied in a second: above 1 it gains, below 1 it loses.
    pub(crate) speed: f64,
    /// The target has applied something, or received something.
    pub(crate) moves: bool,
    /// Until the lag is gone at this speed; none where it does not shrink.
    pub(crate) seconds_left: Option<f64>,
}

/// Speeds this near to 1 are neither.
const STEADY: f64 = 0.02;

impl Trend {
    /// None where either look had no lag to tell.
    pub(crate) fn between(before: &Overview, now: &Overview) -> Option<Trend> {
        let (lag_before, lag) = (before.lag_seconds()?, now.lag_seconds()?);
        let elapsed = now.looked_at.duration_since(before.looked_at).as_secs_f64();
        let speed = 1.0 + (lag_before - lag) / elapsed.max(0.001);
        let position = |overview: &Overview| {
            let source = overview.source.as_ref().map(|source| source.confirmed_tick);
            let target = overview
                .target
                .as_ref()
                .map(|target| (target.received_tick, target.applied_tick, target.unapplied_events));
            (source, target)
        };
        Some(Trend {
            speed,
            moves: position(before) != position(now),
            seconds_left: (speed > 1.0 + STEADY).then(|| lag / (speed - 1.0)),
        })
    }

    pub(crate) fn gains(self) -> bool {
        self.speed > 1.0 + STEADY
    }

    pub(crate) fn loses(self) -> bool {
        self.speed < 1.0 - STEADY
    }
}

#[cfg(test)]
mod tests {
    use super::super::TargetOverview;
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64, lag: Option<f64>, applied: i64) -> Overview {
        let mut overview = Overview::empty();
        overview.looked_at += Duration::from_secs(seconds);
        overview.target = Some(TargetOverview {
            behind_seconds: lag,
            applied_tick: Some(applied),
            ..TargetOverview::default()
        });
        overview
    }

    #[test]
    fn what_shrinks_gains_and_has_an_end() {
        let base = at(0, Some(10.0), 5);
        let after = |lag, applied| {
            let mut now = at(0, lag, applied);
            now.looked_at = base.looked_at + Duration::from_secs(2);
            Trend::between(&base, &now)
        };
        let gaining = after(Some(6.0), 7).unwrap();
        assert!(gaining.gains() && gaining.moves && !gaining.loses(), "{gaining:?}");
        assert!((gaining.speed - 3.0).abs() < 1e-6 && (gaining.seconds_left.unwrap() - 3.0).abs() < 1e-6);
        let losing = after(Some(12.0), 5).unwrap();
        assert!(losing.loses() && !losing.moves && losing.seconds_left.is_none(), "{losing:?}");
        assert_eq!(after(None, 5), None);
    }
}
