//! The one word, and what needs somebody: decided from what the sides say, without looking at anything.

use super::Overview;
use super::equal::Verification;
use super::needs::{Need, is_silent, need, needs_of_source, needs_of_target, other_source};
use super::trend::Trend;
use crate::level::Level;
use serde::Serialize;

/// Behind by more than this, it is no burst any more.
pub(super) const LAG_WARNING_S: f64 = 10.0;
/// Behind by more than this and not moving, it stands still.
const STANDSTILL_S: f64 = 60.0;
/// Without a change for so long, the source is quiet.
const QUIET_S: f64 = 60.0;

/// One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Following,
    Quiet,
    CatchingUp,
    Paused,
    Held,
    Stalled,
    Unknown,
}

impl State {
    pub(super) fn words(self) -> &'static str {
        match self {
            State::Following => "FOLLOWING",
            State::Quiet => "QUIET",
            State::CatchingUp => "CATCHING UP",
            State::Paused => "PAUSED",
            State::Held => "HELD",
            State::Stalled => "STALLED",
            State::Unknown => "UNKNOWN",
        }
    }

    fn level(self) -> Level {
        match self {
            State::Following | State::Quiet => Level::Good,
            State::CatchingUp | State::Paused => Level::Warning,
            State::Held | State::Stalled => Level::Critical,
            State::Unknown => Level::Unknown,
        }
    }
}

/// The verdict on both sides.
#[derive(Debug, Serialize)]
pub(crate) struct Judgement {
    pub(crate) state: State,
    pub(crate) level: Level,
    pub(crate) lag_seconds: Option<f64>,
    pub(crate) waiting_events: Option<i64>,
    pub(crate) needs: Vec<Need>,
    /// Whether both sides are equal, in words; none where that is not known.
    pub(crate) equal: Option<String>,
}

/// Judges what was found, with what changed since it was looked at before.
pub(crate) fn judge(overview: &Overview, trend: Option<Trend>) -> Judgement {
    let (source, target) = (overview.source.as_ref(), overview.target.as_ref());
    let mut needs = Vec::new();
    let unknown =
        |error: &String| need(Level::Unknown, error, "is the address right, and does the server run?");
    needs.extend(overview.errors.iter().map(unknown));
    needs.extend(source.into_iter().flat_map(needs_of_source));
    needs.extend(target.into_iter().flat_map(needs_of_target));
    needs.extend(source.zip(target).and_then(|(source, target)| other_source(source, target)));
    needs.extend(overview.verification.iter().flat_map(Verification::needs));
    let state = state(overview, trend);
    if state == State::Stalled {
        needs.push(need(
            Level::Critical,
            "the target is behind and does not move",
            "the logs of outbox-publisher and inbox-processor; lock waits in B: select pid, pg_blocking_pids(pid), query \
             from pg_stat_activity where wait_event_type = 'Lock'",
        ));
    }
    let levels = needs.iter().map(|need| need.level).chain([state.level()]);
    Judgement {
        state,
        level: Level::of(levels),
        lag_seconds: overview.lag_seconds(),
        waiting_events: overview.waiting_events(),
        needs,
        equal: overview.verification.as_ref().and_then(Verification::words),
    }
}

fn state(overview: &Overview, trend: Option<Trend>) -> State {
    let (source, target) = (overview.source.as_ref(), overview.target.as_ref());
    let held = source.and_then(|source| source.held_error.as_ref());
    if held.or(target.and_then(|target| target.held_error.as_ref())).is_some() {
        return State::Held;
    }
    let paused = source.and_then(|source| source.paused.as_ref());
    if paused.or(target.and_then(|target| target.paused.as_ref())).is_some() {
        return State::Paused;
    }
    let Some(lag) = overview.lag_seconds().filter(|_| overview.errors.is_empty()) else {
        return State::Unknown;
    };
    if lag <= LAG_WARNING_S {
        let is_quiet = source.is_some_and(|source| {
            source.unconfirmed_events == 0
                && source.last_event_seconds.is_none_or(|seconds| seconds > QUIET_S)
        });
        return if is_quiet { State::Quiet } else { State::Following };
    }
    // Where the source is silent, what waits there cannot be known from here.
    if source.is_none() && is_silent(target.and_then(|target| target.source_heard_seconds)) {
        return State::Unknown;
    }
    match trend {
        Some(trend) if !trend.moves && lag > STANDSTILL_S => State::Stalled,
        _ => State::CatchingUp,
    }
}

#[cfg(test)]
mod tests {
    use super::super::overview::{OpenPause, SourceOverview, TargetOverview};
    use super::*;

    fn well() -> Overview {
        let source = SourceOverview {
            source: "7/a".to_owned(),
            last_tick: Some(9),
            published_tick: 9,
            confirmed_tick: 9,
            last_event_seconds: Some(2.0),
            attached_tables: 2,
            target_heard_seconds: Some(0.5),
            publisher_leads: true,
            ..SourceOverview::default()
        };
        let target = TargetOverview {
            source: Some("7/a".to_owned()),
            applied_tick: Some(9),
            received_tick: Some(9),
            behind_seconds: Some(0.4),
            source_heard_seconds: Some(0.4),
            processor_leads: true,
            ..TargetOverview::default()
        };
        Overview { source: Some(source), target: Some(target), ..Overview::empty() }
    }

