//! Ticks and batches as a source cuts them.

use shared::wire::{Batch, Event, FORMAT, Operation, Source, TickRef};
use std::sync::Arc;
use uuid::Uuid;

/// The source's identity.
pub(crate) const SOURCE: &str = "1/a";

/// A tick of one history of the source: ticks of two histories may have one number, and have different ids.
pub(crate) fn tick(number: i64, history: u8) -> TickRef {
    let history = if number == 0 { 0 } else { history };
    TickRef { number, id: Uuid::from_u64_pair(u64::from(history) + 1, number.unsigned_abs()) }
}

/// Events `first` to `last` of a tick, which has `total`.
pub(crate) fn batch(
    source: &str,
    at: TickRef,
    previous: Uuid,
    (first, last, total): (i64, i64, i64),
    timeline: i64,
) -> Arc<Batch> {
    let event = |ordinal: i64| Event {
        event_id: Uuid::from_u64_pair(at.number.unsigned_abs(), ordinal.unsigned_abs()),
        txid: at.number,
        shape: 1,
        operation: Operation::Insert,
        key: Some(String::new()),
        row: None,
        moved_to: None,
    };
    Arc::new(Batch {
        format: FORMAT,
        source: Source { id: source.to_owned(), timeline },
        tick: at,
        previous_id: previous,
        first,
        total,
        taken_at_us: 0,
        shapes: vec![],
        events: (first..=last).map(event).collect(),
        skipped: None,
        snapshot: None,
    })
}
