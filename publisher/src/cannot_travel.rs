//! What cannot be sent, such as a row that is larger than a message may be. Everything behind it waits, until
//! it can be sent or somebody decides to leave it out.

use outbox_publisher::rules::cursor::CursorPosition;
use shared::printable::printable;
use shared::wire::{Event, Held, TickRef};
use std::fmt;
use uuid::Uuid;

/// A key, as far as it fits into a message for people.
const KEY_SHOWN: usize = 200;

/// An event that cannot be sent, and why.
#[derive(Clone, Debug)]
pub(crate) struct CannotTravel {
    pub(crate) event_id: Uuid,
    pub(crate) txid: i64,
    /// Of the event itself.
    pub(crate) position: CursorPosition,
    text: String,
    /// Table and key; none of a TRUNCATE.
    row: Option<(String, String)>,
}

/// Which event it is.
pub(crate) struct Unsendable<'a> {
    pub(crate) event_id: Uuid,
    pub(crate) txid: i64,
    pub(crate) tick: TickRef,
    pub(crate) ordinal: i64,
    /// `schema.table`.
    pub(crate) table: &'a str,
    pub(crate) key: Option<&'a str>,
}

impl<'a> Unsendable<'a> {
    pub(crate) fn of(event: &'a Event, ordinal: i64, tick: TickRef, table: &'a str) -> Unsendable<'a> {
        Unsendable {
            event_id: event.event_id,
            txid: event.txid,
            tick,
            ordinal,
            table,
            key: event.key.as_deref(),
        }
    }

    /// `why` says what is wrong, and what to do about it.
    pub(crate) fn because(self, why: &str) -> CannotTravel {
        let Unsendable { event_id, txid, tick, ordinal, table, key } = self;
        let row =
            key.map_or_else(|| "TRUNCATE".to_owned(), |key| format!("the row {}", printable(key, KEY_SHOWN)));
        CannotTravel {
            event_id,
            txid,
            position: CursorPosition { tick: tick.number, ordinal: ordinal - 1 },
            row: key.map(|key| (table.to_owned(), key.to_owned())),
            text: format!(
                "{row} of {} cannot be sent, and what comes later waits: {why}. Or leave it out, on record, in the source: \
                 select replication.skip_event('{event_id}', 'why') (tick {}; docs/operations.md, A row cannot be sent)",
                printable(table, KEY_SHOWN),
                tick.number
            ),
        }
    }
}

impl CannotTravel {
    /// As the page shows it.
    pub(crate) fn figure(&self) -> Held {
        let row = self.row.as_ref().map(|(table, key)| (table.as_str(), key.as_str()));
        Held::of(None, &self.text, row, None)
    }
}

impl fmt::Display for CannotTravel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for CannotTravel {}
