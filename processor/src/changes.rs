//! Reduces the events of whole ticks to the last state of each key: what the target must look like
//! behind them, whatever happened in between.

use shared::wire::{Batch, Operation, Shape};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The changes of one table, by key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TableChanges {
    /// Every row goes before the others are applied: a TRUNCATE.
    pub(crate) emptied: bool,
    /// Keys that are gone.
    pub(crate) deleted: Vec<String>,
    /// Keys that are there, each with its row.
    pub(crate) present: Vec<(String, String)>,
}

/// The last state of each key of each table (by the form that its rows had), without the events
/// in `done`.
pub(crate) fn reduce(batches: &[Batch], done: &HashSet<Uuid>) -> HashMap<Shape, TableChanges> {
    let mut last: HashMap<&Shape, LastStates> = HashMap::new();
    for batch in batches {
        let shapes: HashMap<i32, &Shape> = batch.shapes.iter().map(|shape| (shape.id, shape)).collect();
        for event in batch.events.iter().filter(|event| !done.contains(&event.event_id)) {
            let Some(shape) = shapes.get(&event.shape) else { continue };
            let states = last.entry(shape).or_default();
            match (&event.key, event.operation) {
                (Some(key), _) => states.set(key, event.row.as_deref()),
                (None, Operation::Truncate) => {
                    *states = LastStates { emptied: true, ..LastStates::default() }
                }
                (None, _) => {}
            }
        }
    }
    last.into_iter().map(|(shape, states)| (shape.clone(), states.into_changes())).collect()
}

/// Keeps the order in which keys were first touched: rows that belong together stay together.
#[derive(Default)]
struct LastStates<'a> {
    emptied: bool,
    index: HashMap<&'a str, usize>,
    states: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> LastStates<'a> {
    fn set(&mut self, key: &'a str, row: Option<&'a str>) {
        let states = &mut self.states;
        let index = *self.index.entry(key).or_insert_with(|| {
            states.push((key, None));
            states.len() - 1
        });
        states[index].1 = row;
    }

    fn into_changes(self) -> TableChanges {
        let mut changes = TableChanges { emptied: self.emptied, ..TableChanges::default() };
        for (key, row) in self.states {
            match row {
                None => changes.deleted.push(key.to_owned()),
                Some(row) => changes.present.push((key.to_owned(), row.to_owned())),
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::{Event, FORMAT, Source, TickRef};

    fn batch(events: &[(u128, Operation, Option<&str>, Option<&str>)]) -> Batch {
        Batch {
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
        }
    }

    fn shape() -> Shape {
        Shape { id: 1, schema: "public".to_owned(), table: "t".to_owned(), columns: vec![], key: vec![] }
    }

    #[test]
    fn only_the_last_state_of_a_key_counts() {
        use Operation::{Delete, Insert, Update};
        let batches = [
            batch(&[(1, Insert, Some("(1)"), Some("a")), (2, Insert, Some("(2)"), Some("b"))]),
            batch(&[(3, Update, Some("(1)"), Some("c")), (4, Delete, Some("(2)"), None)]),
            batch(&[(5, Delete, Some("(3)"), None), (6, Insert, Some("(3)"), Some("born again"))]),
        ];
        let changes = &reduce(&batches, &HashSet::new())[&shape()];
        assert_eq!(changes.deleted, ["(2)"]);
        let present =
            [("(1)", "c"), ("(3)", "born again")].map(|(key, row)| (key.to_owned(), row.to_owned()));
        assert_eq!(changes.present, present);
        assert!(!changes.emptied);
    }

    #[test]
    fn a_truncate_drops_what_came_before_it() {
        use Operation::{Insert, Truncate};
        let batches = [batch(&[
            (1, Insert, Some("(1)"), Some("a")),
            (2, Truncate, None, None),
            (3, Insert, Some("(2)"), Some("b")),
        ])];
        let changes = &reduce(&batches, &HashSet::new())[&shape()];
        assert!(changes.emptied && changes.deleted.is_empty());
        assert_eq!(changes.present, [("(2)".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn an_event_that_was_processed_before_has_no_effect() {
        let batches = [batch(&[
            (1, Operation::Insert, Some("(1)"), Some("new")),
            (2, Operation::Update, Some("(1)"), Some("old")),
        ])];
        let changes = &reduce(&batches, &HashSet::from([Uuid::from_u128(2)]))[&shape()];
        assert_eq!(changes.present, [("(1)".to_owned(), "new".to_owned())]);
    }
}
