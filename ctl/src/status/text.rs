//! The status for people, in the order of their questions.

use super::judge::{Judgement, State};
use super::trend::Trend;
use super::{Overview, Status};
use crate::level::Level;
use crate::output::{Colour, Output, bytes, line, seconds};
use std::fmt::Write;

pub(super) fn of(output: &Output, status: &Status<'_>) -> String {
    let Status { judgement, overview, trend, .. } = status;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    row("state", &word(output, judgement));
    row("behind", &behind(judgement, overview));
    row("trend", &gaining(judgement, *trend));
    if judgement.needs.is_empty() {
        row("needs you", "nothing");
    }
    for need in &judgement.needs {
        row("needs you", &output.coloured(colour(need.level), &line(&need.what)));
        row("", &format!("-> {}", line(&need.next)));
    }
    row("disk", &room(overview));
    row("equal", judgement.equal.as_deref().unwrap_or("unknown; ./compare-replication.sh compares now"));
    for happened in &overview.lately {
        row("lately", &format!("{}  {}", line(&happened.at), line(&happened.what)));
    }
    text
}

/// One line, for a terminal that is not there.
pub(super) fn in_one_line(judgement: &Judgement, overview: &Overview, trend: Option<Trend>) -> String {
    format!(
        "{:<12} {}, {}, needs you: {}",
        judgement.state.words(),
        behind(judgement, overview),
        gaining(judgement, trend),
        judgement.needs.len()
    )
}

fn word(output: &Output, judgement: &Judgement) -> String {
    let shape = match judgement.state {
        State::Following | State::Quiet => "●",
        State::CatchingUp => "▲",
        State::Paused => "‖",
        State::Held | State::Stalled => "■",
        State::Unknown => "?",
    };
    output.coloured(colour(judgement.level), &format!("{shape} {}", judgement.state.words()))
}

fn colour(level: Level) -> Colour {
    match level {
        Level::Good => Colour::Green,
        Level::Warning => Colour::Yellow,
        Level::Critical | Level::Unknown => Colour::Red,
    }
}

fn behind(judgement: &Judgement, overview: &Overview) -> String {
    let lag = judgement.lag_seconds.map_or_else(|| "unknown".to_owned(), seconds);
    let events = judgement.waiting_events.map_or_else(
        || "unknown".to_owned(),
        |events| match events {
            100_000.. => "100000 or more".to_owned(),
            events => events.to_string(),
        },
    );
    let target = overview.target.as_ref();
    let as_of = target.and_then(|target| target.source_time.as_ref()).map_or("unknown", String::as_str);
    format!("{lag}, {events} events; B shows A as of {}", line(as_of))
}

fn gaining(judgement: &Judgement, trend: Option<Trend>) -> String {
    let Some(trend) = trend else {
        return match judgement.lag_seconds {
            Some(lag) if lag <= super::LAG_NORMAL_S => "keeps up".to_owned(),
            _ => "unknown".to_owned(),
        };
    };
    match trend.seconds_left {
        Some(left) if trend.gains() => format!("gains {:.1}×, about {} left", trend.speed, seconds(left)),
        _ if trend.loses() => "loses: it falls back".to_owned(),
        _ => "neither gains nor loses".to_owned(),
    }
}

/// What a database does not tell is how much room its disk has.
fn room(overview: &Overview) -> String {
    let source = overview.source.as_ref().map(|source| {
        let growth = bytes(source.outbox_bytes_per_second);
        format!("outbox of A {}, grows by {growth}/s while B is down", bytes(source.outbox_bytes))
    });
    let target = overview.target.as_ref().map(|target| format!("inbox of B {}", bytes(target.inbox_bytes)));
    let known: Vec<String> = source.into_iter().chain(target).collect();
    if known.is_empty() { "unknown".to_owned() } else { format!("{}; free: unknown", known.join("; ")) }
}
