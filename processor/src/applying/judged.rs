//! Judges a group of messages by the position. Nothing is written here.

use super::set_aside::SetAside;
use crate::inbox::{self, Stored};
use crate::metrics::Outcome;
use crate::receiving::{Decoded, Readable};
use anyhow::Result;
use inbox_processor::rules::position::{Reception, TargetPosition, Verdict, from_ordinal};
use postgres::Client;
use shared::broker::Unsigned;
use shared::wire::{Batch, OtherFormat, TickRef};
use std::collections::HashSet;
use std::sync::Arc;

/// What becomes of a group of messages.
pub(super) struct Judged<'a> {
    /// Once the group is stored.
    pub(super) reception: Reception,
    /// Batches that follow, in order.
    pub(super) stored: Vec<Stored<'a>>,
    /// Batches that were stored before, with their messages.
    known: Vec<(Arc<Batch>, &'a [u8])>,
    /// Messages that are of no use here.
    pub(super) set_aside: SetAside<'a>,
    /// Of each message.
    pub(super) outcomes: Vec<Outcome>,
}

/// Judges each message by the position, which moves with what is to be stored. Batches of an `abandoned`
/// source are dropped.
pub(super) fn judge_group<'a>(
    client: &mut Client,
    position: Option<&TargetPosition>,
    group: &'a [Decoded],
    gap: bool,
    abandoned: &HashSet<String>,
) -> Result<Judged<'a>> {
    let mut judged = Judged {
        reception: Reception { position: position.cloned(), gap },
        stored: Vec::with_capacity(group.len()),
        known: Vec::new(),
        set_aside: SetAside::default(),
        outcomes: Vec::with_capacity(group.len()),
    };
    for decoded in group {
        let message = &*decoded.pulled.message.data;
        match &decoded.batch {
            Ok(Readable { batch, .. }) if abandoned.contains(&batch.source.id) => {
                judged.set_aside.dropped(batch);
                judged.outcomes.push(Outcome::Foreign);
            }
            Ok(readable) => judged.take(readable, message),
            Err(error) if error.is::<OtherFormat>() => {
                judged.set_aside.other_format(error);
                judged.outcomes.push(Outcome::Undecodable);
            }
            Err(error) => {
                judged.set_aside.unreadable(error, message);
                judged.outcomes.push(if error.is::<Unsigned>() {
                    Outcome::Unsigned
                } else {
                    Outcome::Undecodable
                });
            }
        }
    }
    judged.set_aside_forks(client)?;
    Ok(judged)
}

impl<'a> Judged<'a> {
    fn take(&mut self, Readable { json, batch }: &'a Readable, message: &'a [u8]) {
        let verdict = self.reception.take(batch);
        self.outcomes.push(outcome(verdict));
        match verdict {
            Verdict::Known => self.known.push((batch.clone(), message)),
            Verdict::Gap => {
                log::debug!("batch {} of tick {} does not follow; dropped", batch.first, batch.tick);
            }
            Verdict::OtherSource => {
                if let Some(position) = &self.reception.position {
                    self.set_aside.unexpected(batch, inbox::other_source(batch, position), message);
                }
            }
            Verdict::OtherHistory => self.set_aside.unexpected(batch, inbox::other_history(batch), message),
            Verdict::Next { from } => {
                if let Some(skipped) = &batch.skipped {
                    log::error!(
                        tick = batch.tick.number, table = skipped.table.as_str();
                        "the source left out event {} of {} in tick {}, as ordered there (replication.skipped_event): this row \
                         is not the source's here until it changes again, or {} is sent again",
                        skipped.event_id,
                        skipped.table,
                        batch.tick.number,
                        skipped.table
                    );
                }
                self.stored.push(Stored { batch: from_ordinal(batch.clone(), from), payload: json });
            }
        }
    }

    /// What seems to be known is not, where its tick was applied here under another id.
    fn set_aside_forks(&mut self, client: &mut Client) -> Result<()> {
        let ticks: Vec<TickRef> = self.known.iter().map(|(batch, _)| batch.tick).collect();
        let forked = inbox::forked_ticks(client, &ticks)?;
        for (batch, message) in self.known.iter().filter(|(batch, _)| forked.contains(&batch.tick)) {
            self.set_aside.unexpected(batch, inbox::other_history(batch), message);
        }
        Ok(())
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Next { .. } => Outcome::Stored,
        Verdict::Known => Outcome::Known,
        Verdict::Gap => Outcome::Gap,
        Verdict::OtherSource | Verdict::OtherHistory => Outcome::Foreign,
    }
}
