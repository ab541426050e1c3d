//! Gives every message of a group its fate, by the position alone. Nothing is written here.

use crate::decoder::{Decoded, Readable};
use crate::inbox::Stored;
use crate::position::{TargetPosition, Verdict, from_ordinal, judge};
use anyhow::Result;
use shared::wire::Batch;
use std::collections::HashSet;
use std::sync::Arc;

/// What becomes of a group of messages.
pub(crate) struct Receipt<'a> {
    /// The position once this is stored.
    pub(crate) position: Option<TargetPosition>,
    /// Batches that follow, in order.
    pub(crate) stored: Vec<Stored<'a>>,
    /// Batches that were stored before.
    pub(crate) known: Vec<Arc<Batch>>,
    /// Messages that cannot be ours, with the reason.
    pub(crate) unreadable: Vec<(String, &'a [u8])>,
    /// Something before the last batch is missing.
    pub(crate) gap: bool,
}

/// Judges each message by the position, which moves with what is to be stored. What comes from an
/// `abandoned` source is dropped.
pub(crate) fn receive<'a>(
    position: Option<&TargetPosition>,
    group: &'a [Decoded],
    gap: bool,
    abandoned: &HashSet<String>,
) -> Result<Receipt<'a>> {
    let mut receipt = Receipt {
        position: position.cloned(),
        stored: Vec::with_capacity(group.len()),
        known: Vec::new(),
        unreadable: Vec::new(),
        gap,
    };
    for decoded in group {
        let Readable { json, batch } = match &decoded.batch {
            Ok(readable) => readable,
            Err(reason) => {
                // It may quote what PostgreSQL has no text for.
                let reason = format!("{reason:#}").replace('\0', "\\0");
                receipt.unreadable.push((reason, &decoded.pulled.message.data));
                continue;
            }
        };
        if abandoned.contains(&batch.source.id) {
            log::error!(
                "batch {} of tick {} is dropped: it comes from the source {}, which this target follows no more",
                batch.first,
                batch.tick,
                batch.source.id
            );
            continue;
        }
        match judge(receipt.position.as_ref(), batch)? {
            Verdict::Known => receipt.known.push(batch.clone()),
            Verdict::Gap => {
                log::debug!("batch {} of tick {} does not follow; dropped", batch.first, batch.tick);
                receipt.gap = true;
            }
            Verdict::Next { from } => {
                receipt.stored.push(Stored { batch: from_ordinal(batch.clone(), from), payload: json });
                receipt.position = Some(TargetPosition {
                    source: batch.source.id.clone(),
                    timeline: batch.source.timeline,
                    received: batch.end(),
                    applied: receipt.position.as_ref().and_then(|position| position.applied),
                });
                receipt.gap = false;
            }
        }
    }
    Ok(receipt)
}
