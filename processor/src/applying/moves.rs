//! Under which keys rows were before statements changed their keys, so that what only the target has of a row
//! stays with it.

use shared::wire::{Event, Operation};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// For keys that rows have got, the key that each row had at first. Of one table, within a segment.
pub(super) struct Moves<Key>(HashMap<Key, Key>);

impl<Key> Default for Moves<Key> {
    fn default() -> Moves<Key> {
        Moves(HashMap::new())
    }
}

impl<Key: Eq + Hash + Borrow<str>> Moves<Key> {
    /// Follows an event. Keys that are equal are the same `key`.
    pub(super) fn take<'e>(&mut self, event: &'e Event, key: impl Fn(&'e str) -> Key) {
        let Some(old) = event.key.as_deref().filter(|_| event.row.is_none()) else { return };
        match event.moved_to.as_deref() {
            Some(new) => self.add(key(old), key(new)),
            // A row that gets this key later is another one.
            None if event.operation == Operation::Delete => {
                self.0.remove(key(old).borrow());
            }
            None => {}
        }
    }

    fn add(&mut self, old: Key, new: Key) {
        let origin = self.0.remove(old.borrow()).unwrap_or(old);
        if origin == new {
            self.0.remove(new.borrow());
        } else {
            self.0.insert(new, origin);
        }
    }

    /// The key that the row of this key had at first, if another one.
    pub(super) fn origin(&self, key: &str) -> Option<&Key> {
        self.0.get(key)
    }

    /// How many rows have another key than at first.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Each key that a row has got, with the key that the row had at first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Key)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn gone(operation: Operation, key: &str, moved_to: Option<&str>) -> Event {
        Event {
            event_id: Uuid::nil(),
            txid: 1,
            shape: 1,
            operation,
            key: Some(key.to_owned()),
            row: None,
            moved_to: moved_to.map(str::to_owned),
        }
    }

    fn followed(steps: &[(&str, Option<&str>)]) -> Vec<(String, String)> {
        let mut moves = Moves::<String>::default();
        for (key, moved_to) in steps {
            let operation = if moved_to.is_some() { Operation::Update } else { Operation::Delete };
            moves.take(&gone(operation, key, *moved_to), str::to_lowercase);
        }
        let mut moves: Vec<_> = moves.iter().map(|(key, origin)| (key.clone(), origin.clone())).collect();
        moves.sort();
        moves
    }

    #[test]
    fn a_row_is_followed_through_all_of_its_keys() {
        let pair = |key: &str, origin: &str| (key.to_owned(), origin.to_owned());
        assert_eq!(followed(&[("a", Some("b")), ("b", Some("c"))]), [pair("c", "a")]);
        assert_eq!(followed(&[("a", Some("b")), ("b", Some("a"))]), []);
        // Two rows change places.
        let swapped = [("a", Some("x")), ("b", Some("a")), ("x", Some("b"))];
        assert_eq!(followed(&swapped), [pair("a", "b"), pair("b", "a")]);
        assert_eq!(followed(&[("a", Some("b")), ("b", None)]), []);
        // The same key, spelt otherwise.
        assert_eq!(followed(&[("a", Some("A"))]), []);
    }
}
