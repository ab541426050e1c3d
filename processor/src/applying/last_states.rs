//! Reduces the events of whole ticks, in memory, to the last state of each key. [`super::staging`] does the
//! same in SQL.

use super::row_key::is_of_another_key;
use crate::tables::{EqualKeys, SchemaSegment, TableChanges};
use shared::wire::{Batch, Operation, Shape};
use std::collections::HashMap;
use std::sync::Arc;

/// The last state of each key of each table, segment by segment; usually there is one.
pub(super) fn reduce<'a>(batches: &'a [Arc<Batch>], equal: &EqualKeys<'a>) -> Vec<SchemaSegment<'a>> {
    let mut segments = Vec::new();
    let mut tables = Tables::default();
    for batch in batches {
        // Within the segment.
        let mut numbers: HashMap<i32, usize> = HashMap::new();
        for event in &batch.events {
            let number = if let Some(number) = numbers.get(&event.shape) {
                *number
            } else {
                let Some(shape) = batch.shapes.iter().find(|shape| shape.id == event.shape) else {
                    continue;
                };
                if tables.shapes.iter().any(|known| known.is_another_form_of(shape)) {
                    segments.push(std::mem::take(&mut tables).into_changes());
                    numbers.clear();
                }
                *numbers.entry(shape.id).or_insert(tables.number(shape))
            };
            let representatives = equal.of(tables.shapes[number]);
            let states = &mut tables.states[number];
            match (&event.key, event.operation) {
                (Some(key), operation) => {
                    let same = representatives.and_then(|keys| keys.get(key.as_str())).copied();
                    if let Some(same) = same
                        && event.row.is_none()
                        && states
                            .row(same)
                            .is_some_and(|row| is_of_another_key(tables.shapes[number], key, row))
                    {
                        continue;
                    }
                    states.set(same.unwrap_or(key), event.row.as_deref(), operation);
                }
                (None, Operation::Truncate) => {
                    *states = LastStates { emptied: true, ..LastStates::default() }
                }
                (None, _) => {}
            }
        }
    }
    segments.push(tables.into_changes());
    segments
}

/// The tables met so far in a segment. Ids of shapes are valid within one batch only.
#[derive(Default)]
struct Tables<'a> {
    shapes: Vec<&'a Shape>,
    states: Vec<LastStates<'a>>,
}

impl<'a> Tables<'a> {
    fn number(&mut self, shape: &'a Shape) -> usize {
        self.shapes.iter().position(|known| *known == shape).unwrap_or_else(|| {
            self.shapes.push(shape);
            self.states.push(LastStates::default());
            self.shapes.len() - 1
        })
    }

    fn into_changes(self) -> SchemaSegment<'a> {
        self.shapes.into_iter().zip(self.states).map(|(shape, states)| states.into_changes(shape)).collect()
    }
}

/// Keeps the order in which keys were first touched: rows that belong together stay together.
#[derive(Default)]
struct LastStates<'a> {
    emptied: bool,
    index: HashMap<&'a str, usize>,
    states: Vec<LastState<'a>>,
}

struct LastState<'a> {
    key: &'a str,
    /// Its first event here is an INSERT: it did not exist before.
    born: bool,
    /// No event here inserted it: it existed before.
    existed: bool,
    row: Option<&'a str>,
}

