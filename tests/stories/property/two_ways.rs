//! The two ways to apply find the same last state of each key: the quick one in memory, the careful one in
//! SQL.
//!
//! The same generated ticks go to two targets, without a source. One target applies them the quick way. The
//! other has an order to skip a transaction that never comes, so it applies everything the careful way, from
//! the inbox. Both must end with the rows that the ticks describe. Keys are equal in different text: 1.0 and
//! 1.00.

use super::{Outcome, run_cases};
use crate::harness::{Replication, count, have_icu, wait_for};
use proptest::collection::vec;
use proptest::prelude::*;
use shared::broker::Connection;
use shared::wire::{Batch, Event, FORMAT, Operation, Shape, Source, TickRef, events_subject};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// The key type whose equality is a collation's.
const COLLATED: &str = "text collate ignoring_case";
/// Each table's key type, and for each of its keys some texts that are equal, as PostgreSQL prints them.
const TABLES: [(&str, [[&str; 3]; 3]); 4] = [
    ("numeric", [["1", "1.0", "1.00"], ["20", "20.0", "20.00"], ["-4", "-4.0", "-4.000"]]),
    (
        "interval",
        [["1 mon", "30 days", "720:00:00"], ["1 day", "24:00:00", "1 day"], ["2 days", "48:00:00", "2 days"]],
    ),
    (COLLATED, [["a", "A", "a"], ["bb", "bB", "BB"], ["dé", "DÉ", "dÉ"]]),
    ("text", [["a", "a", "a"], ["A", "A", "A"], ["b", "b", "b"]]),
];

/// What happens to one key, or to its table. What does not fit the state that it meets is left out.
#[derive(Clone, Debug)]
enum Change {
    /// Inserts a key that is not there.
    Insert,
    /// Inserts it, and a trigger deletes it before the capture reads the row.
    InsertGone,
    Update,
    /// Gives the row the key `to`, which is not there.
    Move {
        to: usize,
    },
    /// Gives its key another text, in a source that takes both for different keys: one event says that the old
    /// text is gone, and one has the row.
    Respell {
        gone_last: bool,
    },
    Delete,
    Truncate,
    /// ALTER TABLE: from here on rows have a column more, or a column less.
    Alter,
}

#[derive(Clone, Debug)]
struct Step {
    table: usize,
    key: usize,
    text: usize,
    change: Change,
}

/// Some ticks, each cut into batches of so many events.
type Case = Vec<(Vec<Step>, usize)>;

fn step() -> impl Strategy<Value = Step> {
    let change = prop_oneof![
        6 => Just(Change::Insert),
        1 => Just(Change::InsertGone),
        4 => Just(Change::Update),
        2 => (0..3_usize).prop_map(|to| Change::Move { to }),
        3 => any::<bool>().prop_map(|gone_last| Change::Respell { gone_last }),
        4 => Just(Change::Delete),
        1 => Just(Change::Truncate),
        1 => Just(Change::Alter),
    ];
    (0..TABLES.len(), 0..3_usize, 0..3_usize, change).prop_map(|(table, key, text, change)| Step {
        table,
        key,
        text,
        change,
    })
}

fn case() -> impl Strategy<Value = Case> {
    vec((vec(step(), 1..25), 1..9_usize), 1..5)
}

#[test]
fn both_ways_to_apply_find_the_same_last_state_of_each_key() {
    let mut place = None;
    let mut statistics = (0, 0);
    let check = |case: &Case| {
        let pair = place.get_or_insert_with(Pair::start);
        let outcome = pair.check(case);
        statistics = (pair.tick, pair.events);
        if outcome.is_err() {
            // It may be blocked.
            place = None;
        }
        outcome
    };
    run_cases(&case(), check, |_| String::new());
    println!("{} ticks of {} events, in two targets", statistics.0, statistics.1);
}

/// Two targets of the same ticks.
struct Pair {
    quick: Replication,
    careful: Replication,
    nats: Connection,
    tick: i64,
    events: u64,
    tables: [Model; TABLES.len()],
}

/// One table as it must be.
#[derive(Clone, Default)]
struct Model {
    /// For each key that is there, its row.
    rows: BTreeMap<usize, Row>,
    is_altered: bool,
}

/// A row as the source writes it.
#[derive(Clone, Copy, Debug)]
struct Row {
    key: &'static str,
    value: u64,
    /// Whether it was written while the table had the column `x`.
    has_x: bool,
}

