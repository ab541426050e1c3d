//! The events of ticks in a temporary table, from which PostgreSQL finds [the last state of each
//! key](super::staged_states).

use super::moves::Moves;
use super::row_key::key_of_row;
use crate::tables::{Tables, encoding, ends_before, hold, row_for_people};
use anyhow::{Context, Result};
use postgres::Transaction;
use shared::wire::{Batch, Event, Operation, Shape};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// The events in the temporary table, which has a number for each shape and schema segment.
#[derive(Default)]
pub(super) struct Staged {
    /// By number.
    pub(super) shapes: Vec<StagedShape>,
    /// The numbers with which schema segments begin.
    segments: Vec<usize>,
    events: i64,
    /// Of the database, where it may lack characters of the source.
    encoding: Option<String>,
}

pub(super) struct StagedShape {
    pub(super) shape: Shape,
    /// The first one in its segment that has the same keys: the number by which PostgreSQL compares them.
    pub(super) keyed_like: i32,
    /// It was truncated.
    pub(super) is_emptied: bool,
    /// Its keys can be equal though their text differs, as far as is known.
    may_have_key_variants: bool,
    /// Something of it is written; known once the last states are.
    pub(super) is_written: bool,
    /// Of rows of which the target has values of its own: with the first of the shapes that have the same keys.
    /// None where rows are not followed: where keys can be equal though their text differs, they are compared only
    /// later.
    moves: Option<Moves<String>>,
    /// The keys that rows have got, each with the one that the row had at first; known once the last states are.
    pub(super) moved: Vec<(String, String)>,
}

/// So many moved rows of a table are followed at most.
const MOVES_MAX: usize = 10_000;