    fn behind(seconds: f64) -> Overview {
        let mut overview = well();
        let target = overview.target.as_mut().unwrap();
        (target.behind_seconds, target.applied_tick) = (Some(seconds), Some(5));
        overview.source.as_mut().unwrap().unconfirmed_events = 7;
        overview
    }

    fn with(change: impl FnOnce(&mut SourceOverview, &mut TargetOverview)) -> Overview {
        let mut overview = well();
        change(overview.source.as_mut().unwrap(), overview.target.as_mut().unwrap());
        overview
    }

    const MOVING: Trend = Trend { speed: 2.0, moves: true, seconds_left: Some(1.0) };
    const STANDING: Trend = Trend { speed: 0.0, moves: false, seconds_left: None };

    #[track_caller]
    fn expect(overview: &Overview, trend: Option<Trend>, state: State, level: Level, need: &str) {
        let judged = judge(overview, trend);
        assert_eq!((judged.state, judged.level), (state, level), "{:?}", judged.needs);
        match need {
            "" => assert!(judged.needs.is_empty(), "{:?}", judged.needs),
            need => assert!(judged.needs.iter().any(|found| found.what.contains(need)), "{:?}", judged.needs),
        }
    }

    #[test]
    fn the_word_is_that_of_the_worst_that_is_known() {
        expect(&well(), None, State::Following, Level::Good, "");
        let quiet = with(|source, _| source.last_event_seconds = Some(90.0));
        expect(&quiet, None, State::Quiet, Level::Good, "");
        expect(&behind(5.0), Some(MOVING), State::Following, Level::Good, "");
        expect(&behind(20.0), Some(MOVING), State::CatchingUp, Level::Warning, "");
        expect(&behind(20.0), Some(STANDING), State::CatchingUp, Level::Warning, "");
        expect(&behind(90.0), Some(MOVING), State::CatchingUp, Level::Warning, "");
        expect(&behind(90.0), Some(STANDING), State::Stalled, Level::Critical, "does not move");
        // Seen once, a standstill is not known.
        expect(&behind(90.0), None, State::CatchingUp, Level::Warning, "");
    }

    #[test]
    fn what_somebody_must_do_is_named() {
        let held = with(|_, target| target.held_error = Some("no column x".to_owned()));
        expect(&held, None, State::Held, Level::Critical, "apply in B is blocked: no column x");
        let held = with(|source, _| source.held_error = Some("the row is too large".to_owned()));
        expect(&held, None, State::Held, Level::Critical, "publishing is held up in A");
        let paused = with(|_, target| {
            target.paused = Some(OpenPause { reason: "backup".to_owned(), ..OpenPause::default() });
        });
        expect(
            &paused,
            None,
            State::Paused,
            Level::Warning,
            "by : backup (its service has not taken notice)",
        );
        let paused = with(|source, _| source.paused = Some(OpenPause::default()));
        expect(&paused, None, State::Paused, Level::Warning, "publishing is paused");
        let holes = with(|source, _| source.capture_problems = 2);
        expect(&holes, None, State::Following, Level::Critical, "2 problems");
        let failover = with(|source, _| source.unmatched_timeline = Some(2));
        expect(&failover, None, State::Following, Level::Critical, "A is on timeline 2");
        let down = with(|source, _| source.publisher_leads = false);
        expect(&down, None, State::Following, Level::Critical, "no outbox-publisher");
        let down = with(|_, target| target.processor_leads = false);
        expect(&down, None, State::Following, Level::Critical, "no inbox-processor");
        let other = with(|_, target| target.source = Some("8/b".to_owned()));
        expect(&other, None, State::Following, Level::Critical, "B follows the source 8/b");
        let odd = with(|_, target| target.quarantine_unseen = 3);
        expect(&odd, None, State::Following, Level::Warning, "3 unacknowledged");
        let empty = with(|source, _| source.attached_tables = 0);
        expect(&empty, None, State::Following, Level::Warning, "no table is attached");
    }

    #[test]
    fn what_cannot_be_known_is_never_well() {
        expect(&Overview::empty(), None, State::Unknown, Level::Unknown, "");
        let mut unreachable = well();
        unreachable.target = None;
        unreachable.errors.push("the target: connection refused".to_owned());
        expect(&unreachable, None, State::Unknown, Level::Unknown, "connection refused");
        // Only B is known, and A says nothing.
        let mut alone = behind(40.0);
        alone.source = None;
        alone.target.as_mut().unwrap().source_heard_seconds = Some(40.0);
        expect(&alone, None, State::Unknown, Level::Unknown, "B has not heard of A");
        let mut alone = well();
        alone.source = None;
        expect(&alone, None, State::Following, Level::Good, "");
        let mut alone = well();
        alone.target = None;
        expect(&alone, None, State::Following, Level::Good, "");
    }
}
