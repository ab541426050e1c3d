//! A confirm: how far the target is.

use super::bounded::at_most;
use super::encoding::{Formatted, check_identities, read};
use super::figures::TargetFigures;
use super::formats::{FORMATS_MAX, formats_of_older_targets};
use super::identifier::hyphenated;
use super::position::{Position, TickRef};
use super::status::Status;
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
    #[serde(deserialize_with = "hyphenated")]
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
    /// The formats of batches that the target reads.
    #[serde(default = "formats_of_older_targets", deserialize_with = "at_most::<_, _, FORMATS_MAX>")]
    pub reads: Vec<u32>,
    /// How the processor is; with the confirms that come every [`CONFIRM_INTERVAL`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What it knows of the target; with those, too. Targets of older versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<TargetFigures>,
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
        confirm.received.iter().try_for_each(Position::check)?;
        confirm.applied.iter().try_for_each(TickRef::check)?;
        confirm.status.iter().try_for_each(Status::check)?;
        Ok(confirm)
    }
}

impl Formatted for Confirm {
    fn format(&self) -> u32 {
        self.format
    }
}
