//! Where the threads of a service note what they know of both sides.

use super::document::{Document, Half, Line};
use super::flow::Condition;
use super::judging::{Facts, State};
use super::samples::{Sample, Samples};
use crate::wire::{SourceFigures, Status, TargetFigures};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Instant;

/// So many lines of what happened lately are kept.
const LINES_KEPT: usize = 30;

/// The side of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// outbox-publisher.
    Source,
    /// inbox-processor.
    Target,
}

/// What is known of both sides. Never blocks for long.
pub struct Board {
    side: Side,
    known: Mutex<Known>,
}

/// What a service knows of itself.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// What is wrong with it; none while it is healthy.
    pub trouble: Option<String>,
    /// Whether it leads; another one may.
    pub leads: bool,
    /// Whether it reaches its database.
    pub database_connected: bool,
    /// Whether it reaches its NATS cluster.
    pub nats_connected: bool,
}

#[derive(Default)]
struct Known {
    source: Noted<SourceFigures>,
    target: Noted<TargetFigures>,
    samples: Samples,
    lately: VecDeque<Line>,
    /// The last judgement, and the stages that were broken.
    last: Option<(State, Vec<String>)>,
}

#[derive(Default)]
struct Noted<F> {
    half: Half<F>,
    looked_at: Option<Instant>,
    /// The counter of its service.
    events: Option<u64>,
}

/// The same moment by both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    instant: Instant,
    at: Timestamp,
}

impl Moment {
    fn now() -> Moment {
        Moment { instant: Instant::now(), at: Timestamp::now() }
    }
}

impl Board {
    /// Nothing is known yet.
    pub fn new(side: Side) -> Board {
        let mut known = Known::default();
        known.source.half.is_own = side == Side::Source;
        known.target.half.is_own = side == Side::Target;
        Board { side, known: Mutex::new(known) }
    }

    /// The source's service is so, and knew this of its side at `looked_at`.
    pub fn note_source(&self, status: &Status, figures: Option<SourceFigures>, looked_at: Instant) {
        self.known.lock().source.note(status, figures, looked_at, Moment::now());
    }

    /// The target's service is so, and knew this of its side at `looked_at`.
    pub fn note_target(&self, status: &Status, figures: Option<TargetFigures>, looked_at: Instant) {
        self.known.lock().target.note(status, figures, looked_at, Moment::now());
    }

    /// What this service knows of itself, whatever it knows of its side.
    pub fn note_own(&self, own: Own) {
        let mut known = self.known.lock();
        match self.side {
            Side::Source => known.source.own(own),
            Side::Target => known.target.own(own),
        }
    }

    /// Keeps a sample of what is known, and a line of what changed. Call this once a second.
    pub fn sample(&self) {
        self.known.lock().sample(Moment::now());
    }

    /// All that is known now.
    pub fn document(&self) -> Document {
        self.known.lock().document(self.side, Moment::now())
    }
}

impl<F: Clone> Noted<F> {
    fn note(&mut self, status: &Status, figures: Option<F>, looked_at: Instant, now: Moment) {
        let half = &mut self.half;
        let age = now.instant.duration_since(looked_at);
        half.heard_at = now.at.checked_sub(age).ok();
        half.version = Some(status.version.clone());
        half.trouble.clone_from(&status.trouble);
        half.unknown_because = None;
        // Only one that leads says something.
        half.leads = Some(true);
        half.figures = figures;
        self.events = Some(status.events);
        self.looked_at = Some(looked_at);
    }

    fn own(&mut self, own: Own) {
        let Own { trouble, leads, database_connected, nats_connected } = own;
        let half = &mut self.half;
        half.version = Some(env!("CARGO_PKG_VERSION").to_owned());
        (half.trouble, half.leads) = (trouble, Some(leads));
        (half.database_connected, half.nats_connected) = (Some(database_connected), Some(nats_connected));
        if !leads {
            half.unknown_because = Some("this service does not lead".to_owned());
            (half.figures, half.heard_at, self.looked_at, self.events) = (None, None, None, None);
        }
    }

    fn at(&self, now: Moment) -> Half<F> {
        let age = self.looked_at.map(|looked_at| now.instant.duration_since(looked_at).as_secs_f64());
        Half { age_seconds: age, ..self.half.clone() }
    }
}