impl Row {
    fn key_text(self) -> String {
        format!("(\"{}\")", self.key)
    }

    fn row_text(self) -> String {
        let Row { key, value, has_x } = self;
        if has_x { format!("(\"{key}\",{value},x{value})") } else { format!("(\"{key}\",{value})") }
    }

    /// Whether it is the row that a target has. What `x` holds of a row that was written without it is the
    /// target's.
    fn is(self, (key, value, x): &(String, i64, Option<String>)) -> bool {
        self.key == key
            && i64::try_from(self.value) == Ok(*value)
            && (!self.has_x || *x == Some(format!("x{value}")))
    }
}

impl Pair {
    fn start() -> Pair {
        let mut quick = Replication::prepare("ways_quick", &[]);
        let mut careful = Replication::prepare("ways_careful", &[]);
        quick.processor.set("RUST_LOG", "info,inbox_processor=debug");
        for replication in [&mut quick, &mut careful] {
            create_tables(replication);
            replication.processor.start();
            replication.processor.wait_until_healthy();
        }
        let nats = quick.nats_b();
        let mut pair = Pair {
            quick,
            careful,
            nats,
            tick: 0,
            events: 0,
            tables: std::array::from_fn(|_| Model::default()),
        };
        let first = [Step { table: 0, key: 0, text: 0, change: Change::Insert }];
        pair.send(&first, 1);
        pair.wait_until_applied().unwrap();
        pair.careful.processor.kill();
        pair.careful
            .target()
            .execute(
                "insert into replication.skipped_transaction (txid, source, reason)
                 select 1, source, 'a test' from replication.position",
                &[],
            )
            .unwrap();
        pair.careful.processor.start();
        pair
    }

    fn check(&mut self, case: &Case) -> Outcome {
        for (steps, events_per_batch) in case {
            self.send(steps, *events_per_batch);
        }
        self.wait_until_applied()?;
        for (number, model) in self.tables.iter().enumerate() {
            for (way, replication) in [("quick", &self.quick), ("careful", &self.careful)] {
                let rows = rows(replication, number);
                let mut expected: Vec<Row> = model.rows.values().copied().collect();
                expected.sort_by_key(|row| row.value);
                if rows.len() != expected.len()
                    || !expected.iter().zip(&rows).all(|(row, found)| row.is(found))
                {
                    return Err(format!(
                        "table {number}, the {way} way: expected {expected:?}, found {rows:?}"
                    ));
                }
            }
        }
        for (way, replication) in [("quick", &self.quick), ("careful", &self.careful)] {
            let drift = "select deletes_missing + inserts_overwritten from replication.target_drift";
            if count(&mut replication.target(), drift) != 0 {
                return Err(format!("the {way} way counts drift where there is none"));
            }
        }
        if self.quick.processor.log().contains("the quick apply") {
            return Err("the quick way was refused".to_owned());
        }
        Ok(())
    }

    /// Sends a tick to both targets; none where nothing happens in it.
    fn send(&mut self, steps: &[Step], events_per_batch: usize) {
        let events: Vec<Event> = steps.iter().flat_map(|step| self.events_of(step)).collect();
        if events.is_empty() {
            return;
        }
        self.tick += 1;
        let total = i64::try_from(events.len()).unwrap();
        let mut first = 1;
        for events in events.chunks(events_per_batch) {
            let batch = Batch {
                format: FORMAT,
                source: Source { id: "1/a".to_owned(), timeline: 1 },
                tick: TickRef { number: self.tick, id: tick_id(self.tick) },
                previous_id: tick_id(self.tick - 1),
                first,
                total,
                taken_at_us: 0,
                shapes: (0..TABLES.len())
                    .flat_map(|table| [shape(table, false), shape(table, true)])
                    .collect(),
                events: events.to_vec(),
                skipped: None,
                snapshot: None,
            };
            first = batch.last() + 1;
            let payload = batch.encode().unwrap();
            for replication in [&self.quick, &self.careful] {
                let subject = events_subject(replication.name());
                wait_for("the stream has the batch", || {
                    self.nats.request(&subject, payload.clone(), Duration::from_secs(5)).ok()
                });
            }
        }
    }

