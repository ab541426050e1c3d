//! A batch: consecutive events of one tick.

use super::bounded::at_most;
use super::encoding::{Formatted, Unreadable, check_identities, pack, read, unpack};
use super::identifier::hyphenated;
use super::position::{Position, TickRef};
use super::shape::{Shape, check_shapes, shapes};
use super::snapshot::Snapshot;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// Events of a message.
const EVENTS_MAX: usize = 10_000;
/// Bytes of the name of a table, for people.
const TABLE_BYTES_MAX: usize = 600;
/// The years 1 to 9999.
const TAKEN_AT_US: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// Who the source is: the database, and the timeline that it writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// System identifier of the PostgreSQL cluster and name of the database.
    pub id: String,
    /// WAL timeline at the time of sending; it grows with each failover.
    pub timeline: i64,
}

/// The statement that touched a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// A new row.
    Insert,
    /// A changed row; without a row where its key is gone, because the key itself was changed.
    Update,
    /// A deleted row.
    Delete,
    /// The whole table was emptied; carries neither key nor row.
    Truncate,
}

/// One captured change: the state of a row after a statement that touched it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The same on every resend, and increasing with the order of capture.
    #[serde(deserialize_with = "hyphenated")]
    pub event_id: Uuid,
    /// The source transaction.
    pub txid: i64,
    /// The table and its columns: a [`Shape`] of the same batch.
    pub shape: i32,
    /// The statement.
    pub operation: Operation,
    /// The primary key as the text form of a row; absent for TRUNCATE.
    pub key: Option<String>,
    /// The row in its text form as it stood after the statement; absent where it is gone.
    pub row: Option<String>,
    /// The key that the row of this key has got, by a statement that changed this one row. Sources of older
    /// versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<String>,
}

/// An event that is not sent, as somebody decided at the source, and keeps its place in its tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The event.
    #[serde(deserialize_with = "hyphenated")]
    pub event_id: Uuid,
    /// `schema.table`, for people.
    pub table: String,
}

/// Consecutive events of one tick: the content of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// [`FORMAT`](super::FORMAT).
    pub format: u32,
    /// Where it comes from.
    pub source: Source,
    /// The tick that the events belong to.
    pub tick: TickRef,
    /// The id of the tick before: the chain by which a reader recognises its history.
    #[serde(deserialize_with = "hyphenated")]
    pub previous_id: Uuid,
    /// Ordinal of the first event here, counted from 1.
    pub first: i64,
    /// How many events the tick has in all.
    pub total: i64,
    /// When the tick was taken, in microseconds since 1970 by the source's clock; for people only.
    pub taken_at_us: i64,
    /// The tables that the events refer to.
    #[serde(deserialize_with = "shapes")]
    pub shapes: Vec<Shape>,
    /// The events in order.
    #[serde(deserialize_with = "at_most::<_, _, EVENTS_MAX>")]
    pub events: Vec<Event>,
    /// In place of events: one that is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
    /// In the last batch of a tick, its snapshot: what a target that has applied the tick shows. Sources of older
    /// versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

impl Batch {
    /// Ordinal of the last event here.
    pub fn last(&self) -> i64 {
        let events = self.events.len().max(usize::from(self.skipped.is_some()));
        self.first.saturating_sub(1).saturating_add(i64::try_from(events).unwrap_or(i64::MAX))
    }

    /// The position once this batch is included.
    pub fn end(&self) -> Position {
        Position { tick: self.tick, ordinal: self.last(), total: self.total }
    }

    /// The shape that `event` refers to.
    pub fn shape_of(&self, event: &Event) -> Result<&Shape> {
        self.shapes
            .iter()
            .find(|shape| shape.id == event.shape)
            .with_context(|| format!("event {} refers to the unknown shape {}", event.event_id, event.shape))
    }

    /// The message's bytes. Fails with [`TooLarge`](super::TooLarge) or [`Unreadable`] where no reader would take
    /// them.
    pub fn encode(&self) -> Result<Vec<u8>> {
        self.check().map_err(|error| Unreadable(format!("{error:#}")))?;
        let json =
            serde_json::to_vec(self).with_context(|| format!("encode a batch of tick {}", self.tick))?;
        Ok(pack(json)?)
    }

    /// Reads a message's bytes and checks that it is consistent in itself.
    pub fn decode(payload: &[u8]) -> Result<Batch> {
        Batch::from_json(&unpack(payload)?)
    }

    /// Reads a message that is [unpacked](unpack), and checks that it is consistent in itself.
    pub fn from_json(json: &str) -> Result<Batch> {
        let batch: Batch = read(json.as_bytes()).context("read a batch")?;
        batch.check()?;
        Ok(batch)
    }

    /// Fails for what no batch is, whoever made it: it is neither sent nor taken.
    fn check(&self) -> Result<()> {
        self.check_extent()?;
        self.tick.check()?;
        check_identities([&self.source.id])?;
        check_time(self.taken_at_us)?;
        check_shapes(&self.shapes)?;
        let shapes: HashSet<i32> = self.shapes.iter().map(|shape| shape.id).collect();
        ensure!(shapes.len() == self.shapes.len(), "two shapes have one number");
        for event in &self.events {
            ensure!(
                shapes.contains(&event.shape),
                "event {} refers to the unknown shape {}",
                event.event_id,
                event.shape
            );
            event.check()?;
        }
        Ok(())
    }

    fn check_extent(&self) -> Result<()> {
        ensure!(self.events.len() <= EVENTS_MAX, "a batch has at most {EVENTS_MAX} events");
        // Nor is there an ordinal behind the greatest number.
        ensure!(
            self.events.is_empty() != self.skipped.is_none()
                && self.tick.number >= 1
                && self.first >= 1
                && self.last() <= self.total
                && self.total < i64::MAX,
            "a batch cannot have events {} to {} of {} in tick {}",
            self.first,
            self.last(),
            self.total,
            self.tick.number
        );
        let named = self.skipped.as_ref().is_none_or(|skipped| skipped.table.len() <= TABLE_BYTES_MAX);
        ensure!(named, "the name of a table has at most {TABLE_BYTES_MAX} bytes");
        Ok(())
    }
}

impl Event {
    fn check(&self) -> Result<()> {
        ensure!(
            self.key.is_none() == (self.operation == Operation::Truncate),
            "event {} ({:?}) must carry a key unless it is a TRUNCATE",
            self.event_id,
            self.operation
        );
        let mut rows = self.key.iter().chain(&self.row).chain(&self.moved_to);
        ensure!(rows.all(|row| is_row(row)), "event {} has a text that is no row", self.event_id);
        Ok(())
    }
}

/// Whether it may be what PostgreSQL makes of a row: what is between the brackets is for PostgreSQL to read.
fn is_row(text: &str) -> bool {
    text.len() >= 2 && text.starts_with('(') && text.ends_with(')')
}

/// Fails for a time that PostgreSQL does not have.
pub(super) fn check_time(us: i64) -> Result<()> {
    ensure!(TAKEN_AT_US.contains(&us), "nothing can happen {us} us after 1970");
    Ok(())
}

impl Formatted for Batch {
    fn format(&self) -> u32 {
        self.format
    }
}

#[cfg(test)]
mod tests;
