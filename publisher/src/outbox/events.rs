//! Events as the outbox has them, and the shapes of their tables.

use anyhow::{Context, Result, bail};
use postgres::types::{FromSql, Type};
use postgres::{Client, Row};
use shared::wire::{Event, Operation, Shape};
use std::error::Error;
use uuid::Uuid;

/// One event and its place in the tick.
pub(crate) struct OutboxEvent {
    pub(crate) ordinal: i64,
    pub(crate) total: i64,
    /// Without key and row where it is skipped, and without a row that no message can have.
    pub(crate) event: Event,
    /// Of the row, as the source stores it.
    pub(crate) row_bytes: usize,
    /// Somebody decided that it is not sent.
    pub(crate) is_skipped: bool,
}

/// Whether a reader of events wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

/// An event from a row of the query that reads a tick; `source_bits` are the source's part of its id.
pub(super) fn outbox_event(row: &Row, source_bits: u64) -> Result<OutboxEvent> {
    let operation: i8 = row.get(5);
    let event = Event {
        event_id: event_id(row.get(2), source_bits),
        txid: row.get::<_, Xid8>(3).0,
        shape: row.get(4),
        operation: match u8::try_from(operation) {
            Ok(b'I') => Operation::Insert,
            Ok(b'U') => Operation::Update,
            Ok(b'D') => Operation::Delete,
            Ok(b'T') => Operation::Truncate,
            _ => bail!("the outbox holds the unknown operation {operation}"),
        },
        key: row.get(6),
        row: row.get(7),
        moved_to: row.get(10),
    };
    Ok(OutboxEvent {
        ordinal: row.get(0),
        total: row.get(1),
        event,
        row_bytes: row.get::<_, Option<i32>>(8).map_or(Ok(0), usize::try_from)?,
        is_skipped: row.get(9),
    })
}

/// An xid8: PostgreSQL's 64 bits of a transaction id.
pub(super) struct Xid8(pub(super) i64);

impl<'a> FromSql<'a> for Xid8 {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Xid8, Box<dyn Error + Sync + Send>> {
        i64::from_sql(ty, raw).map(Xid8)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::XID8
    }
}

/// The uuid (version 8) of an event, the same as `replication.event_id` makes: the outbox id, which keeps its
/// order, then the source's 56 bits.
pub(super) fn event_id(id: i64, source: u64) -> Uuid {
    let id = id.unsigned_abs();
    // 48, 12 and 4 bits of the id; version and variant are set between them.
    let high = (id >> 16) << 16 | (id >> 4 & 0xfff);
    let low = (id & 0xf) << 56 | source;
    Uuid::new_v8((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

/// All shapes that were ever captured.
pub(crate) fn shapes(client: &mut Client) -> Result<Vec<Shape>> {
    let rows = client
        .query("select id, schema_name, table_name, columns, key_columns, types, generated, key_collations from replication.shape", &[])
        .context("read the shapes of tables")?;
    Ok(rows
        .iter()
        .map(|row| Shape {
            id: row.get(0),
            schema: row.get(1),
            table: row.get(2),
            columns: row.get(3),
            key: row.get(4),
            types: row.get(5),
            generated: row.get(6),
            key_collations: row.get(7),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_grow_with_the_outbox_id_and_carry_the_source() {
        // As select replication.event_id(…, '0123456789abcd') gives them.
        let source = 0x01_2345_6789_abcd;
        for (id, expected) in [
            (1, "00000000-0000-8000-8101-23456789abcd"),
            (15, "00000000-0000-8000-8f01-23456789abcd"),
            (16, "00000000-0000-8001-8001-23456789abcd"),
            (4095, "00000000-0000-80ff-8f01-23456789abcd"),
            (65_535, "00000000-0000-8fff-8f01-23456789abcd"),
            (65_536, "00000000-0001-8000-8001-23456789abcd"),
            (0x12_3456_789a, "00000012-3456-8789-8a01-23456789abcd"),
            (i64::MAX, "7fffffff-ffff-8fff-8f01-23456789abcd"),
        ] {
            assert_eq!(event_id(id, source).to_string(), expected);
        }
        let all_bits = 0xff_ffff_ffff_ffff;
        assert_eq!(event_id(i64::MAX, all_bits).to_string(), "7fffffff-ffff-8fff-8fff-ffffffffffff");
        assert!(
            event_id(15, source) < event_id(16, source) && event_id(4095, source) < event_id(4096, source)
        );
    }
}
