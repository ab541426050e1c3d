//! The way of one transaction through the replication, with times where they are known.

use crate::level::Level;
use crate::output::{self, Output};
use crate::side::words;
use crate::sides::Sides;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Of `replication.trace_in_source`.
#[derive(Default, Deserialize)]
struct InSource {
    status: Option<String>,
    committed_at: Option<String>,
    captured_at: Option<String>,
    events: i64,
    tick: Option<i64>,
    tick_id: Option<String>,
    ticked_at: Option<String>,
    published: Option<bool>,
    confirmed: Option<bool>,
    is_pruned: Option<bool>,
    source: String,
}

impl InSource {
    /// It is older than all that the source keeps.
    fn has_gone(&self) -> bool {
        self.tick.is_none() && self.is_pruned == Some(true)
    }
}

/// Of `replication.trace_in_target`.
#[derive(Default, Deserialize)]
struct InTarget {
    is_known: Option<bool>,
    received: Option<bool>,
    received_at: Option<String>,
    applied: Option<bool>,
    applied_at: Option<String>,
}

/// One step of the way.
#[derive(Debug, PartialEq, Serialize)]
struct TraceStep {
    step: &'static str,
    state: State,
    at: Option<String>,
    detail: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Done,
    Pending,
    Unknown,
}

#[derive(Serialize)]
struct Trace {
    txid: u64,
    steps: Vec<TraceStep>,
}

const IN_SOURCE: &str =
    "select t.*, replication.source_id() as source from replication.trace_in_source($1::text::xid8) t";
const IN_TARGET: &str = "select * from replication.trace_in_target($1, $2, $3::text::uuid)";

pub(crate) fn run(sides: &Sides, output: &Output, txid: u64) -> Result<Level> {
    let in_source: InSource = sides.source()?.row(IN_SOURCE, &[&txid.to_string()])?;
    let in_target = in_source.tick.zip(in_source.tick_id.as_ref()).and_then(|(tick, tick_id)| {
        sides.ask_target(|side| side.rows::<InTarget>(IN_TARGET, &[&in_source.source, &tick, tick_id]))
    });
    let in_target = match in_target {
        Some(Ok(found)) => {
            found.into_iter().next().unwrap_or(InTarget { is_known: Some(true), ..InTarget::default() })
        }
        Some(Err(error)) => {
            output::tell(&format!("the target's part is unknown: {}", output::line(&words(&error))));
            InTarget::default()
        }
        None => InTarget::default(),
    };
    let trace = Trace { txid, steps: steps(&in_source, &in_target) };
    output.show(&trace, || text(&trace))?;
    let states = trace.steps.iter().map(|step| match step.state {
        State::Done => Level::Good,
        State::Pending => Level::Warning,
        State::Unknown => Level::Unknown,
    });
    Ok(Level::of(states))
}

impl State {
    fn of(is_done: Option<bool>) -> State {
        match is_done {
            Some(true) => State::Done,
            Some(false) => State::Pending,
            None => State::Unknown,
        }
    }
}

fn steps(source: &InSource, target: &InTarget) -> Vec<TraceStep> {
    let step = |step, state, at: Option<&String>, detail| TraceStep { step, state, at: at.cloned(), detail };
    let committed = committed(source);
    let behind_tick = |is_done: Option<bool>| match (source.tick, committed) {
        // Nothing unconfirmed is ever pruned.
        (None, _) if source.has_gone() => State::Done,
        (Some(_), _) => State::of(is_done),
        (None, State::Unknown) => State::Unknown,
        // Nothing of it can have happened while it is in no tick.
        (None, State::Done | State::Pending) => State::Pending,
    };
    let in_target = |is_done: Option<bool>| {
        // A target that knows this history, and not the tick, does not have it yet.
        let is_known = target.is_known == Some(true);
        behind_tick(is_known.then_some(is_done == Some(true)))
    };
    let tick = source.tick.map(|tick| format!("tick {tick}"));
    vec![
        step("committed", committed, source.committed_at.as_ref(), Some(captured(source))),
        step("ticked", behind_tick(Some(true)), source.ticked_at.as_ref(), tick),
        step("published", behind_tick(source.published), None, None),
        step("received", in_target(target.received), target.received_at.as_ref(), None),
        step("applied", in_target(target.applied), target.applied_at.as_ref(), None),
        step("confirmed", behind_tick(source.confirmed), None, None),
    ]
}

