//! The target's database, as the applying session knows it, and the transaction that only stores.

use super::judged::Judged;
use crate::inbox::{self, Bookkeeping, Entry};
use crate::tables::Tables;
use anyhow::{Context, Result};
use inbox_processor::rules::position::TargetPosition;
use postgres::Client;

pub(super) struct Target {
    pub(super) client: Client,
    pub(super) bookkeeping: Bookkeeping,
    pub(super) tables: Tables,
    /// As committed; none while nothing has ever arrived.
    pub(super) position: Option<TargetPosition>,
}

impl Target {
    pub(super) fn open(mut client: Client) -> Result<Target> {
        Ok(Target {
            bookkeeping: Bookkeeping::prepare(&mut client)?,
            tables: Tables::default(),
            position: inbox::read_position(&mut client)?,
            client,
        })
    }

    /// Stores a group of messages, in the inbox or in quarantine.
    pub(super) fn store(&mut self, judged: &Judged<'_>) -> Result<()> {
        let mut transaction = self.client.transaction().context("begin a transaction")?;
        inbox::quarantine(&mut transaction, &judged.set_aside.messages)?;
        if let Some(after) = &judged.reception.position {
            let entry = Entry { stored: &judged.stored, ..Entry::between(self.position.as_ref(), after) };
            self.bookkeeping.write(&mut transaction, &entry)?;
        }
        transaction.commit().context("commit")?;
        self.position.clone_from(&judged.reception.position);
        shared::kill_point::reached("stored");
        Ok(())
    }
}

/// "tick 7", or "ticks 7 to 9", for people.
pub(super) fn describe_ticks(first: i64, last: i64) -> String {
    if first == last { format!("tick {first}") } else { format!("ticks {first} to {last}") }
}
