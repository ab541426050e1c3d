//! Reduces the events of whole ticks, in memory, to the last state of each key. [`super::staging`] does the
//! same in SQL.
//!
//! A table that is altered has events of several shapes. The last state of a key counts whatever shape the
//! states before had, as long as keys can be compared: only the shape of the last one has to fit the target.

use super::moves::Moves;
use super::row_key::is_of_another_key;
use crate::tables::{EqualKeys, SchemaSegment, TableChanges, ends_before};
use shared::wire::{Batch, Event, Operation, Shape};
use std::collections::HashMap;
use std::sync::Arc;

/// The last state of each key of each table, segment by segment; usually there is one.
pub(super) fn reduce<'a>(batches: &'a [Arc<Batch>], equal: &EqualKeys<'a>) -> Vec<SchemaSegment<'a>> {
    let mut segments = Vec::new();
    let mut tables = Tables::default();
    for batch in batches {
        // Within the segment.
        let mut places: HashMap<i32, Place> = HashMap::new();
        for event in &batch.events {
            let place = if let Some(place) = places.get(&event.shape) {
                *place
            } else {
                let Some(shape) = batch.shapes.iter().find(|shape| shape.id == event.shape) else {
                    continue;
                };
                if tables.must_end_before(shape) {
                    segments.push(std::mem::take(&mut tables).into_changes());
                    places.clear();
                }
                *places.entry(shape.id).or_insert(tables.place(shape))
            };
            if event.operation == Operation::Truncate {
                // Another shape begins a segment from now on.
                places.clear();
            }
            let states = &mut tables.0[place.table];
            states.take(event, place.form, equal.of(states.shapes[place.form]));
        }
    }
    segments.push(tables.into_changes());
    segments
}

/// Where the events of a shape go.
#[derive(Clone, Copy)]
struct Place {
    table: usize,
    /// The number of the shape among those of its table.
    form: usize,
}

/// The tables met so far in a segment. Ids of shapes are valid within one batch only.
#[derive(Default)]
struct Tables<'a>(Vec<LastStates<'a>>);

impl<'a> Tables<'a> {
    fn must_end_before(&self, shape: &Shape) -> bool {
        self.0.iter().any(|table| {
            let mut forms = table.shapes.iter().enumerate();
            forms.any(|(form, known)| ends_before(known, table.emptied == Some(form), shape))
        })
    }

    fn place(&mut self, shape: &'a Shape) -> Place {
        let table = self.0.iter().position(|table| table.shapes[0].has_keys_of(shape)).unwrap_or_else(|| {
            self.0.push(LastStates::default());
            self.0.len() - 1
        });
        let shapes = &mut self.0[table].shapes;
        let form = shapes.iter().position(|known| *known == shape).unwrap_or_else(|| {
            shapes.push(shape);
            shapes.len() - 1
        });
        Place { table, form }
    }

    fn into_changes(self) -> SchemaSegment<'a> {
        self.0.into_iter().flat_map(LastStates::into_changes).collect()
    }
}

/// Those of one table. Keeps the order in which keys were first touched: rows that belong together stay
/// together.
#[derive(Default)]
struct LastStates<'a> {
    /// The forms of its rows; at least one.
    shapes: Vec<&'a Shape>,
    /// The number of the shape under which it was truncated.
    emptied: Option<usize>,
    index: HashMap<&'a str, usize>,
    states: Vec<LastState<'a>>,
    moves: Moves<&'a str>,
}

struct LastState<'a> {
    key: &'a str,
    /// Its first event here is an INSERT: it did not exist before.
    born: bool,
    /// No event here inserted it: it existed before.
    existed: bool,
    row: Option<&'a str>,
    /// The number of the last event's shape.
    form: usize,
}

impl<'a> LastStates<'a> {
    fn take(&mut self, event: &'a Event, form: usize, equal: Option<&HashMap<&'a str, &'a str>>) {
        match (&event.key, event.operation) {
            (Some(key), operation) => {
                let same = equal.and_then(|keys| keys.get(key.as_str())).copied();
                let is_of_another =
                    |same: &str| event.row.is_none() && self.has_row_of_another_key(same, key);
                if !same.is_some_and(is_of_another) {
                    self.set(same.unwrap_or(key), event.row.as_deref(), operation, form);
                    self.moves
                        .take(event, |key| equal.and_then(|keys| keys.get(key)).copied().unwrap_or(key));
                }
            }
            (None, Operation::Truncate) => {
                let shapes = std::mem::take(&mut self.shapes);
                *self = LastStates { shapes, emptied: Some(form), ..LastStates::default() };
            }
            (None, _) => {}
        }
    }

