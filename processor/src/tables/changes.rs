//! What is to be written: the last state of each key, table by table. Nothing is copied: all text stays where
//! it was read.

use shared::wire::Shape;
use std::collections::HashMap;

/// The changes of one table, for rows of one shape.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TableChanges<'a> {
    pub(crate) shape: &'a Shape,
    /// Every row is deleted before the other changes are written: a TRUNCATE.
    pub(crate) emptied: bool,
    /// Deleted keys that existed before.
    pub(crate) deleted: Vec<&'a str>,
    /// Deleted keys that may have been inserted only now.
    pub(crate) passing: Vec<&'a str>,
    /// Keys that did not exist before, each with its row.
    pub(crate) born: Vec<(&'a str, &'a str)>,
    /// Other keys that exist, each with its row.
    pub(crate) changed: Vec<(&'a str, &'a str)>,
    /// For keys of `changed` that rows got which existed before under another key: that one.
    pub(crate) moved: Vec<(&'a str, &'a str)>,
}

impl<'a> TableChanges<'a> {
    /// No change of a table.
    pub(crate) fn none(shape: &'a Shape) -> TableChanges<'a> {
        TableChanges {
            shape,
            emptied: false,
            deleted: Vec::new(),
            passing: Vec::new(),
            born: Vec::new(),
            changed: Vec::new(),
            moved: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.emptied && self.deleted.is_empty() && self.passing.is_empty() && self.present().next().is_none()
    }

    /// All keys that exist at the end, each with its row.
    pub(crate) fn present(&self) -> impl Iterator<Item = &(&'a str, &'a str)> {
        self.born.iter().chain(&self.changed)
    }
}

/// The changes of a run of events within which the keys of each table can be compared, by the shape of each
/// key's last state. A segment is written before the next begins.
pub(crate) type SchemaSegment<'a> = Vec<TableChanges<'a>>;

/// Whether a segment in which a table has rows of the shape `known` ends before the first one of `next`: the
/// keys of the two cannot be compared, or the table was emptied under `known` and has rows of no other shape.
pub(crate) fn ends_before(known: &Shape, is_emptied: bool, next: &Shape) -> bool {
    known.is_another_form_of(next) && (is_emptied || !known.has_keys_of(next))
}

/// Keys of some tables that are equal although their text differs.
#[derive(Default)]
pub(crate) struct EqualKeys<'a>(Vec<(&'a Shape, HashMap<&'a str, &'a str>)>);

impl<'a> EqualKeys<'a> {
    /// For the table of `shape`: for each key, the one among its equals that represents all of them.
    pub(crate) fn insert(&mut self, shape: &'a Shape, representatives: HashMap<&'a str, &'a str>) {
        self.0.push((shape, representatives));
    }

    /// The representatives of a table's keys; none where equal keys have equal text.
    pub(crate) fn of(&self, shape: &Shape) -> Option<&HashMap<&'a str, &'a str>> {
        self.0.iter().find(|(known, _)| known.has_keys_of(shape)).map(|(_, representatives)| representatives)
    }
}
