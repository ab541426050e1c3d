//! What each side says of itself, as its view has it.

use super::equal::{self, Verification};
use crate::side::{Side, words};
use crate::sides::Sides;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// `replication.source_overview`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct SourceOverview {
    pub(crate) source: String,
    pub(crate) looked_at: String,
    pub(crate) last_tick: Option<i64>,
    pub(crate) published_tick: i64,
    pub(crate) confirmed_tick: i64,
    pub(crate) target: Option<String>,
    pub(crate) unmatched_timeline: Option<i64>,
    pub(crate) held_since: Option<String>,
    pub(crate) held_error: Option<String>,
    pub(crate) held_event: Option<String>,
    pub(crate) skipped_events: i64,
    pub(crate) paused: Option<OpenPause>,
    pub(crate) unpublished_events: i64,
    pub(crate) unconfirmed_events: i64,
    pub(crate) oldest_unconfirmed_seconds: Option<f64>,
    pub(crate) last_event_at: Option<String>,
    pub(crate) last_event_seconds: Option<f64>,
    pub(crate) outbox_bytes: i64,
    pub(crate) outbox_bytes_per_second: i64,
    pub(crate) attached_tables: i64,
    pub(crate) capture_problems: i64,
    pub(crate) target_version: Option<String>,
    pub(crate) target_trouble: Option<String>,
    pub(crate) target_heard_seconds: Option<f64>,
    pub(crate) publisher_leads: bool,
}

/// `replication.target_overview`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct TargetOverview {
    pub(crate) source: Option<String>,
    pub(crate) looked_at: String,
    pub(crate) received_tick: Option<i64>,
    pub(crate) applied_tick: Option<i64>,
    pub(crate) applied_at: Option<String>,
    pub(crate) held_since: Option<String>,
    pub(crate) held_error: Option<String>,
    pub(crate) held_txid: Option<i64>,
    pub(crate) paused: Option<OpenPause>,
    pub(crate) unapplied_events: i64,
    pub(crate) source_time: Option<String>,
    pub(crate) behind_seconds: Option<f64>,
    pub(crate) source_version: Option<String>,
    pub(crate) source_trouble: Option<String>,
    pub(crate) source_heard_seconds: Option<f64>,
    pub(crate) clock_skew_seconds: Option<f64>,
    pub(crate) inbox_bytes: i64,
    pub(crate) quarantine_unseen: i64,
    pub(crate) skipped_transactions: i64,
    pub(crate) drifted_rows: i64,
    pub(crate) processor_leads: bool,
}

/// `replication.paused`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct OpenPause {
    pub(crate) reason: String,
    pub(crate) paused_at: String,
    pub(crate) paused_by: String,
    pub(crate) obeyed_at: Option<String>,
}

/// `replication.source_lately` or `replication.target_lately`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Happened {
    pub(crate) at: String,
    pub(crate) what: String,
}

/// Both, and why one is not there.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    #[serde(skip)]
    pub(crate) looked_at: Instant,
    pub(crate) source: Option<SourceOverview>,
    pub(crate) target: Option<TargetOverview>,
    /// As the source knows it, else the target.
    pub(crate) verification: Option<Verification>,
    /// Why a side that is known could not be looked at.
    pub(crate) errors: Vec<String>,
    /// The latest first.
    pub(crate) lately: Vec<Happened>,
}

const LATELY_MAX: usize = 5;

impl Overview {
    /// Asks the sides that are known. An error of one does not hide the other.
    pub(crate) fn read(sides: &Sides) -> Overview {
        let mut overview = Overview::empty();
        let source = sides.ask_source(|side| overview.ask(side, "source"));
        overview.source = overview.noted(source);
        let target = sides.ask_target(|side| overview.ask(side, "target"));
        overview.target = overview.noted(target);
        // Times of one form, in UTC.
        overview.lately.sort_by(|one, other| other.at.cmp(&one.at));
        overview.lately.truncate(LATELY_MAX);
        overview
    }

    pub(super) fn empty() -> Overview {
        Overview {
            looked_at: Instant::now(),
            source: None,
            target: None,
            verification: None,
            errors: Vec::new(),
            lately: Vec::new(),
        }
    }

    /// `what` is source or target.
    fn ask<T: serde::de::DeserializeOwned>(&mut self, side: &Side, what: &str) -> Result<T> {
        let overview = side.row(&format!("select * from replication.{what}_overview"), &[])?;
        let lately = format!("select at, what from replication.{what}_lately order by at desc limit 5");
        self.lately.extend(side.rows::<Happened>(&lately, &[])?);
        if self.verification.is_none() {
            self.verification = Some(side.row(&equal::query(&format!("verification_of_{what}")), &[])?);
        }
        Ok(overview)
    }

    fn noted<T>(&mut self, answer: Option<Result<T>>) -> Option<T> {
        match answer? {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.errors.push(words(&error));
                None
            }
        }
    }

    /// By how many seconds of the source's time the target is behind: 0 where it has all that was captured. None where that
    /// cannot be known.
    pub(crate) fn lag_seconds(&self) -> Option<f64> {
        match (&self.source, &self.target) {
            (Some(source), Some(target)) if has_all(source, target) => Some(0.0),
            (_, Some(target)) if target.behind_seconds.is_some() => target.behind_seconds,
            (Some(source), _) if source.unconfirmed_events == 0 => Some(0.0),
            (Some(source), _) => source.oldest_unconfirmed_seconds,
            (None, _) => None,
        }
    }

    /// How many captured events the target has not applied, as far as that is known.
    pub(crate) fn waiting_events(&self) -> Option<i64> {
        match (&self.source, &self.target) {
            (Some(source), Some(target)) if has_all(source, target) => Some(0),
            (Some(source), _) => Some(source.unconfirmed_events),
            (None, Some(target)) => Some(target.unapplied_events),
            (None, None) => None,
        }
    }
}

/// The last tick is applied, and nothing was captured since it.
fn has_all(source: &SourceOverview, target: &TargetOverview) -> bool {
    let ticks = source.last_tick.zip(target.applied_tick);
    ticks.is_some_and(|(last, applied)| applied >= last)
        && source.unpublished_events == 0
        && target.source.as_ref() == Some(&source.source)
}
