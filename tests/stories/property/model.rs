//! What a case is made of: tables that refer to each other, and what some sessions do to them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Sessions whose statements are interleaved.
pub(crate) const SESSIONS: usize = 3;
/// Keys and unique values come from a small range, so that they meet.
const VALUES: u8 = 8;
const TABLES_MAX: usize = 5;

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) tables: Vec<Table>,
    /// The target's tables have their columns in another order, and one of their own.
    pub(crate) target_differs: bool,
    /// What each session does, in this order; one that waits for another is refused.
    pub(crate) actions: Vec<(usize, Action)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) key: Key,
    pub(crate) key_deferrable: bool,
    pub(crate) unique: Unique,
    pub(crate) generated: bool,
    pub(crate) references: Vec<Reference>,
    /// Rows that have arrived before the sessions begin.
    pub(crate) rows: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Int,
    Text,
    Numeric,
    Composite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unique {
    No,
    Column,
    Deferred,
    Pair,
}

/// A foreign key.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// The table, counted round: any number means one.
    pub(crate) to: usize,
    pub(crate) on_delete: &'static str,
    pub(crate) on_update: &'static str,
    pub(crate) deferrable: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Do(usize, Change),
    Savepoint,
    RollbackToSavepoint,
    Commit,
    Rollback,
    /// What is committed arrives before anything else is done: what follows meets it in the target.
    Arrive,
}

/// A statement on one table; keys and values are small numbers.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Insert { key: u8, unique: Option<u8>, up: Option<u8>, conflict: &'static str },
    InsertMany { from: u8, count: u8, up: Option<u8> },
    MoveKey { from: u8, to: u8 },
    ShiftKeys { by: i8 },
    SetUnique { key: u8, unique: Option<u8> },
    SwapUnique { one: u8, other: u8 },
    ReverseUnique,
    SetUp { key: u8, up: Option<u8> },
    Touch { modulo: u8 },
    Delete { from: u8, to: u8 },
    Truncate,
    ParentAndChild { parent: u8, child: u8 },
    DeleteAndInsert { gone: u8, new: u8 },
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    (vec(table(), 1..=TABLES_MAX), any::<bool>(), vec((0..SESSIONS, action()), 1..60))
        .prop_map(|(tables, target_differs, actions)| Case { tables, target_differs, actions })
}

fn table() -> impl Strategy<Value = Table> {
    let key = select(vec![Key::Int, Key::Text, Key::Numeric, Key::Composite]);
    let unique = select(vec![Unique::No, Unique::Column, Unique::Column, Unique::Deferred, Unique::Pair]);
    let references = vec(reference(), 0..=2);
    (key, prop::bool::weighted(0.2), unique, any::<bool>(), references, 0..VALUES).prop_map(
        |(key, key_deferrable, unique, generated, references, rows)| Table {
            key,
            key_deferrable,
            unique,
            generated,
            references,
            rows,
        },
    )
}

fn reference() -> impl Strategy<Value = Reference> {
    let action = || select(vec!["no action", "restrict", "cascade", "set null", "set default"]);
    (0..TABLES_MAX, action(), action(), any::<bool>())
        .prop_map(|(to, on_delete, on_update, deferrable)| Reference { to, on_delete, on_update, deferrable })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (0..TABLES_MAX, change()).prop_map(|(table, change)| Action::Do(table, change)),
        1 => Just(Action::Savepoint),
        1 => Just(Action::RollbackToSavepoint),
        4 => Just(Action::Commit),
        1 => Just(Action::Rollback),
        2 => Just(Action::Arrive),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let value = || 0..VALUES;
    let conflict = select(vec!["", "", "do nothing", "do update"]);
    prop_oneof![
        6 => (value(), option::of(value()), option::of(value()), conflict)
            .prop_map(|(key, unique, up, conflict)| Change::Insert { key, unique, up, conflict }),
        3 => (value(), 1..VALUES, option::of(value())).prop_map(|(from, count, up)| Change::InsertMany { from, count, up }),
        2 => (value(), value()).prop_map(|(from, to)| Change::MoveKey { from, to }),
        1 => (-2..=2_i8).prop_map(|by| Change::ShiftKeys { by }),
        2 => (value(), option::of(value())).prop_map(|(key, unique)| Change::SetUnique { key, unique }),
        2 => (value(), value()).prop_map(|(one, other)| Change::SwapUnique { one, other }),
        2 => Just(Change::ReverseUnique),
        2 => (value(), option::of(value())).prop_map(|(key, up)| Change::SetUp { key, up }),
        1 => (1..4_u8).prop_map(|modulo| Change::Touch { modulo }),
        3 => (value(), value()).prop_map(|(from, to)| Change::Delete { from, to }),
        1 => Just(Change::Truncate),
        2 => (value(), value()).prop_map(|(parent, child)| Change::ParentAndChild { parent, child }),
        1 => (value(), value()).prop_map(|(gone, new)| Change::DeleteAndInsert { gone, new }),
    ]
}
