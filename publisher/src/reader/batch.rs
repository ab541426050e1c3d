//! Batches: the one that is being filled, and those that are cut.

use crate::leadership::Term;
use crate::outbox::events::OutboxEvent;
use crate::outbox::reading::Tick;
use outbox_publisher::rules::cursor::Epoch;
use shared::budget::Permit;
use shared::wire::{Batch, Event, FORMAT, Shape, Skipped, Snapshot, Source};
use std::collections::HashMap;

/// A batch is cut when its rows have this many bytes, however few they are.
const BATCH_BYTES: usize = 512 * 1024;
/// A batch is cut when it may have so many tables: a reader takes a bounded number of columns.
const SHAPES_MAX: usize = 2000;

/// A batch, and which one of its epoch it is.
pub(crate) struct Cut {
    pub(crate) term: Term,
    pub(crate) epoch: Epoch,
    /// Counted from 0 in each epoch.
    pub(crate) number: u64,
    pub(crate) batch: Batch,
    /// For its bytes.
    pub(crate) permit: Permit,
}

/// Consecutive events of one tick.
#[derive(Default)]
pub(super) struct BatchBuilder {
    first: i64,
    total: i64,
    bytes: usize,
    events: Vec<Event>,
    /// How often an event was of another table than the one before.
    changes_of_shape: usize,
}

impl BatchBuilder {
    pub(super) fn add(&mut self, event: OutboxEvent) {
        if self.events.is_empty() {
            self.first = event.ordinal;
            self.total = event.total;
        }
        if self.events.last().is_none_or(|last| last.shape != event.event.shape) {
            self.changes_of_shape += 1;
        }
        let text = [&event.event.key, &event.event.row, &event.event.moved_to];
        self.bytes += text.into_iter().flatten().map(String::len).sum::<usize>();
        self.events.push(event.event);
    }

    pub(super) fn is_full(&self, batch_size: usize) -> bool {
        self.events.len() >= batch_size || self.bytes >= BATCH_BYTES || self.changes_of_shape >= SHAPES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The batch with what was added, and the shapes that it uses, and its bytes; this is empty again then.
    pub(super) fn take(
        &mut self,
        tick: &Tick,
        source: &Source,
        shapes: &HashMap<i32, Shape>,
    ) -> (Batch, usize) {
        let BatchBuilder { first, total, events, bytes, .. } = std::mem::take(self);
        let mut used: Vec<i32> = events.iter().map(|event| event.shape).collect();
        used.sort_unstable();
        used.dedup();
        let shapes = used.iter().filter_map(|id| shapes.get(id)).cloned().collect();
        (ended(Batch { first, total, shapes, events, ..without_events(tick, source) }, tick), bytes)
    }
}

/// The batch of an event that is skipped.
pub(super) fn skipped(
    event: &OutboxEvent,
    tick: &Tick,
    source: &Source,
    shapes: &HashMap<i32, Shape>,
) -> Batch {
    let OutboxEvent { ordinal, total, event, .. } = event;
    let table = shapes.get(&event.shape).map_or_else(|| "?".to_owned(), Shape::name);
    let skipped = Some(Skipped { event_id: event.event_id, table });
    ended(Batch { first: *ordinal, total: *total, skipped, ..without_events(tick, source) }, tick)
}

/// The batch with the snapshot of its tick, where it is the last one. A snapshot that is too long to be sent is left out.
fn ended(mut batch: Batch, tick: &Tick) -> Batch {
    if batch.end().is_complete() {
        batch.snapshot = Snapshot::try_from(tick.until.clone()).ok();
    }
    batch
}

fn without_events(tick: &Tick, source: &Source) -> Batch {
    Batch {
        format: FORMAT,
        source: source.clone(),
        tick: tick.at,
        previous_id: tick.previous_id,
        first: 0,
        total: 0,
        taken_at_us: tick.taken_at_us,
        shapes: Vec::new(),
        events: Vec::new(),
        skipped: None,
        snapshot: None,
    }
}
