//! How far the target is, and the rule that judges a batch by it.

use shared::wire::{Batch, Position, TickRef};
use std::sync::Arc;

/// How far the target is with the one source that it follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetPosition {
    /// Its identity.
    pub source: String,
    /// On which it published what was received last.
    pub timeline: i64,
    /// Batches up to here are stored.
    pub received: Position,
    /// Everything up to and including this tick is committed in the tables.
    pub applied: Option<TickRef>,
}

impl TargetPosition {
    /// False for a source that was adopted and has not sent anything yet.
    pub fn has_received(&self) -> bool {
        self.received.tick.number > 0
    }

    /// The last tick of which every batch is stored; none before the first.
    pub fn last_complete(&self) -> i64 {
        self.received.last_complete_tick()
    }

    /// The last tick that is applied; 0 before the first.
    pub fn last_applied(&self) -> i64 {
        self.applied.map_or(0, |applied| applied.number)
    }

    /// Whether a tick is stored to its end and not applied.
    pub fn has_complete_ticks(&self) -> bool {
        self.last_complete() > self.last_applied()
    }
}

/// How a batch compares with the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It follows: store its events from this ordinal on (earlier ones are known).
    Next {
        /// The first new one.
        from: i64,
    },
    /// All of it is stored already.
    Known,
    /// Something before it is missing.
    Gap,
    /// It names another source than the one that this target follows.
    OtherSource,
    /// It names this source, and does not continue the history that this target has.
    OtherHistory,
}

/// What was received, while a group of messages is judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reception {
    /// The position once what is to be stored is stored; none while nothing has ever arrived.
    pub position: Option<TargetPosition>,
    /// Something before the last batch is missing.
    pub gap: bool,
}

impl Reception {
    /// Judges a batch by the position, which moves with what is to be stored.
    pub fn take(&mut self, batch: &Batch) -> Verdict {
        let verdict = judge(self.position.as_ref(), batch);
        match verdict {
            Verdict::Next { .. } => self.store(batch),
            Verdict::Gap => self.gap = true,
            Verdict::Known | Verdict::OtherSource | Verdict::OtherHistory => {}
        }
        verdict
    }

    /// Moves the position to the end of a batch that is to be stored.
    pub fn store(&mut self, batch: &Batch) {
        self.position = Some(TargetPosition {
            source: batch.source.id.clone(),
            timeline: batch.source.timeline,
            received: batch.end(),
            applied: self.position.as_ref().and_then(|position| position.applied),
        });
        self.gap = false;
    }
}

/// Judges a batch by the position.
///
/// What is of another source or history proves nothing: whoever may publish can send one. Whether the source
/// can serve this target is for the source to say, which compares each confirm with its own ticks.
pub fn judge(position: Option<&TargetPosition>, batch: &Batch) -> Verdict {
    let Some(position) = position else {
        return if batch.tick.number == 1 && batch.first == 1 {
            Verdict::Next { from: 1 }
        } else {
            Verdict::Gap
        };
    };
    if position.source != batch.source.id {
        return Verdict::OtherSource;
    }
    if !position.has_received() {
        return judge(None, batch);
    }
    let received = &position.received;
    if batch.tick.number == received.tick.number {
        return if batch.tick.id != received.tick.id || batch.total != received.total {
            Verdict::OtherHistory
        } else if batch.last() <= received.ordinal {
            Verdict::Known
        } else if batch.first <= received.ordinal + 1 {
            Verdict::Next { from: received.ordinal + 1 }
        } else {
            Verdict::Gap
        };
    }
    if batch.tick.number < received.tick.number {
        return Verdict::Known;
    }
    if batch.tick.number > received.tick.number + 1 {
        return Verdict::Gap;
    }
    if batch.previous_id != received.tick.id {
        return Verdict::OtherHistory;
    }
    if received.is_complete() && batch.first == 1 { Verdict::Next { from: 1 } } else { Verdict::Gap }
}