impl<'a> LastStates<'a> {
    /// The row with the key, if there is one now.
    fn row(&self, key: &str) -> Option<&'a str> {
        self.index.get(key).and_then(|index| self.states[*index].row)
    }

    fn set(&mut self, key: &'a str, row: Option<&'a str>, operation: Operation) {
        let states = &mut self.states;
        let index = *self.index.entry(key).or_insert_with(|| {
            states.push(LastState { key, born: operation == Operation::Insert, existed: row.is_none(), row });
            states.len() - 1
        });
        states[index].row = row;
        // Also of one that a trigger deletes as soon as it is inserted: its deletion is captured first.
        states[index].existed &= operation != Operation::Insert;
    }

    fn into_changes(self, shape: &'a Shape) -> TableChanges<'a> {
        let mut changes = TableChanges { emptied: self.emptied, ..TableChanges::none(shape) };
        for LastState { key, born, existed, row } in self.states {
            match row {
                None if existed => changes.deleted.push(key),
                None => changes.passing.push(key),
                Some(row) if born || self.emptied => changes.born.push((key, row)),
                Some(row) => changes.changed.push((key, row)),
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::{Event, FORMAT, Source, TickRef};
    use uuid::Uuid;

    fn batch(events: &[(u128, Operation, Option<&str>, Option<&str>)]) -> Arc<Batch> {
        Arc::new(Batch {
            format: FORMAT,
            source: Source { id: "1/a".to_owned(), timeline: 1 },
            tick: TickRef { number: 1, id: Uuid::nil() },
            previous_id: Uuid::nil(),
            first: 1,
            total: 99,
            taken_at_us: 0,
            shapes: vec![shape()],
            events: events
                .iter()
                .map(|(id, operation, key, row)| Event {
                    event_id: Uuid::from_u128(*id),
                    txid: 1,
                    shape: 1,
                    operation: *operation,
                    key: key.map(str::to_owned),
                    row: row.map(str::to_owned),
                })
                .collect(),
            skipped: None,
        })
    }

    fn shape() -> Shape {
        Shape {
            id: 1,
            schema: "public".to_owned(),
            table: "t".to_owned(),
            columns: vec![],
            key: vec![],
            types: vec![],
            generated: vec![],
        }
    }

    fn only(batches: &[Arc<Batch>]) -> TableChanges<'_> {
        let mut segments = reduce(batches, &EqualKeys::default());
        assert_eq!((segments.len(), segments[0].len()), (1, 1));
        segments.remove(0).remove(0)
    }

    #[test]
    fn only_the_last_state_of_a_key_counts() {
        use Operation::{Delete, Insert, Update};
        let batches = [
            batch(&[(1, Insert, Some("(1)"), Some("a")), (2, Update, Some("(2)"), Some("b"))]),
            batch(&[(3, Update, Some("(1)"), Some("c")), (4, Delete, Some("(2)"), None)]),
            batch(&[(5, Delete, Some("(3)"), None), (6, Insert, Some("(3)"), Some("born again"))]),
            batch(&[(7, Insert, Some("(4)"), Some("short")), (8, Delete, Some("(4)"), None)]),
            batch(&[
                (9, Delete, Some("(5)"), None),
                (10, Insert, Some("(5)"), None),
                (11, Delete, Some("(6)"), None),
            ]),
        ];
        let changes = only(&batches);
        assert_eq!(changes.deleted, ["(6)"]);
        assert_eq!(changes.passing, ["(2)", "(4)", "(5)"]);
        assert_eq!(changes.born, [("(1)", "c")]);
        assert_eq!(changes.changed, [("(3)", "born again")]);
        assert!(!changes.emptied);
    }

    /// As ALTER TABLE leaves it in the midst of a batch, and takes it back.
    #[test]
    fn a_table_of_another_shape_begins_a_stretch() {
        use Operation::{Delete, Insert, Update};
        let mut altered = Batch::clone(&batch(&[
            (1, Update, Some("(1)"), Some("a")),
            (2, Delete, Some("(1)"), None),
            (3, Insert, Some("(1)"), Some("b")),
        ]));
        altered.shapes.push(Shape { id: 2, columns: vec!["new".to_owned()], ..shape() });
        altered.events[1].shape = 2;
        let batches = [Arc::new(altered)];
        let segments = reduce(&batches, &EqualKeys::default());
        let [before, between, after] = &segments[..] else { panic!("{segments:?}") };
        assert_eq!(before[0].changed, [("(1)", "a")]);
        assert_eq!(between[0].deleted, ["(1)"]);
        assert_eq!(after[0].born, [("(1)", "b")]);
    }

    #[test]
    fn a_truncate_drops_what_came_before_it() {
        use Operation::{Insert, Truncate, Update};
        let batches = [batch(&[
            (1, Insert, Some("(1)"), Some("a")),
            (2, Truncate, None, None),
            (3, Update, Some("(2)"), Some("b")),
        ])];
        let changes = only(&batches);
        assert!(changes.emptied && changes.deleted.is_empty());
        assert_eq!(changes.born, [("(2)", "b")], "an empty table knows no key");
    }
}
