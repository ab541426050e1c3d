//! The careful way to apply: from the inbox, any size and any number of ticks, in SQL. Memory stays flat.
//!
//! The events go into a temporary table, PostgreSQL finds the last state of each key, and these are written
//! part by part: by update, and where other rows are in the way, by delete-insert. Events that were processed
//! before have no effect, transactions that are to be skipped are left out. Where PostgreSQL refuses, the
//! ticks before the first one that it refuses are applied, and the refused transaction and row are named.

use super::attempt::{Applied, Attempt, OutOfTime, Refused};
use super::refused::refused_transaction;
use super::target::Target;
use crate::inbox::{Entry, Refusal, lock_position};
use crate::metrics::METRICS;
use anyhow::{Context, Result};
use inbox_processor::rules::applied::position_after;
use inbox_processor::rules::narrowing::Narrowing;
use inbox_processor::rules::position::TargetPosition;
use shared::supervisor::Stop;
use std::time::Instant;

/// How the careful way is to go about it.
#[derive(Clone, Copy)]
pub(super) struct Care<'a> {
    /// Why the first tick that waits was refused before: then it is tried by itself.
    pub(super) blocked: Option<&'a Refusal>,
    pub(super) out_of_time: OutOfTime,
    pub(super) stop: &'a Stop,
}

impl Target {
    /// Applies the complete ticks that are in the inbox, up to the first one that PostgreSQL refuses. Records
    /// why it does, and returns that.
    pub(super) fn apply_from_inbox(&mut self, care: &Care<'_>) -> Result<Option<Refusal>> {
        let mut narrowing = Narrowing::default();
        if let Some(blocked) = care.blocked {
            narrowing.refused(blocked.tick);
        }
        while let Some(before) = self.position.clone().filter(TargetPosition::has_complete_ticks) {
            let first = before.last_applied() + 1;
            let up_to = narrowing.next(first, before.last_complete());
            let attempt = Attempt {
                before: &before,
                up_to,
                only: None,
                out_of_time: care.out_of_time,
                stop: care.stop,
            };
            match self.try_ticks(&attempt, care.blocked)? {
                None => {}
                Some(_) if up_to > first => narrowing.refused(up_to),
                Some(refusal) => return Ok(Some(refusal)),
            }
        }
        Ok(None)
    }

    /// Applies the ticks, or returns why PostgreSQL refuses. Records that where it is a single tick.
    fn try_ticks(&mut self, attempt: &Attempt<'_>, blocked: Option<&Refusal>) -> Result<Option<Refusal>> {
        let before = attempt.before;
        let begun = Instant::now();
        let mut transaction = self.client.transaction().context("begin a transaction")?;
        lock_position(&mut transaction, before)?;
        // Where tables were altered, that may be why the quick way was refused.
        self.tables.forget_altered(&mut transaction)?;
        let (applied, refusal) = match attempt.run(&mut transaction, &mut self.tables)? {
            Ok(applied) => (applied, None),
            Err(Refused { error, row }) if !attempt.is_of_one_tick() => {
                transaction.rollback().context("roll back")?;
                return Ok(Some(Refusal { tick: attempt.up_to, txid: None, error, row }));
            }
            Err(Refused { error, row }) => {
                let known = blocked.filter(|known| known.tick == attempt.up_to && known.error == error);
                let txid = match known {
                    Some(known) => known.txid,
                    None => refused_transaction(&mut transaction, &mut self.tables, attempt, &error)?,
                };
                (Applied::default(), Some(Refusal { tick: attempt.up_to, txid, error, row }))
            }
        };
        let after = position_after(before, &applied.ticks);
        let entry =
            Entry { held: refusal.as_ref(), applied: &applied.ticks, ..Entry::between(Some(before), &after) };
        self.bookkeeping.write(&mut transaction, &entry)?;
        transaction.commit().context("commit")?;
        METRICS.applied(&applied.ticks, applied.transactions, begun.elapsed());
        self.position = Some(after);
        Ok(refusal)
    }
}