impl Staged {
    pub(super) fn create(transaction: &mut Transaction<'_>) -> Result<Staged> {
        transaction
            .batch_execute(
                "create temporary table staged
                     (shape int, keyed_like int, n bigint, operation \"char\", key_text text, row_text text, row_key text) on commit drop",
            )
            .context("create the table for staged events")?;
        let encoding = Some(encoding(transaction)?).filter(|encoding| encoding != "UTF8");
        Ok(Staged { segments: vec![0], encoding, ..Staged::default() })
    }

    /// Drops the table at the end of an attempt; the next one creates it again.
    pub(super) fn drop(transaction: &mut Transaction<'_>) -> Result<()> {
        transaction
            .batch_execute("drop table pg_temp.staged, pg_temp.last_state")
            .context("drop the table for staged events")
    }

    /// The numbers of the shapes, schema segment by schema segment.
    pub(super) fn segments(&self) -> impl Iterator<Item = Range<usize>> {
        let ends = self.segments.iter().skip(1).copied().chain([self.shapes.len()]);
        self.segments.iter().copied().zip(ends).map(|(begin, end)| begin..end)
    }

    /// Adds the events that follow, but for those in `done`.
    pub(super) fn add(
        &mut self,
        transaction: &mut Transaction<'_>,
        tables: &Tables,
        batches: &[Arc<Batch>],
        done: &HashSet<Uuid>,
    ) -> Result<()> {
        let mut columns = Columns::default();
        for batch in batches {
            // Within the segment.
            let mut numbers: HashMap<i32, i32> = HashMap::new();
            for event in batch.events.iter().filter(|event| !done.contains(&event.event_id)) {
                let number = match numbers.get(&event.shape) {
                    Some(number) => *number,
                    None => self.number_of(tables, batch.shape_of(event)?, event.shape, &mut numbers)?,
                };
                self.events += 1;
                if event.operation == Operation::Truncate {
                    self.insert(transaction, &std::mem::take(&mut columns))?;
                    self.empty(transaction, number)?;
                    // Another shape begins a segment from now on.
                    numbers.clear();
                } else {
                    let keyed_like = self.shapes[usize::try_from(number)?].keyed_like;
                    columns.add(number, keyed_like, self.events, event, self.row_key(number, event));
                    self.follow(usize::try_from(keyed_like)?, event);
                }
            }
        }
        self.insert(transaction, &columns)
    }

    fn insert(&self, transaction: &mut Transaction<'_>, columns: &Columns<'_>) -> Result<()> {
        if let Some(encoding) = &self.encoding {
            self.require_convertible(transaction, columns, encoding)?;
        }
        columns.insert(transaction)
    }

    /// Fails with the first event of which the database lacks a character.
    fn require_convertible(
        &self,
        transaction: &mut Transaction<'_>,
        columns: &Columns<'_>,
        encoding: &str,
    ) -> Result<()> {
        let texts: Vec<Vec<u8>> = columns
            .keys
            .iter()
            .zip(&columns.rows)
            .map(|(key, row)| [key.unwrap_or_default(), row.unwrap_or_default()].concat().into_bytes())
            .collect();
        let row = transaction
            .query_one(
                "select pg_catalog.min(text.number) from pg_catalog.unnest($1::bytea[]) with ordinality as text (utf8, number)
                 where not replication.is_convertible(text.utf8)",
                &[&texts],
            )
            .context("look for characters that the database lacks")?;
        let Some(number) = row.get::<_, Option<i64>>(0) else { return Ok(()) };
        let event = usize::try_from(number - 1)?;
        let shape = &self.shapes[usize::try_from(columns.shapes[event])?].shape;
        let lacking = format!(
            "the encoding {encoding} of the target's database lacks a character of it; create that database with ENCODING \
             'UTF8' and start over, or skip the transaction (docs/operations.md, Apply is blocked)"
        );
        Err(hold(lacking).context(row_for_people(columns.keys[event].unwrap_or_default(), shape)))
    }

    /// The number of a shape that the batch has under `id`. Begins a segment where one must.
    fn number_of(
        &mut self,
        tables: &Tables,
        shape: &Shape,
        id: i32,
        numbers: &mut HashMap<i32, i32>,
    ) -> Result<i32> {
        if self.must_begin_segment(shape) {
            self.segments.push(self.shapes.len());
            numbers.clear();
        }
        let number = self.number(tables, shape)?;
        numbers.insert(id, number);
        Ok(number)
    }

    fn must_begin_segment(&self, shape: &Shape) -> bool {
        let mut known = self.shapes[self.segment()..].iter();
        known.any(|known| ends_before(&known.shape, known.is_emptied, shape))
    }

    /// Where the last segment begins.
    fn segment(&self) -> usize {
        self.segments.last().copied().unwrap_or(0)
    }

    fn number(&mut self, tables: &Tables, shape: &Shape) -> Result<i32> {
        let begin = self.segment();
        let known = self.shapes[begin..].iter().position(|known| known.shape == *shape);
        let number = known.map_or(self.shapes.len(), |known| begin + known);
        if known.is_none() {
            let like = self.shapes[begin..].iter().position(|known| known.shape.has_keys_of(shape));
            let may_have_key_variants = !tables.has_textual_keys(shape);
            let is_followed = like.is_none() && !may_have_key_variants && tables.has_own_columns(shape);
            self.shapes.push(StagedShape {
                shape: shape.clone(),
                keyed_like: i32::try_from(like.map_or(number, |like| begin + like))?,
                is_emptied: false,
                may_have_key_variants,
                is_written: false,
                moves: is_followed.then(Moves::default),
                moved: Vec::new(),
            });
        }
        Ok(i32::try_from(number)?)
    }

    fn row_key(&self, number: i32, event: &Event) -> Option<String> {
        let staged = &self.shapes[usize::try_from(number).ok()?];
        let row = event.row.as_deref().filter(|_| staged.may_have_key_variants)?;
        key_of_row(&staged.shape, row)
    }

    fn follow(&mut self, keyed_like: usize, event: &Event) {
        let StagedShape { shape, moves: Some(moves), .. } = &mut self.shapes[keyed_like] else { return };
        if event.moved_to.is_some() && moves.len() == MOVES_MAX {
            log::warn!(
                table = shape.name().as_str();
                "more than {MOVES_MAX} rows of {} have other keys now: of the others, columns that only the target has get \
                 their defaults",
                shape.name()
            );
        }
        if event.moved_to.is_none() || moves.len() <= MOVES_MAX {
            moves.take(event, str::to_owned);
        }
    }

    /// The moved rows among those that have the keys of shape `number`, if any.
    pub(super) fn moves(&self, number: usize) -> Result<Option<&Moves<String>>> {
        let moves = self.shapes[usize::try_from(self.shapes[number].keyed_like)?].moves.as_ref();
        Ok(moves.filter(|moves| moves.len() > 0))
    }

    fn empty(&mut self, transaction: &mut Transaction<'_>, shape: i32) -> Result<()> {
        let staged = &mut self.shapes[usize::try_from(shape)?];
        staged.is_emptied = true;
        let keyed_like = staged.keyed_like;
        let followed = &mut self.shapes[usize::try_from(keyed_like)?].moves;
        *followed = followed.take().map(|_| Moves::default());
        transaction
            .execute("delete from pg_temp.staged where keyed_like = $1", &[&keyed_like])
            .context("drop the events before a TRUNCATE")?;
        Ok(())
    }
}

#[derive(Default)]
struct Columns<'a> {
    shapes: Vec<i32>,
    keyed_like: Vec<i32>,
    numbers: Vec<i64>,
    operations: Vec<i8>,
    keys: Vec<Option<&'a str>>,
    rows: Vec<Option<&'a str>>,
    /// Where keys can be equal though their text differs: the key that the row has.
    row_keys: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    fn add(&mut self, shape: i32, keyed_like: i32, number: i64, event: &'a Event, row_key: Option<String>) {
        self.shapes.push(shape);
        self.keyed_like.push(keyed_like);
        self.numbers.push(number);
        self.operations.push(if event.operation == Operation::Insert { b'I' } else { b'U' }.cast_signed());
        self.keys.push(event.key.as_deref());
        self.rows.push(event.row.as_deref());
        self.row_keys.push(row_key);
    }

    fn insert(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        transaction
            .execute(
                "insert into pg_temp.staged select * from unnest(
                     $1::int[], $2::int[], $3::bigint[], $4::\"char\"[], $5::text[], $6::text[], $7::text[])",
                &[
                    &self.shapes,
                    &self.keyed_like,
                    &self.numbers,
                    &self.operations,
                    &self.keys,
                    &self.rows,
                    &self.row_keys,
                ],
            )
            .context("stage events")?;
        Ok(())
    }
}