    /// Whether there is a row now whose key is equal to `gone`, and another text.
    fn has_row_of_another_key(&self, same: &str, gone: &str) -> bool {
        let state = self.index.get(same).map(|index| &self.states[*index]);
        state.is_some_and(|state| {
            state.row.is_some_and(|row| is_of_another_key(self.shapes[state.form], gone, row))
        })
    }

    fn set(&mut self, key: &'a str, row: Option<&'a str>, operation: Operation, form: usize) {
        let states = &mut self.states;
        let index = *self.index.entry(key).or_insert_with(|| {
            let born = operation == Operation::Insert;
            states.push(LastState { key, born, existed: row.is_none(), row, form });
            states.len() - 1
        });
        (states[index].row, states[index].form) = (row, form);
        // Also of one that a trigger deletes as soon as it is inserted: its deletion is captured first.
        states[index].existed &= operation != Operation::Insert;
    }

    /// By shape.
    fn into_changes(self) -> Vec<TableChanges<'a>> {
        let mut forms: Vec<_> = self.shapes.into_iter().map(TableChanges::none).collect();
        if let Some(form) = self.emptied {
            forms[form].emptied = true;
        }
        for LastState { key, born, existed, row, form } in self.states {
            let changes = &mut forms[form];
            let origin = self.moves.origin(key).copied().filter(|_| !changes.emptied);
            changes.moved.extend(origin.filter(|_| row.is_some()).map(|origin| (key, origin)));
            match row {
                None if existed => changes.deleted.push(key),
                None => changes.passing.push(key),
                Some(row) if born && origin.is_none() || changes.emptied => changes.born.push((key, row)),
                Some(row) => changes.changed.push((key, row)),
            }
        }
        forms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::{FORMAT, Source, TickRef};
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
                    moved_to: None,
                })
                .collect(),
            skipped: None,
            snapshot: None,
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
            key_collations: None,
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

    /// Events 1 to 4, of which the second and the fourth have the shape `other`.
    fn altered(other: Shape, second: Operation) -> [Arc<Batch>; 1] {
        use Operation::{Insert, Truncate, Update};
        let key = (second != Truncate).then_some("(1)");
        let mut altered = Batch::clone(&batch(&[
            (1, Update, Some("(1)"), Some("a")),
            (2, second, key, None),
            (3, Insert, Some("(1)"), Some("b")),
            (4, Insert, Some("(2)"), Some("c")),
        ]));
        (altered.events[1].shape, altered.events[3].shape) = (other.id, other.id);
        altered.shapes.push(other);
        [Arc::new(altered)]
    }

    /// As ALTER TABLE leaves it in the midst of a batch, and takes it back.
    #[test]
    fn the_last_state_of_a_key_counts_whatever_shape_it_has() {
        let batches = altered(Shape { id: 2, columns: vec!["new".to_owned()], ..shape() }, Operation::Delete);
        let segments = reduce(&batches, &EqualKeys::default());
        let [only] = &segments[..] else { panic!("{segments:?}") };
        assert_eq!((&only[0].changed[..], &only[0].born[..]), (&[("(1)", "b")][..], &[][..]));
        assert_eq!(only[1].born, [("(2)", "c")]);
        assert!(only[1].deleted.is_empty());
    }

    #[test]
    fn a_shape_with_another_key_begins_a_segment() {
        let other = Shape { id: 2, key: vec!["new".to_owned()], ..shape() };
        let batches = altered(other, Operation::Delete);
        let segments = reduce(&batches, &EqualKeys::default());
        let [before, between, after, last] = &segments[..] else { panic!("{segments:?}") };
        assert_eq!(before[0].changed, [("(1)", "a")]);
        assert_eq!(between[0].deleted, ["(1)"]);
        assert_eq!(after[0].born, [("(1)", "b")]);
        assert_eq!(last[0].born, [("(2)", "c")]);
    }

    #[test]
    fn an_emptied_table_gets_rows_of_one_shape_in_a_segment() {
        let other = Shape { id: 2, columns: vec!["new".to_owned()], ..shape() };
        let batches = altered(other, Operation::Truncate);
        let segments = reduce(&batches, &EqualKeys::default());
        let [emptied, after] = &segments[..] else { panic!("{segments:?}") };
        assert!(emptied[0].is_empty() && emptied[1].emptied && emptied[1].born.is_empty());
        assert_eq!(after[0].born, [("(1)", "b")]);
        assert_eq!(after[1].born, [("(2)", "c")]);
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
