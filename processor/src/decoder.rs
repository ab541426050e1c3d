//! Workers that read messages and check that they are consistent in themselves.

use crate::puller::Pulled;
use anyhow::Result;
use crossbeam_channel::{Receiver, Sender};
use shared::supervisor::ThreadContext;
use shared::wire::{Batch, unpack};
use std::sync::Arc;

/// A message and what it holds, or why it cannot be read.
pub(crate) struct Decoded {
    pub(crate) pulled: Pulled,
    pub(crate) batch: Result<Readable>,
}

/// A message of ours: its text and what that says.
pub(crate) struct Readable {
    pub(crate) json: String,
    pub(crate) batch: Arc<Batch>,
}

fn read(payload: &[u8]) -> Result<Readable> {
    let json = unpack(payload)?.into_owned();
    let batch = Arc::new(Batch::from_json(&json)?);
    Ok(Readable { json, batch })
}

/// Decodes until a stop is requested.
pub(crate) fn run(context: &ThreadContext, input: &Receiver<Pulled>, output: &Sender<Decoded>) -> Result<()> {
    context.healthy();
    loop {
        let pulled = crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return Ok(()),
            recv(input) -> pulled => match pulled {
                Ok(pulled) => pulled,
                Err(_) => return Ok(()),
            },
        };
        let batch = read(&pulled.message.data);
        crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return Ok(()),
            send(output, Decoded { pulled, batch }) -> sent => if sent.is_err() { return Ok(()) },
        }
    }
}
