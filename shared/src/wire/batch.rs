//! A batch: consecutive events of one tick.

use super::bounded::at_most;
use super::encoding::{Formatted, check_identities, pack, read, unpack};
use super::position::{Position, TickRef};
use super::shape::{Shape, shapes};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use uuid::Uuid;

/// Events of a message.
const EVENTS_MAX: usize = 10_000;
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

    /// Every text in it.
    fn texts(&self) -> impl Iterator<Item = &String> {
        let of_events =
            self.events.iter().flat_map(|event| event.key.iter().chain(&event.row).chain(&event.moved_to));
        let of_shapes = self.shapes.iter().flat_map(Shape::texts);
        of_events
            .chain(of_shapes)
            .chain([&self.source.id])
            .chain(self.skipped.iter().map(|skipped| &skipped.table))
    }

    /// The shape that `event` refers to.
    pub fn shape_of(&self, event: &Event) -> Result<&Shape> {
        self.shapes
            .iter()
            .find(|shape| shape.id == event.shape)
            .with_context(|| format!("event {} refers to the unknown shape {}", event.event_id, event.shape))
    }

    /// The message's bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
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
        // Nor is there an ordinal behind the greatest number.
        if batch.events.is_empty() == batch.skipped.is_none()
            || batch.first < 1
            || batch.last() > batch.total
            || batch.last() == i64::MAX
        {
            bail!("a batch cannot have events {} to {} of {}", batch.first, batch.last(), batch.total);
        }
        check_identities([&batch.source.id])?;
        if !TAKEN_AT_US.contains(&batch.taken_at_us) {
            bail!("no tick can be taken {} us after 1970", batch.taken_at_us);
        }
        // PostgreSQL has no text with it. Escaped, it may be a part of another escape sequence.
        if json.contains(r"\u0000") && batch.texts().any(|text| text.contains('\0')) {
            bail!("a text has a NUL");
        }
        batch.shapes.iter().try_for_each(Shape::check)?;
        for event in &batch.events {
            batch.shape_of(event)?;
            if event.key.is_none() != (event.operation == Operation::Truncate) {
                bail!(
                    "event {} ({:?}) must carry a key unless it is a TRUNCATE",
                    event.event_id,
                    event.operation
                );
            }
        }
        Ok(batch)
    }
}

