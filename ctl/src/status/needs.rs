//! What needs somebody, and what to type.

use super::overview::{OpenPause, SourceOverview, TargetOverview};
use crate::level::Level;
use serde::Serialize;

/// A service that is well is heard once a second.
const HEARD_S: f64 = 30.0;
/// Something that needs somebody, and what to type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Need {
    pub(crate) level: Level,
    pub(crate) what: String,
    pub(crate) next: String,
}

/// Whether a counterpart that was heard so long ago counts as silent.
pub(super) fn is_silent(heard_seconds: Option<f64>) -> bool {
    heard_seconds.is_none_or(|seconds| seconds > HEARD_S)
}

pub(super) fn needs_of_source(source: &SourceOverview) -> Vec<Need> {
    let mut needs = Vec::new();
    if let Some(error) = &source.held_error {
        let event = source.held_event.as_deref().unwrap_or("EVENT");
        let next = format!("as the message says, or: replicationctl hold skip {event} --why '...'");
        needs.push(need(Level::Critical, &format!("publishing is held up in A: {error}"), &next));
    }
    if let Some(timeline) = source.unmatched_timeline {
        needs.push(need(
            Level::Critical,
            &format!(
                "A is on timeline {timeline}, and nothing is published until B confirms a tick of its history"
            ),
            "the logs of inbox-processor and outbox-publisher",
        ));
    }
    if source.capture_problems > 0 {
        let what = format!("A does not capture every change: {} problems", source.capture_problems);
        needs.push(need(Level::Critical, &what, "replicationctl doctor"));
    }
    if !source.publisher_leads {
        needs.push(need(Level::Critical, "no outbox-publisher works on A", "start outbox-publisher"));
    }
    if source.attached_tables == 0 {
        let next = "replicationctl attach 'public.*' --dry-run";
        needs.push(need(Level::Warning, "no table is attached in A, so nothing is replicated", next));
    }
    if source.unconfirmed_events > 0 && is_silent(source.target_heard_seconds) {
        needs.push(need(Level::Warning, "A has not heard of B for 30 s", "is inbox-processor up? Its log"));
    }
    needs.extend(source.paused.as_ref().map(|paused| need_of_pause("publishing", "--publishing", paused)));
    needs
}

pub(super) fn needs_of_target(target: &TargetOverview) -> Vec<Need> {
    let mut needs = Vec::new();
    if let Some(error) = &target.held_error {
        needs.push(need(
            Level::Critical,
            &format!("apply in B is blocked: {error}"),
            "replicationctl hold show",
        ));
    }
    if !target.processor_leads {
        needs.push(need(Level::Critical, "no inbox-processor works on B", "start inbox-processor"));
    }
    if target.source.is_some() && is_silent(target.source_heard_seconds) {
        needs.push(need(Level::Warning, "B has not heard of A for 30 s", "is outbox-publisher up? Its log"));
    }
    if target.quarantine_unseen > 0 {
        let what = format!("B has {} unacknowledged messages in quarantine", target.quarantine_unseen);
        needs.push(need(Level::Warning, &what, "replicationctl quarantine list"));
    }
    needs.extend(target.paused.as_ref().map(|paused| need_of_pause("applying", "", paused)));
    needs
}

fn need_of_pause(what: &str, option: &str, paused: &OpenPause) -> Need {
    let OpenPause { reason, paused_at, paused_by, obeyed_at } = paused;
    let taken = if obeyed_at.is_some() { "" } else { " (its service has not taken notice)" };
    let what = format!("{what} is paused since {paused_at} by {paused_by}: {reason}{taken}");
    need(Level::Warning, &what, format!("replicationctl resume {option}").trim_end())
}

pub(super) fn other_source(source: &SourceOverview, target: &TargetOverview) -> Option<Need> {
    let followed = target.source.as_ref().filter(|followed| **followed != source.source)?;
    let what = format!("B follows the source {followed}, and A is {}", source.source);
    Some(need(Level::Critical, &what, "are these the right databases? docs/operations.md, Another history"))
}

pub(super) fn need(level: Level, what: &str, next: &str) -> Need {
    Need { level, what: what.to_owned(), next: next.to_owned() }
}