fn committed(source: &InSource) -> State {
    match source.status.as_deref() {
        Some("committed") => State::Done,
        Some("in progress") => State::Pending,
        // PostgreSQL does not know any more, and a tick has it.
        None if source.has_gone() || source.tick.is_some() => State::Done,
        _ => State::Unknown,
    }
}

fn captured(source: &InSource) -> String {
    match source.events {
        _ if source.status.as_deref() == Some("aborted") => "it was rolled back".to_owned(),
        0 if source.has_gone() => "what was captured of it has left the outbox".to_owned(),
        0 => "nothing was captured of it".to_owned(),
        events => {
            let at = source.captured_at.as_deref().unwrap_or("unknown");
            format!("{events} events, the first at {at}")
        }
    }
}

fn text(trace: &Trace) -> String {
    let rows: Vec<Vec<String>> = trace
        .steps
        .iter()
        .map(|step| {
            let state = match step.state {
                State::Done => "done",
                State::Pending => "pending",
                State::Unknown => "unknown",
            };
            let at = match step.state {
                State::Done => step.at.clone().unwrap_or_else(|| "unknown when".to_owned()),
                State::Pending | State::Unknown => String::new(),
            };
            vec![step.step.to_owned(), state.to_owned(), at, step.detail.clone().unwrap_or_default()]
        })
        .collect();
    output::table(&["step", "state", "at", ""], &rows)
}

#[cfg(test)]
mod tests {
    use super::State::{Done, Pending, Unknown};
    use super::*;

    fn states(source: &InSource, target: &InTarget) -> Vec<State> {
        steps(source, target).iter().map(|step| step.state).collect()
    }

    fn ticked() -> InSource {
        InSource {
            status: Some("committed".to_owned()),
            events: 2,
            tick: Some(7),
            tick_id: Some("x".to_owned()),
            published: Some(true),
            confirmed: Some(false),
            ..InSource::default()
        }
    }

    fn there(received: bool, applied: bool) -> InTarget {
        InTarget {
            is_known: Some(true),
            received: Some(received),
            applied: Some(applied),
            ..InTarget::default()
        }
    }

    #[test]
    fn every_step_is_done_pending_or_unknown() {
        assert_eq!(states(&ticked(), &there(true, true)), [Done, Done, Done, Done, Done, Pending]);
        assert_eq!(states(&ticked(), &there(true, false)), [Done, Done, Done, Done, Pending, Pending]);
        assert_eq!(states(&ticked(), &there(false, false)), [Done, Done, Done, Pending, Pending, Pending]);
        // The target was not asked, follows another source, or has nothing yet.
        assert_eq!(states(&ticked(), &InTarget::default()), [Done, Done, Done, Unknown, Unknown, Pending]);
        let other = InTarget { is_known: Some(false), ..there(true, true) };
        assert_eq!(states(&ticked(), &other), [Done, Done, Done, Unknown, Unknown, Pending]);
        let empty = InTarget { is_known: Some(true), ..InTarget::default() };
        assert_eq!(states(&ticked(), &empty), [Done, Done, Done, Pending, Pending, Pending]);
    }

    #[test]
    fn what_is_in_no_tick_waits_and_what_was_pruned_is_done() {
        let open = InSource { status: Some("in progress".to_owned()), ..InSource::default() };
        assert_eq!(states(&open, &InTarget::default()), [Pending; 6]);
        let aborted = InSource { status: Some("aborted".to_owned()), ..InSource::default() };
        assert_eq!(states(&aborted, &InTarget::default()), [Unknown; 6]);
        let pruned = InSource { is_pruned: Some(true), ..InSource::default() };
        assert_eq!(states(&pruned, &InTarget::default()), [Done; 6]);
        assert_eq!(states(&InSource::default(), &InTarget::default()), [Unknown; 6]);
    }
}