impl Formatted for Batch {
    fn format(&self) -> u32 {
        self.format
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoding::{FORMAT, PACKED};
    use super::super::shape::{COLUMNS_MAX, KEY_MAX};
    use super::*;

    fn batch() -> Batch {
        Batch {
            format: FORMAT,
            source: Source { id: "7/transactions".to_owned(), timeline: 1 },
            tick: TickRef { number: 7, id: Uuid::from_u128(7) },
            previous_id: Uuid::from_u128(6),
            first: 1,
            total: 2,
            taken_at_us: 1_500_000,
            shapes: vec![Shape {
                id: 3,
                schema: "public".to_owned(),
                table: "users".to_owned(),
                columns: vec!["id".to_owned(), "name".to_owned()],
                key: vec!["id".to_owned()],
                types: vec!["bigint".to_owned(), "text".to_owned()],
                generated: vec![],
                key_collations: None,
            }],
            events: vec![Event {
                event_id: Uuid::from_u128(9),
                txid: 11,
                shape: 3,
                operation: Operation::Insert,
                key: Some("(1)".to_owned()),
                row: Some("(1,\"O'Neil, \"\"Pat\"\"\")".to_owned()),
                moved_to: None,
            }],
            skipped: None,
        }
    }

    #[test]
    fn a_batch_survives_the_wire() {
        let sent = batch();
        assert_eq!(Batch::decode(&sent.encode().unwrap()).unwrap(), sent);
    }

    #[test]
    fn an_event_that_is_skipped_keeps_its_place() {
        let skipped = Some(Skipped { event_id: Uuid::from_u128(9), table: "public.users".to_owned() });
        let sent = Batch { shapes: vec![], events: vec![], first: 2, skipped: skipped.clone(), ..batch() };
        let received = Batch::decode(&sent.encode().unwrap()).unwrap();
        assert_eq!(received, sent);
        assert!(received.last() == 2 && received.end().is_complete());
        // Not beside others, and no batch without any.
        assert!(Batch::decode(&Batch { skipped, ..batch() }.encode().unwrap()).is_err());
        assert!(!String::from_utf8(batch().encode().unwrap()).unwrap().contains("skipped"));
    }

    #[test]
    fn a_large_batch_is_compressed_and_a_broken_one_is_refused() {
        let mut sent = batch();
        sent.total = 100;
        sent.events = vec![sent.events[0].clone(); 100];
        let packed = sent.encode().unwrap();
        assert!(packed.starts_with(PACKED) && packed.len() < 2000, "{}", packed.len());
        assert_eq!(Batch::decode(&packed).unwrap(), sent);
        assert!(Batch::decode(&packed[..packed.len() - 1]).is_err());
        assert!(Batch::decode(&[PACKED, &[0xff; 20]].concat()).is_err());
        assert!(Batch::decode(PACKED).is_err());
    }

    #[test]
    fn another_format_is_refused_before_the_rest_is_read() {
        let error = Batch::decode(br#"{"format": 2, "tick": "who knows"}"#).unwrap_err();
        assert_eq!(error.root_cause().to_string(), "the message has format 2, this program reads format 1");
    }

    #[test]
    fn a_batch_that_cannot_be_is_refused() {
        let mut beyond_total = batch();
        beyond_total.first = 3;
        let mut overflowing = batch();
        (overflowing.first, overflowing.total) = (i64::MAX, i64::MAX);
        overflowing.events = vec![overflowing.events[0].clone(); 2];
        let (mut before_the_first, mut behind_the_last) = (batch(), batch());
        before_the_first.first = i64::MIN;
        (behind_the_last.first, behind_the_last.total) = (i64::MAX, i64::MAX);
        let mut unknown_shape = batch();
        unknown_shape.events[0].shape = 4;
        let mut no_key = batch();
        no_key.events[0].key = None;
        let mut empty = batch();
        empty.events.clear();
        let (mut too_old, mut with_nul, mut twice, mut no_such_column) = (batch(), batch(), batch(), batch());
        too_old.taken_at_us = i64::MIN;
        with_nul.shapes[0].types[1] = "te\0xt".to_owned();
        twice.shapes[0].columns[1] = "id".to_owned();
        no_such_column.shapes[0].key[0] = "number".to_owned();
        for wrong in [
            beyond_total,
            overflowing,
            before_the_first,
            behind_the_last,
            unknown_shape,
            no_key,
            empty,
            too_old,
            with_nul,
            twice,
            no_such_column,
        ] {
            assert!(Batch::decode(&wrong.encode().unwrap()).is_err(), "{wrong:?}");
        }
        let mut about_nul = batch();
        about_nul.events[0].row = Some(r"(1,\u0000)".to_owned());
        assert_eq!(Batch::decode(&about_nul.encode().unwrap()).unwrap(), about_nul);
    }

    #[test]
    fn lists_are_bounded_while_they_are_read() {
        let (mut columns, mut key, mut events, mut names) = (batch(), batch(), batch(), batch());
        columns.shapes[0].columns = (0..=COLUMNS_MAX).map(|number| number.to_string()).collect();
        key.shapes[0].columns = (0..=KEY_MAX).map(|number| number.to_string()).collect();
        key.shapes[0].key = key.shapes[0].columns.clone();
        events.events = vec![events.events[0].clone(); EVENTS_MAX + 1];
        events.total = i64::MAX - 1;
        names.shapes[0].types = vec![String::new(); COLUMNS_MAX];
        names.shapes = vec![names.shapes[0].clone(); 320];
        for wrong in [columns, key, events, names] {
            let error = format!("{:#}", Batch::decode(&wrong.encode().unwrap()).unwrap_err());
            assert!(error.contains("a list has more than"), "{error}");
        }
    }
}
