//! Batches: the one that is being filled, and those that are cut.

use crate::cursor::Epoch;
use crate::leadership::Term;
use crate::outbox::events::OutboxEvent;
use crate::outbox::reading::Tick;
use shared::wire::{Batch, Event, FORMAT, Shape, Source};
use std::collections::HashMap;

/// A batch is cut when its rows have this many bytes, however few they are.
const BATCH_BYTES: usize = 512 * 1024;

/// A batch, and which one of its epoch it is.
pub(crate) struct Cut {
    pub(crate) term: Term,
    pub(crate) epoch: Epoch,
    /// Counted from 0 in each epoch.
    pub(crate) number: u64,
    pub(crate) batch: Batch,
}

/// Consecutive events of one tick.
#[derive(Default)]
pub(super) struct BatchBuilder {
    first: i64,
    total: i64,
    bytes: usize,
    events: Vec<Event>,
}

impl BatchBuilder {
    pub(super) fn add(&mut self, event: OutboxEvent) {
        if self.events.is_empty() {
            self.first = event.ordinal;
            self.total = event.total;
        }
        let text = [&event.event.key, &event.event.row];
        self.bytes += text.into_iter().flatten().map(String::len).sum::<usize>();
        self.events.push(event.event);
    }

    pub(super) fn is_full(&self, batch_size: usize) -> bool {
        self.events.len() >= batch_size || self.bytes >= BATCH_BYTES
    }

    /// The batch with what was added, and the shapes that it uses; this is empty again then.
    pub(super) fn take(&mut self, tick: &Tick, source: &Source, shapes: &HashMap<i32, Shape>) -> Batch {
        let BatchBuilder { first, total, events, .. } = std::mem::take(self);
        let mut used: Vec<i32> = events.iter().map(|event| event.shape).collect();
        used.sort_unstable();
        used.dedup();
        Batch {
            format: FORMAT,
            source: source.clone(),
            tick: tick.at,
            previous_id: tick.previous_id,
            first,
            total,
            taken_at_us: tick.taken_at_us,
            shapes: used.iter().filter_map(|id| shapes.get(id)).cloned().collect(),
            events,
        }
    }
}
