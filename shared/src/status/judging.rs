//! What to think of what is known: one word, one sentence. A pure function.

use super::document::Half;
use super::samples::Pace;
use super::words::{count, duration, rate, time_of_day, whole_seconds};
use crate::wire::{Held, Paused, SourceFigures, TargetFigures};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// With events waiting, a target that does not move for so long is stalled.
const STALLED_AFTER_S: f64 = 15.0;
/// What B shows is so old: it does not follow, it catches up.
const BEHIND_S: f64 = 5.0;
/// Without a change for so long, A is quiet.
const QUIET_AFTER_S: f64 = 60.0;

/// How replication is, in one word. Each has a mark of its own: colour alone says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// B shows A as it was moments ago.
    Following,
    /// Nothing changes in A, and B shows it.
    Quiet,
    /// B is behind, and gains.
    CatchingUp,
    /// B is behind, and loses.
    FallingBehind,
    /// An operator has paused it.
    Paused,
    /// Something is refused, and somebody has to decide.
    Held,
    /// Events wait and nothing moves.
    Stalled,
    /// It cannot be known.
    Unknown,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How replication is.
    pub state: State,
    /// Its shape.
    pub mark: String,
    /// Its word.
    pub word: String,
    /// What that means now.
    pub sentence: String,
    /// Mark and number, as short as the title of a tab.
    pub title: String,
}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// By the clock of this service.
    pub now: Timestamp,
    /// A's side.
    pub source: &'a Half<SourceFigures>,
    /// B's side.
    pub target: &'a Half<TargetFigures>,
    /// How old what B shows is.
    pub behind_seconds: Option<f64>,
    /// How fast events come and go.
    pub pace: Pace,
}

impl State {
    /// A shape that is told from the others without colour.
    pub fn mark(self) -> &'static str {
        match self {
            State::Following | State::Quiet => "●",
            State::CatchingUp => "▲",
            State::FallingBehind => "▼",
            State::Paused => "‖",
            State::Held | State::Stalled => "■",
            State::Unknown => "?",
        }
    }

    /// As people say it.
    pub fn word(self) -> &'static str {
        match self {
            State::Following => "FOLLOWING",
            State::Quiet => "QUIET",
            State::CatchingUp => "CATCHING UP",
            State::FallingBehind => "FALLING BEHIND",
            State::Paused => "PAUSED",
            State::Held => "HELD",
            State::Stalled => "STALLED",
            State::Unknown => "UNKNOWN",
        }
    }
}

