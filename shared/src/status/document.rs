//! The document `/status.json`.

use super::flow::Stage;
use super::judging::{Facts, Verdict};
use super::samples::{Samples, Series};
use crate::wire::{SourceFigures, TargetFigures};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The other side says something each second: two are missing, and a page that looks a second later says so within three.
const SILENT_AFTER_S: f64 = 2.0;
/// This side is looked at each second, and less often where that takes long.
const STALE_AFTER_S: f64 = 15.0;

/// Raised when a field gets another meaning or goes away. New fields do not raise it.
pub const SCHEMA_VERSION: u32 = 1;

/// Both sides, and what to think of them. What is not known is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The service that wrote this.
    pub service: String,
    /// Its version.
    pub version: String,
    /// When, by the clock of the service's machine.
    pub written_at: Timestamp,
    /// In one word and one sentence.
    pub verdict: Verdict,
    /// The way of an event, from A to B.
    pub flow: Vec<Stage>,
    /// What somebody has to do, the most urgent first.
    pub needs_you: Vec<Need>,
    /// How old what B shows is. Zero or more.
    pub behind_seconds: Option<f64>,
    /// Captured in A, in the last seconds.
    pub captured_events_per_second: Option<f64>,
    /// Committed in B, in the last seconds.
    pub applied_events_per_second: Option<f64>,
    /// A's side.
    pub source: Half<SourceFigures>,
    /// B's side.
    pub target: Half<TargetFigures>,
    /// What changed, the last first.
    pub lately: Vec<Line>,
    /// The last 15 minutes.
    pub samples: Series,
}

impl Document {
    /// What follows from the facts.
    pub fn of(service: &str, facts: &Facts<'_>, samples: &Samples, lately: Vec<Line>) -> Document {
        Document {
            schema_version: SCHEMA_VERSION,
            service: service.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            written_at: facts.now,
            verdict: facts.judge(),
            flow: facts.flow(),
            needs_you: facts.needs(),
            behind_seconds: facts.behind_seconds,
            captured_events_per_second: facts.pace.captured_per_second,
            applied_events_per_second: facts.pace.applied_per_second,
            source: facts.source.clone(),
            target: facts.target.clone(),
            lately,
            samples: samples.series(),
        }
    }
}

/// One side, as this service knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Half<F> {
    /// Whether this service is of this side. The other half is known from its messages.
    pub is_own: bool,
    /// When it was heard last; null where it never was.
    pub heard_at: Option<Timestamp>,
    /// How long ago.
    pub age_seconds: Option<f64>,
    /// Why nothing is known of it.
    pub unknown_because: Option<String>,
    /// The version of its service.
    pub version: Option<String>,
    /// Whether its service leads; another one may.
    pub leads: Option<bool>,
    /// What is wrong with its service; null while it is healthy.
    pub trouble: Option<String>,
    /// Whether its service reaches its database; null where that is not known.
    pub database_connected: Option<bool>,
    /// Whether its service reaches its NATS cluster.
    pub nats_connected: Option<bool>,
    /// What it says of its side.
    pub figures: Option<F>,
}

/// Something that somebody has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// What is wrong.
    pub what: String,
    /// The error, as it was reported.
    pub error: Option<String>,
    /// The table, where there is one.
    pub table: Option<String>,
    /// The key of the row, where there is one.
    pub key: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// In which database to run the statement: `A` or `B`.
    pub run_in: Option<String>,
    /// What to run.
    pub statement: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

impl<F> Half<F> {
    /// Whether it was heard lately.
    pub(super) fn is_fresh(&self) -> bool {
        let limit = if self.is_own { STALE_AFTER_S } else { SILENT_AFTER_S };
        self.age_seconds.is_some_and(|age| age <= limit)
    }

    /// What it says of its side, while that is fresh: what was true is not what is.
    pub(super) fn fresh(&self) -> Option<&F> {
        self.figures.as_ref().filter(|_| self.is_fresh())
    }
}
