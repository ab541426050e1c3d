//! A confirm: how far the target is.

use super::encoding::{Formatted, check_identities, read};
use super::position::{Position, TickRef};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// A processor that leads confirms at least this often.
pub const CONFIRM_INTERVAL: Duration = Duration::from_secs(1);

/// Sent by the target after each commit, and every [`CONFIRM_INTERVAL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// [`FORMAT`](super::FORMAT).
    pub format: u32,
    /// The target database: system identifier and name.
    pub target: String,
    /// The sending process; a new one with each start.
    pub incarnation: Uuid,
    /// Higher with each processor that takes over in one database.
    #[serde(default)]
    pub term: i64,
    /// Grows with each confirm of one incarnation; a lower one is stale.
    pub counter: u64,
    /// The [`Source::id`](super::Source::id) of the positions; absent while the target is still empty.
    pub source: Option<String>,
    /// How far batches are stored in the target; absent while none is.
    pub received: Option<Position>,
    /// The last tick that is committed in the target; absent while none is.
    pub applied: Option<TickRef>,
    /// A batch arrived that does not follow `received`: something before it is missing.
    pub gap: bool,
    /// The stream had nothing more to give for at least a second, and nothing is in work.
    pub idle: bool,
}

impl Confirm {
    /// The message's bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).context("encode a confirm")
    }

    /// Reads a message's bytes.
    pub fn decode(payload: &[u8]) -> Result<Confirm> {
        let confirm: Confirm = read(payload).context("read a confirm")?;
        check_identities([&confirm.target].into_iter().chain(&confirm.source))?;
        Ok(confirm)
    }
}

impl Formatted for Confirm {
    fn format(&self) -> u32 {
        self.format
    }
}