    /// The events of a step, as the capture writes them: for each key that was touched, its row.
    fn events_of(&mut self, Step { table, key, text, change }: &Step) -> Vec<Event> {
        let texts = TABLES[*table].1;
        let model = &mut self.tables[*table];
        let before = model.rows.get(key).copied();
        let row =
            |key: usize| Row { key: texts[key][*text], value: self.events + 1, has_x: model.is_altered };
        let changes: Vec<(Operation, Option<String>, Option<String>)> = match (change, before) {
            (Change::Insert, None) => {
                let after = row(*key);
                model.rows.insert(*key, after);
                vec![(Operation::Insert, Some(after.key_text()), Some(after.row_text()))]
            }
            (Change::InsertGone, None) => vec![(Operation::Insert, Some(row(*key).key_text()), None)],
            (Change::Update, Some(_)) => {
                let after = row(*key);
                model.rows.insert(*key, after);
                vec![(Operation::Update, Some(after.key_text()), Some(after.row_text()))]
            }
            (Change::Move { to }, Some(before)) if !model.rows.contains_key(to) => {
                let after = row(*to);
                model.rows.remove(key);
                model.rows.insert(*to, after);
                vec![
                    (Operation::Update, Some(before.key_text()), None),
                    (Operation::Update, Some(after.key_text()), Some(after.row_text())),
                ]
            }
            (Change::Respell { gone_last }, Some(before)) if texts[*key][*text] != before.key => {
                let after = row(*key);
                model.rows.insert(*key, after);
                let mut events = vec![
                    (Operation::Update, Some(before.key_text()), None),
                    (Operation::Update, Some(after.key_text()), Some(after.row_text())),
                ];
                events.rotate_left(usize::from(*gone_last));
                events
            }
            (Change::Delete, Some(before)) => {
                model.rows.remove(key);
                vec![(Operation::Delete, Some(before.key_text()), None)]
            }
            (Change::Truncate, _) => {
                model.rows.clear();
                vec![(Operation::Truncate, None, None)]
            }
            (Change::Alter, _) => {
                model.is_altered = !model.is_altered;
                vec![]
            }
            _ => vec![],
        };
        let shape = shape(*table, model.is_altered).id;
        changes.into_iter().map(|(operation, key, row)| self.event(shape, operation, key, row)).collect()
    }

    fn event(&mut self, shape: i32, operation: Operation, key: Option<String>, row: Option<String>) -> Event {
        self.events += 1;
        Event {
            event_id: Uuid::from_u64_pair(1, self.events),
            txid: 7,
            shape,
            operation,
            key,
            row,
            moved_to: None,
        }
    }

    fn wait_until_applied(&self) -> Outcome {
        for replication in [&self.quick, &self.careful] {
            let mut target = replication.target();
            let state = "select coalesce(max(applied_tick), 0), max(held_error) from replication.position";
            let held = wait_for("the ticks are applied", || {
                let row = target.query_one(state, &[]).ok()?;
                let held: Option<String> = row.get(1);
                (row.get::<_, i64>(0) == self.tick || held.is_some()).then_some(held)
            });
            if let Some(error) = held {
                return Err(format!("apply is blocked: {error}"));
            }
        }
        Ok(())
    }
}

fn create_tables(replication: &Replication) {
    let mut target = replication.target();
    replication.migrate_target();
    let has_collation = have_icu(replication, "keys of a collation; their texts are citext instead");
    let make = if has_collation {
        "create collation ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    } else {
        "create extension citext"
    };
    target.batch_execute(make).unwrap();
    for (number, (key_type, _)) in TABLES.iter().enumerate() {
        let key_type = if *key_type == COLLATED && !has_collation { "citext" } else { key_type };
        target
            .batch_execute(&format!("create table way_{number} (k {key_type} primary key, v bigint, x text)"))
            .unwrap();
    }
}

/// The rows of a table in the order of their values, each with its key, value and `x`.
fn rows(replication: &Replication, table: usize) -> Vec<(String, i64, Option<String>)> {
    let query = format!("select k::text, v, x from way_{table} order by v");
    let rows = replication.target().query(&query, &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn shape(table: usize, is_altered: bool) -> Shape {
    let columns: &[&str] = if is_altered { &["k", "v", "x"] } else { &["k", "v"] };
    Shape {
        id: i32::try_from(table * 2 + usize::from(is_altered)).unwrap(),
        schema: "public".to_owned(),
        table: format!("way_{table}"),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        key: vec!["k".to_owned()],
        types: vec![],
        generated: vec![],
        key_collations: None,
    }
}

fn tick_id(number: i64) -> Uuid {
    Uuid::from_u64_pair(2, number.unsigned_abs())
}