impl Known {
    /// How old what the target shows is: as it said, and since then.
    fn behind_seconds(target: &Half<TargetFigures>) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let said = target.figures.as_ref()?.behind_ms? as f64 / 1000.0;
        Some(said + target.age_seconds?)
    }

    fn sample(&mut self, now: Moment) {
        let (source, target) = (self.source.at(now), self.target.at(now));
        let behind_seconds = Known::behind_seconds(&target);
        let sample = Sample::of(&source, &target, self.target.events, behind_seconds);
        self.samples.add(now.at, sample);
        let facts = Facts {
            now: now.at,
            source: &source,
            target: &target,
            behind_seconds,
            pace: self.samples.pace(),
        };
        self.tell_of_changes(&facts);
    }

    fn tell_of_changes(&mut self, facts: &Facts<'_>) {
        let verdict = facts.judge();
        let flow = facts.flow();
        let broken: Vec<_> = flow.iter().filter(|stage| stage.condition == Condition::Broken).collect();
        let mut lines = Vec::new();
        if self.last.as_ref().is_none_or(|(state, _)| *state != verdict.state) {
            lines.push(format!("{} {}: {}", verdict.mark, verdict.word, verdict.sentence));
        }
        let was_broken = |name: &String| self.last.as_ref().is_some_and(|(_, broken)| broken.contains(name));
        for stage in broken.iter().filter(|stage| !was_broken(&stage.name)) {
            lines.push(format!("{} {}: {}", stage.mark, stage.name, stage.text));
        }
        self.last = Some((verdict.state, broken.iter().map(|stage| stage.name.clone()).collect()));
        for text in lines {
            self.lately.push_front(Line { at: facts.now, text });
        }
        self.lately.truncate(LINES_KEPT);
    }

    fn document(&self, side: Side, now: Moment) -> Document {
        let (source, target) = (self.source.at(now), self.target.at(now));
        let behind_seconds = Known::behind_seconds(&target);
        let facts = Facts {
            now: now.at,
            source: &source,
            target: &target,
            behind_seconds,
            pace: self.samples.pace(),
        };
        let service = match side {
            Side::Source => "outbox-publisher",
            Side::Target => "inbox-processor",
        };
        Document::of(service, &facts, &self.samples, self.lately.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn status(trouble: Option<&str>) -> Status {
        Status::of_this_version(trouble, 7)
    }

    fn later(seconds: u64) -> Moment {
        let now = Moment::now();
        let passed = Duration::from_secs(seconds);
        Moment { instant: now.instant + passed, at: now.at + passed }
    }

    fn heard() -> Board {
        let board = Board::new(Side::Source);
        let source = SourceFigures { total_ms: Some(0), ..SourceFigures::default() };
        board.note_source(&status(None), Some(source), Instant::now());
        let target = TargetFigures { behind_ms: Some(0), ..TargetFigures::default() };
        board.note_target(&status(None), Some(target), Instant::now());
        board
    }

    #[test]
    fn what_nobody_said_is_unknown_and_its_age_grows() {
        let board = Board::new(Side::Target);
        let document = board.document();
        assert_eq!(document.verdict.state, State::Unknown);
        assert_eq!((document.source.is_own, document.target.is_own), (false, true));
        assert_eq!(document.source.age_seconds, None);
        let board = heard();
        let known = board.known.lock();
        let document = known.document(Side::Source, later(7));
        assert_eq!(document.verdict.state, State::Unknown);
        assert!(document.target.age_seconds.unwrap() >= 7.0 && document.behind_seconds.unwrap() >= 7.0);
        assert!(document.flow[4].text.ends_with("7 s ago"), "{:?}", document.flow[4]);
    }

    #[test]
    fn a_service_that_does_not_lead_knows_nothing_of_its_side() {
        let board = heard();
        board.note_own(Own { leads: true, database_connected: true, nats_connected: true, ..Own::default() });
        assert_eq!(board.document().verdict.state, State::Following);
        board.note_own(Own {
            leads: false,
            database_connected: true,
            nats_connected: true,
            ..Own::default()
        });
        let document = board.document();
        assert_eq!(document.verdict.state, State::Unknown);
        assert_eq!(document.verdict.sentence, "nothing is known of A: this service does not lead");
        assert!(document.source.figures.is_none() && document.captured_events_per_second.is_none());
    }

    #[test]
    fn what_changed_is_told_once() {
        let board = heard();
        let mut known = board.known.lock();
        known.sample(later(0));
        known.sample(later(1));
        known.sample(later(9));
        known.sample(later(10));
        let lines: Vec<&str> = known.lately.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("? UNKNOWN: ") && lines[1].starts_with("● FOLLOWING: "), "{lines:?}");
    }

    #[test]
    fn the_document_survives_its_writing() {
        let board = heard();
        board.sample();
        let document = board.document();
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!(json["schema_version"], 1);
        assert!(json["written_at"].as_str().unwrap().ends_with('Z'));
        assert!(json["source"]["figures"]["outbox_bytes"].is_null());
        assert_eq!(serde_json::from_value::<Document>(json).unwrap().verdict, document.verdict);
    }
}