impl Facts<'_> {
    /// The first that applies: what somebody has to decide, what was decided, what is broken here, what cannot be known,
    /// what does not move, what is late.
    ///
    /// Where it works although something needs a person, it says so.
    pub fn judge(&self) -> Verdict {
        let mut verdict = self.state();
        let needs = self.needs().len();
        let works = !matches!(verdict.state, State::Paused | State::Held | State::Stalled | State::Unknown);
        if works && needs > 0 {
            verdict.sentence = format!("{}; {needs} needs you", verdict.sentence);
            verdict.title = format!("{}, {needs} needs you", verdict.title);
        }
        verdict
    }

    fn state(&self) -> Verdict {
        self.held()
            .or_else(|| self.paused())
            .or_else(|| self.cut_off())
            .or_else(|| self.unknown())
            .or_else(|| self.stalled())
            .or_else(|| self.late())
            .unwrap_or_else(|| self.good())
    }

    fn held(&self) -> Option<Verdict> {
        let held = |side: &str, doing: &str, held: &Held| {
            let place = match (&held.table, &held.key) {
                (Some(table), Some(key)) => format!("the row {key} of {table}"),
                (Some(table), None) => format!("a row of {table}"),
                _ => "a change".to_owned(),
            };
            let since = held.since.map_or_else(String::new, |since| format!(" since {}", self.time(since)));
            self.verdict(State::Held, format!("{side} {doing} {place}{since}; later transactions wait"))
        };
        let a = self.source.fresh().and_then(|a| a.held.as_ref());
        let b = self.target.fresh().and_then(|b| b.held.as_ref());
        b.map(|b| held("B", "refuses", b)).or_else(|| a.map(|a| held("A", "cannot send", a)))
    }

    fn paused(&self) -> Option<Verdict> {
        let paused = |what: &str, paused: &Paused| {
            let since = paused.since.map_or_else(String::new, |since| format!(" since {}", self.time(since)));
            let why = paused.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            self.verdict(State::Paused, format!("an operator has paused {what}{since}{why}"))
        };
        let a = self.source.fresh().and_then(|a| a.paused.as_ref());
        let b = self.target.fresh().and_then(|b| b.paused.as_ref());
        b.map(|b| paused("applying", b)).or_else(|| a.map(|a| paused("publishing", a)))
    }

    /// This service cannot reach what is beside it: of that it is sure.
    fn cut_off(&self) -> Option<Verdict> {
        let ends = [
            (self.source.database_connected, "outbox-publisher cannot reach PostgreSQL A"),
            (self.source.nats_connected, "outbox-publisher cannot reach NATS A"),
            (self.target.database_connected, "inbox-processor cannot reach PostgreSQL B"),
            (self.target.nats_connected, "inbox-processor cannot reach NATS B"),
        ];
        let (_, lost) = ends.into_iter().find(|(connected, _)| *connected == Some(false))?;
        Some(self.verdict(State::Stalled, lost.to_owned()))
    }

    fn unknown(&self) -> Option<Verdict> {
        let why = self
            .why_unknown("A", self.source)
            .or_else(|| self.why_unknown("B", self.target))
            .or_else(|| self.behind_seconds.is_none().then(|| self.why_age_unknown()).flatten())?;
        Some(self.verdict(State::Unknown, why))
    }

    /// None where there is nothing to show yet.
    fn why_age_unknown(&self) -> Option<String> {
        (!self.is_nothing_captured()).then(|| "B does not say as of when it shows A".to_owned())
    }

    fn is_nothing_captured(&self) -> bool {
        self.source.fresh().is_some_and(|a| a.taken_tick == Some(0) && a.total_ms == Some(0))
    }

    fn why_unknown<F>(&self, side: &str, half: &Half<F>) -> Option<String> {
        let Some((heard_at, age)) = half.heard_at.zip(half.age_seconds) else {
            return Some(match &half.unknown_because {
                Some(reason) => format!("nothing is known of {side}: {reason}"),
                None => format!("nothing was heard of {side} yet"),
            });
        };
        if !half.is_fresh() {
            let silence = whole_seconds(age);
            let heard = self.time(heard_at);
            return Some(if half.is_own {
                format!("PostgreSQL {side} has not answered for {silence}, the last time at {heard}")
            } else {
                format!("no word from {side} for {silence}, last heard {heard}")
            });
        }
        half.figures.is_none().then(|| match &half.unknown_because {
            Some(reason) => format!("nothing is known of {side}: {reason}"),
            None => format!("{side} does not say how far it is: its service is of an older version"),
        })
    }

    fn stalled(&self) -> Option<Verdict> {
        let waiting = self.waiting().filter(|_| self.pace.still_seconds >= STALLED_AFTER_S)?;
        Some(self.verdict(
            State::Stalled,
            format!("{waiting}, and B has not moved for {}", whole_seconds(self.pace.still_seconds)),
        ))
    }

    /// What waits for B, in words; none where nothing does.
    fn waiting(&self) -> Option<String> {
        let a = self.source.fresh()?;
        match (a.total_ms, a.unconfirmed_events) {
            (Some(0), _) => None,
            (_, Some(events)) if events > 0 => Some(format!("{} events wait", count(events))),
            (Some(_), _) => Some("events wait".to_owned()),
            (None, _) => None,
        }
    }

    fn late(&self) -> Option<Verdict> {
        let behind = self.behind_seconds.filter(|behind| *behind >= BEHIND_S)?;
        self.waiting()?;
        let (captured, applied) = (self.pace.captured_per_second, self.pace.applied_per_second);
        let age = format!("B shows A as of {} ago", duration(behind));
        let Some((captured, applied)) = captured.zip(applied) else {
            return Some(self.verdict(State::CatchingUp, age));
        };
        if applied <= captured {
            let pace = format!("A writes {} events/s, B applies {}", rate(captured), rate(applied));
            return Some(self.verdict(State::FallingBehind, format!("{age}; {pace}")));
        }
        let gains = if captured > 0.0 {
            format!("gains {:.1}×", applied / captured)
        } else {
            format!("applies {} events/s", rate(applied))
        };
        let left = self
            .left_seconds(applied - captured)
            .map(|left| format!("about {} left", duration(left.max(1.0))));
        let pace = [Some(gains), left].into_iter().flatten().collect::<Vec<_>>().join(", ");
        Some(self.verdict(State::CatchingUp, format!("{age}; {pace}")))
    }

    fn left_seconds(&self, gained_per_second: f64) -> Option<f64> {
        let events = self.source.fresh()?.unconfirmed_events?;
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        Some(events as f64 / gained_per_second)
    }

    fn good(&self) -> Verdict {
        if self.is_nothing_captured() {
            return self.verdict(State::Quiet, "nothing was captured in A yet".to_owned());
        }
        let shown = self.target.fresh().and_then(|b| b.as_of);
        let as_of = shown.map_or_else(
            || "B shows A as it was".to_owned(),
            |as_of| format!("B shows A as of {} UTC", time_of_day(as_of, self.now, "%H:%M:%S.%3f")),
        );
        let ago =
            self.behind_seconds.map_or_else(String::new, |behind| format!(" ({} ago)", duration(behind)));
        let quiet_since = self
            .source
            .fresh()
            .filter(|_| self.waiting().is_none())
            .and_then(|a| a.last_change_at)
            .filter(|at| self.now.duration_since(*at).as_secs_f64() >= QUIET_AFTER_S);
        match quiet_since {
            Some(since) => self
                .verdict(State::Quiet, format!("no changes in A since {}; {as_of}{ago}", self.time(since))),
            None => self.verdict(State::Following, format!("{as_of}{ago}")),
        }
    }

    fn verdict(&self, state: State, sentence: String) -> Verdict {
        let mark = state.mark();
        let says = match state {
            State::Following | State::Quiet | State::CatchingUp | State::FallingBehind => {
                self.behind_seconds.map_or_else(|| state.word().to_owned(), duration)
            }
            _ => state.word().to_owned(),
        };
        Verdict {
            state,
            mark: mark.to_owned(),
            word: state.word().to_owned(),
            sentence,
            title: format!("{mark} {says}"),
        }
    }

    fn time(&self, at: Timestamp) -> String {
        format!("{} UTC", time_of_day(at, self.now, "%H:%M:%S"))
    }
}

#[cfg(test)]
pub(super) mod fixtures;
#[cfg(test)]
mod tests;
