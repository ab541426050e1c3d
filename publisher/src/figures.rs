//! What this service knows of the source, for the page of either service. It looks at memory only.

use crate::leadership::Term;
use crate::outbox::progress::Progress;
use crate::sampling::Sampled;
use jiff::Timestamp;
use shared::wire::{Paused, SourceFigures, whole};

/// Of this term, with what was sampled.
pub(crate) fn of(term: &Term, sampled: &Sampled, taken_tick: i64) -> SourceFigures {
    let Progress { published_tick, confirmed_tick } = term.progress();
    let waiting = sampled.waiting().map(|seen| seen.value);
    let sizes = sampled.sizes().map(|seen| seen.value);
    let waiting = waiting.as_ref();
    let sizes = sizes.as_ref();
    let ms = |seconds: f64| whole(seconds * 1000.0);
    let missing = [(waiting.is_none(), "ages"), (sizes.is_none(), "sizes")];
    let missing: Vec<&str> = missing.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    SourceFigures {
        taken_tick: Some(taken_tick),
        published_tick: Some(published_tick),
        confirmed_tick: Some(confirmed_tick),
        captured_events: waiting.and_then(|waiting| u64::try_from(waiting.last_event?).ok()),
        unpublished_events: sizes.map(|sizes| whole(sizes.unpublished)),
        unconfirmed_events: sizes.map(|sizes| whole(sizes.unconfirmed)),
        capture_to_publish_ms: waiting.map(|waiting| ms(waiting.unpublished_seconds)),
        publish_to_receive_ms: waiting.map(|waiting| ms(waiting.unreceived_seconds)),
        total_ms: waiting.map(|waiting| ms(waiting.total_seconds)),
        outbox_bytes: sizes.map(|sizes| whole(sizes.outbox_bytes)),
        outbox_growth_bytes_per_second: sizes.map(|sizes| whole(sizes.growth_bytes_per_second)),
        disk_free_seconds: sampled.seconds_left().map(whole),
        last_change_at: waiting
            .and_then(|waiting| Timestamp::from_microsecond(waiting.last_tick_at_us?).ok()),
        held: term.held().map(|held| held.figure()),
        paused: waiting
            .and_then(|waiting| waiting.paused.as_ref())
            .map(|(since_us, why)| Paused::of(Timestamp::from_microsecond(*since_us).ok(), why)),
        unknown_because: (!missing.is_empty())
            .then(|| format!("{} were not looked at lately", missing.join(" and "))),
    }
}
