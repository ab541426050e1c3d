//! The last 15 minutes, a sample each second: so that a page that was just opened shows them.

use super::document::Half;
use crate::wire::{SourceFigures, TargetFigures};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// So many samples are kept.
pub const KEPT: usize = 900;
/// Rates are of so many seconds: one alone says little where events are few.
const RATE_SECONDS: usize = 10;

/// One second. What was not known is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// The ages of what waits longest to be published, received, applied, and in all.
    pub ages_ms: [Option<u64>; 4],
    /// A counter of captured events.
    pub captured: Option<u64>,
    /// A counter of applied events.
    pub applied: Option<u64>,
    /// The position of the target: it moves while it makes progress.
    pub position: (Option<i64>, Option<i64>),
    /// How old what the target shows is.
    pub behind_ms: Option<u64>,
}

/// How fast events come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Captured in the source.
    pub captured_per_second: Option<f64>,
    /// Committed in the target.
    pub applied_per_second: Option<f64>,
    /// For how long the target has not moved, as far back as is known.
    pub still_seconds: f64,
}

/// The samples, the oldest first. All lists are as long; null is what was not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// From one sample to the next.
    pub interval_seconds: u32,
    /// Of the last sample.
    pub last_at: Option<Timestamp>,
    /// What the target shows was so old.
    pub behind_seconds: Vec<Option<f64>>,
    /// Of the oldest event that waits: how long it waited in each stage.
    pub capture_to_publish_seconds: Vec<Option<f64>>,
    /// Published, and not received.
    pub publish_to_receive_seconds: Vec<Option<f64>>,
    /// Received, and not applied.
    pub receive_to_apply_seconds: Vec<Option<f64>>,
    /// Applied, and not confirmed.
    pub apply_to_confirm_seconds: Vec<Option<f64>>,
    /// Captured in the source.
    pub captured_events_per_second: Vec<Option<f64>>,
    /// Committed in the target.
    pub applied_events_per_second: Vec<Option<f64>>,
}

/// A ring of the last [`KEPT`] samples.
#[derive(Debug, Default)]
pub struct Samples {
    kept: VecDeque<Sample>,
    last_at: Option<Timestamp>,
    still_for: usize,
}

impl Sample {
    /// What is known of both sides now. `applied` is the counter of the target's service.
    pub fn of(
        source: &Half<SourceFigures>,
        target: &Half<TargetFigures>,
        applied: Option<u64>,
        behind_seconds: Option<f64>,
    ) -> Sample {
        let a = source.fresh();
        let b = target.fresh();
        Sample {
            ages_ms: [
                a.and_then(|a| a.capture_to_publish_ms),
                a.and_then(|a| a.publish_to_receive_ms),
                b.and_then(|b| b.receive_to_apply_ms),
                a.and_then(|a| a.total_ms),
            ],
            captured: a.and_then(|a| a.captured_events),
            applied: b.and(applied),
            position: (b.and_then(|b| b.received_tick), b.and_then(|b| b.applied_tick)),
            behind_ms: behind_seconds.map(to_ms),
        }
    }

    /// How long the oldest event that waits has waited in each of the four stages.
    fn stages_ms(&self) -> [Option<u64>; 4] {
        let mut before = Some(0);
        self.ages_ms.map(|age| {
            let stage = age.zip(before).map(|(age, before)| age.saturating_sub(before));
            before = age.zip(before).map(|(age, before)| age.max(before)).or(before);
            stage
        })
    }
}

impl Samples {
    /// Keeps a sample. Call this once a second.
    pub fn add(&mut self, at: Timestamp, sample: Sample) {
        let moved = self
            .kept
            .back()
            .is_some_and(|last| (last.position, last.applied) != (sample.position, sample.applied));
        self.still_for = if moved { 0 } else { self.still_for + 1 };
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(sample);
        self.last_at = Some(at);
    }

    /// How fast events come and go now.
    pub fn pace(&self) -> Pace {
        let last = self.kept.len().saturating_sub(1);
        Pace {
            captured_per_second: self.rate(last, RATE_SECONDS, |sample| sample.captured),
            applied_per_second: self.rate(last, RATE_SECONDS, |sample| sample.applied),
            #[expect(clippy::cast_precision_loss, reason = "seconds, for people")]
            still_seconds: self.still_for as f64,
        }
    }