/// The batch without the events before ordinal `from`.
pub fn from_ordinal(batch: Arc<Batch>, from: i64) -> Arc<Batch> {
    if from <= batch.first {
        return batch;
    }
    let mut batch = Arc::unwrap_or_clone(batch);
    let known = usize::try_from(from - batch.first).unwrap_or(0);
    batch.events.drain(..known);
    batch.first = from;
    Arc::new(batch)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use shared::wire::{Event, FORMAT, Operation, Source};
    use uuid::Uuid;

    fn id(tick: i64) -> Uuid {
        Uuid::from_u64_pair(1, tick.unsigned_abs())
    }

    /// Events `first` to `last` of a tick.
    pub(in crate::rules) fn batch(tick: i64, first: i64, last: i64, total: i64) -> Batch {
        let event = |ordinal: i64| Event {
            event_id: Uuid::from_u64_pair(tick.unsigned_abs(), ordinal.unsigned_abs()),
            txid: 1,
            shape: 1,
            operation: Operation::Insert,
            key: Some(String::new()),
            row: None,
            moved_to: None,
        };
        Batch {
            format: FORMAT,
            source: Source { id: "1/a".to_owned(), timeline: 1 },
            tick: TickRef { number: tick, id: id(tick) },
            previous_id: id(tick - 1),
            first,
            total,
            taken_at_us: 0,
            shapes: vec![],
            events: (first..=last).map(event).collect(),
            skipped: None,
            snapshot: None,
        }
    }

    fn at(tick: i64, ordinal: i64, total: i64) -> TargetPosition {
        TargetPosition {
            source: "1/a".to_owned(),
            timeline: 1,
            received: Position { tick: TickRef { number: tick, id: id(tick) }, ordinal, total },
            applied: None,
        }
    }

    #[test]
    fn a_fresh_target_begins_with_the_first_event_of_the_first_tick() {
        assert_eq!(judge(None, &batch(1, 1, 3, 3)), Verdict::Next { from: 1 });
        assert_eq!(judge(None, &batch(1, 2, 3, 3)), Verdict::Gap);
        assert_eq!(judge(None, &batch(2, 1, 3, 3)), Verdict::Gap);
    }

    #[test]
    fn what_follows_is_taken_what_is_known_is_not_and_a_gap_is_seen() {
        let position = at(5, 4, 10);
        let verdict = |batch| judge(Some(&position), &batch);
        assert_eq!(verdict(batch(5, 5, 8, 10)), Verdict::Next { from: 5 });
        assert_eq!(verdict(batch(5, 3, 8, 10)), Verdict::Next { from: 5 });
        assert_eq!(verdict(batch(5, 1, 4, 10)), Verdict::Known);
        assert_eq!(verdict(batch(4, 1, 9, 9)), Verdict::Known);
        assert_eq!(verdict(batch(5, 6, 8, 10)), Verdict::Gap);
        assert_eq!(verdict(batch(6, 1, 2, 2)), Verdict::Gap);
        assert_eq!(judge(Some(&at(5, 10, 10)), &batch(6, 1, 2, 2)), Verdict::Next { from: 1 });
        assert_eq!(judge(Some(&at(5, 10, 10)), &batch(7, 1, 2, 2)), Verdict::Gap);
    }

    #[test]
    fn another_source_or_history_is_told_apart_even_where_the_numbers_fit() {
        let mut forked = batch(6, 1, 2, 2);
        forked.previous_id = Uuid::nil();
        assert_eq!(judge(Some(&at(5, 10, 10)), &forked), Verdict::OtherHistory);
        let mut same_number = batch(5, 5, 6, 10);
        same_number.tick.id = Uuid::nil();
        assert_eq!(judge(Some(&at(5, 4, 10)), &same_number), Verdict::OtherHistory);
        // A tick has as many events whenever it is read.
        assert_eq!(judge(Some(&at(5, 4, 10)), &batch(5, 5, 11, 11)), Verdict::OtherHistory);
        assert_eq!(judge(Some(&at(5, 10, 10)), &batch(5, 1, 12, 12)), Verdict::OtherHistory);
        let mut elsewhere = batch(6, 1, 2, 2);
        elsewhere.source.id = "2/a".to_owned();
        assert_eq!(judge(Some(&at(5, 10, 10)), &elsewhere), Verdict::OtherSource);
    }

    #[test]
    fn an_overlap_is_trimmed_by_ordinal() {
        let trimmed = from_ordinal(Arc::new(batch(5, 3, 8, 10)), 6);
        assert_eq!((trimmed.first, trimmed.last(), trimmed.events.len()), (6, 8, 3));
        assert_eq!(*from_ordinal(Arc::new(batch(5, 3, 8, 10)), 3), batch(5, 3, 8, 10));
    }
}
