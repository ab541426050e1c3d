//! What this service knows of the target, for the page of either service. It looks at memory only.

use crate::confirm_sender::ConfirmSender;
use crate::sampling::{Sampled, Seen};
use jiff::Timestamp;
use shared::wire::{Held, Paused, TargetFigures, whole};
use std::time::Instant;

/// With what was sampled, and when; none where this process does not lead, or nothing was sampled lately.
pub(crate) fn of(confirms: &ConfirmSender, sampled: &Sampled) -> Option<(TargetFigures, Instant)> {
    let (received_tick, applied_tick) = confirms.ticks()?;
    let Seen { standing, looked, .. } = sampled.seen()?;
    let since_ms = |seconds: f64| whole(seconds * 1000.0) + whole(looked.elapsed().as_secs_f64() * 1000.0);
    let at = |seconds: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "microseconds since 1970")]
        Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()
    };
    let nodes = confirms.stream_nodes();
    let figures = TargetFigures {
        received_tick: Some(received_tick),
        applied_tick: Some(applied_tick),
        as_of: standing.source_time_seconds.and_then(at),
        behind_ms: standing.behind_seconds.map(since_ms),
        waiting_events: Some(whole(standing.unapplied_events)),
        receive_to_apply_ms: Some(whole(standing.unapplied_seconds * 1000.0)),
        quarantine_unseen: Some(whole(standing.quarantine_unseen)),
        stream_nodes: nodes.map(|nodes| nodes.all),
        stream_nodes_current: nodes.map(|nodes| nodes.current),
        held: confirms.held().map(|held| Held { since: standing.held_since_seconds.and_then(at), ..held }),
        paused: standing.paused.as_ref().map(|(since, why)| Paused::of(at(*since), why)),
        unknown_because: None,
    };
    Some((figures, looked))
}
