//! Workers that decode messages and check that each is consistent in itself.

use super::pull::Pulled;
use anyhow::Result;
use crossbeam_channel::{Receiver, Sender};
use shared::broker::{Incoming, Signing};
use shared::supervisor::ThreadContext;
use shared::wire::{Batch, unpack};
use std::sync::Arc;

/// A message and what it contains, or why it cannot be decoded.
pub(crate) struct Decoded {
    pub(crate) pulled: Pulled,
    pub(crate) batch: Result<Readable>,
}

/// A message of the publisher: its text, and the batch in it.
pub(crate) struct Readable {
    pub(crate) json: String,
    pub(crate) batch: Arc<Batch>,
}

impl Decoded {
    /// How many events the message counts for in a group.
    pub(crate) fn events(&self) -> usize {
        self.batch.as_ref().map_or(1, |readable| readable.batch.events.len())
    }
}

fn read(message: &Incoming, signing: &Signing) -> Result<Readable> {
    let json = unpack(signing.payload(message)?)?.into_owned();
    let batch = Arc::new(Batch::from_json(&json)?);
    Ok(Readable { json, batch })
}

/// Decodes until a stop is requested.
pub(crate) fn decode(
    context: &ThreadContext,
    signing: &Signing,
    input: &Receiver<Pulled>,
    output: &Sender<Decoded>,
) -> Result<()> {
    context.healthy();
    loop {
        let pulled = crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return Ok(()),
            recv(input) -> pulled => match pulled {
                Ok(pulled) => pulled,
                Err(_) => return Ok(()),
            },
        };
        let batch = read(&pulled.message, signing);
        crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return Ok(()),
            send(output, Decoded { pulled, batch }) -> sent => if sent.is_err() { return Ok(()) },
        }
    }
}
