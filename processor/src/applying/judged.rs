//! Judges a group of messages by the position. Nothing is written here.

use crate::inbox::{Stored, TargetPosition, Verdict, from_ordinal, judge};
use crate::receiving::{Decoded, Readable};
use anyhow::Result;
use shared::wire::Batch;
use std::collections::HashSet;
use std::sync::Arc;

/// What becomes of a group of messages.
pub(super) struct Judged<'a> {
    /// The position once the group is stored; none while nothing has ever arrived.
    pub(super) position: Option<TargetPosition>,
    /// Batches that follow, in order.
    pub(super) stored: Vec<Stored<'a>>,
    /// Batches that were stored before.
    pub(super) known: Vec<Arc<Batch>>,
    /// Messages that cannot be decoded, with the reason.
    pub(super) unreadable: Vec<(String, &'a [u8])>,
    /// Something before the last batch is missing.
    pub(super) gap: bool,
}

/// Judges each message by the position, which moves with what is to be stored. Batches of an `abandoned`
/// source are dropped.
pub(super) fn judge_group<'a>(
    position: Option<&TargetPosition>,
    group: &'a [Decoded],
    gap: bool,
    abandoned: &HashSet<String>,
) -> Result<Judged<'a>> {
    let mut judged = Judged {
        position: position.cloned(),
        stored: Vec::with_capacity(group.len()),
        known: Vec::new(),
        unreadable: Vec::new(),
        gap,
    };
    for decoded in group {
        match &decoded.batch {
            Ok(Readable { batch, .. }) if abandoned.contains(&batch.source.id) => log::error!(
                "dropped batch {} of tick {}: it comes from the source {}, which this target no longer follows",
                batch.first,
                batch.tick,
                batch.source.id
            ),
            Ok(readable) => judged.take(readable)?,
            Err(reason) => {
                // It may quote a NUL, which PostgreSQL's text cannot hold.
                let reason = format!("{reason:#}").replace('\0', "\\0");
                judged.unreadable.push((reason, &decoded.pulled.message.data));
            }
        }
    }
    Ok(judged)
}

impl<'a> Judged<'a> {
    fn take(&mut self, Readable { json, batch }: &'a Readable) -> Result<()> {
        match judge(self.position.as_ref(), batch)? {
            Verdict::Known => self.known.push(batch.clone()),
            Verdict::Gap => {
                log::debug!("batch {} of tick {} does not follow; dropped", batch.first, batch.tick);
                self.gap = true;
            }
            Verdict::Next { from } => {
                self.stored.push(Stored { batch: from_ordinal(batch.clone(), from), payload: json });
                self.position = Some(TargetPosition {
                    source: batch.source.id.clone(),
                    timeline: batch.source.timeline,
                    received: batch.end(),
                    applied: self.position.as_ref().and_then(|position| position.applied),
                });
                self.gap = false;
            }
        }
        Ok(())
    }
}
