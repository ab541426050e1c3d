//! All SQL on the outbox, its ticks and the publisher's progress.

pub(crate) mod events;
pub(crate) mod lookout;
pub(crate) mod progress;
pub(crate) mod reading;
pub(crate) mod sizes;
pub(crate) mod source;
pub(crate) mod ticks;
pub(crate) mod verified;
pub(crate) mod waiting;
pub(crate) mod wake;

use anyhow::{Context, Result};
use postgres::Client;

/// Has statements that are prepared from now on planned once, for any parameters and however small the outbox
/// is at the time: planning costs more than a small tick.
fn plan_once(client: &mut Client) -> Result<()> {
    client
        .batch_execute("set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off")
        .context("pin the plans")
}