    /// All of them.
    pub fn series(&self) -> Series {
        let stage = |number: usize| self.each(|sample| sample.stages_ms()[number].map(to_seconds));
        let rates = |counter: fn(&Sample) -> Option<u64>| {
            (0..self.kept.len()).map(|index| self.rate(index, RATE_SECONDS, counter).map(rounded)).collect()
        };
        Series {
            interval_seconds: 1,
            last_at: self.last_at,
            behind_seconds: self.each(|sample| sample.behind_ms.map(to_seconds)),
            capture_to_publish_seconds: stage(0),
            publish_to_receive_seconds: stage(1),
            receive_to_apply_seconds: stage(2),
            apply_to_confirm_seconds: stage(3),
            captured_events_per_second: rates(|sample| sample.captured),
            applied_events_per_second: rates(|sample| sample.applied),
        }
    }

    fn each(&self, value: impl Fn(&Sample) -> Option<f64>) -> Vec<Option<f64>> {
        self.kept.iter().map(value).collect()
    }

    /// Of the `seconds` up to a sample, as far as it is known without a break: a counter that went back or was not known
    /// says nothing of what was before.
    fn rate(&self, index: usize, seconds: usize, counter: impl Fn(&Sample) -> Option<u64>) -> Option<f64> {
        let last = counter(self.kept.get(index)?)?;
        let (mut first, mut steps) = (last, 0_u32);
        for before in self.kept.range(index.saturating_sub(seconds)..index).rev() {
            match counter(before) {
                Some(count) if count <= first => (first, steps) = (count, steps + 1),
                _ => break,
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
        (steps > 0).then(|| (last - first) as f64 / f64::from(steps))
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn to_seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and for people")]
fn to_ms(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0) as u64
}

fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(applied: impl IntoIterator<Item = Option<u64>>) -> Samples {
        let mut samples = Samples::default();
        for applied in applied {
            samples.add(Timestamp::UNIX_EPOCH, Sample { applied, ..Sample::default() });
        }
        samples
    }

    #[test]
    fn only_the_last_15_minutes_are_kept_and_fit_into_a_page() {
        let samples = counted((0..2000).map(Some));
        let series = samples.series();
        assert_eq!(series.behind_seconds.len(), KEPT);
        assert_eq!(series.applied_events_per_second.last(), Some(&Some(1.0)));
        assert!(serde_json::to_string(&series).unwrap().len() < 60_000);
    }

    #[test]
    fn a_rate_is_of_what_is_known_without_a_break() {
        let rate = |counts: &[Option<u64>]| counted(counts.iter().copied()).pace().applied_per_second;
        assert_eq!(rate(&[Some(0), Some(10), Some(30)]), Some(15.0));
        assert_eq!(rate(&[Some(0), None, Some(20), Some(30)]), Some(10.0), "not known in between");
        assert_eq!(rate(&[Some(90), Some(5), Some(6)]), Some(1.0), "the counter began again");
        assert_eq!(rate(&[Some(7)]), None);
        assert_eq!(rate(&[Some(7), None]), None);
    }

    #[test]
    fn a_target_that_does_not_move_is_still() {
        let still = |counts: &[u64]| counted(counts.iter().copied().map(Some)).pace().still_seconds;
        assert!((still(&[1, 2, 2, 2]) - 2.0).abs() < 0.01);
        assert!(still(&[2, 2, 3]) < 0.01);
    }

    #[test]
    fn stages_add_up_to_the_age_of_what_waits_longest() {
        let sample = Sample { ages_ms: [Some(100), Some(300), Some(250), Some(1000)], ..Sample::default() };
        assert_eq!(sample.stages_ms(), [Some(100), Some(200), Some(0), Some(700)]);
        let sample = Sample { ages_ms: [Some(100), None, Some(250), None], ..Sample::default() };
        assert_eq!(sample.stages_ms(), [Some(100), None, Some(150), None]);
    }
}
