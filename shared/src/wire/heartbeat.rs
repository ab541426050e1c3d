//! A heartbeat: what the source knows while nothing happens, and how its service is.

use super::encoding::{Formatted, check_identities, read};
use super::figures::SourceFigures;
use super::position::TickRef;
use super::snapshot::Snapshot;
use super::status::Status;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A publisher that leads sends a heartbeat this often.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Sent by the source every [`HEARTBEAT_INTERVAL`], and not stored on the way: one that is lost is replaced by the
/// next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// [`FORMAT`](super::FORMAT).
    pub format: u32,
    /// The [`Source::id`](super::Source::id).
    pub source: String,
    /// The last tick that was taken.
    pub tick: TickRef,
    /// Nothing was captured after `tick` that this snapshot sees: a target that has applied `tick` shows the source as
    /// of this snapshot. Absent while something was.
    pub as_of: Option<Snapshot>,
    /// The WAL timeline that the source writes. Sources of older versions do not say it.
    #[serde(default)]
    pub timeline: Option<i64>,
    /// When the source looked, in microseconds since 1970 by its clock.
    pub looked_at_us: i64,
    /// How the publisher is.
    pub status: Status,
    /// What it knows of the source. Sources of older versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<SourceFigures>,
}

impl Heartbeat {
    /// The message's bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).context("encode a heartbeat")
    }

    /// Reads a message's bytes.
    pub fn decode(payload: &[u8]) -> Result<Heartbeat> {
        let heartbeat: Heartbeat = read(payload).context("read a heartbeat")?;
        check_identities([&heartbeat.source])?;
        heartbeat.tick.check()?;
        heartbeat.status.check()?;
        super::batch::check_time(heartbeat.looked_at_us)?;
        Ok(heartbeat)
    }
}

impl Formatted for Heartbeat {
    fn format(&self) -> u32 {
        self.format
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoding::FORMAT;
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_heartbeat_survives_the_wire_and_what_cannot_be_is_refused() {
        let sent = Heartbeat {
            format: FORMAT,
            source: "7/transactions".to_owned(),
            tick: TickRef { number: 4, id: Uuid::from_u128(4) },
            as_of: Some(Snapshot::try_from("10:12:10".to_owned()).unwrap()),
            timeline: Some(2),
            looked_at_us: 1_500_000,
            status: Status::of_this_version(None, 9),
            figures: Some(SourceFigures { taken_tick: Some(4), ..SourceFigures::default() }),
        };
        let decoded = |heartbeat: &Heartbeat| Heartbeat::decode(&heartbeat.encode().unwrap());
        assert_eq!(decoded(&sent).unwrap(), sent);
        assert!(decoded(&Heartbeat { looked_at_us: i64::MAX, ..sent.clone() }).is_err());
        assert!(decoded(&Heartbeat { source: "x".repeat(300), ..sent.clone() }).is_err());
        let json = String::from_utf8(sent.encode().unwrap()).unwrap().replace("10:12:10", "12:10:");
        assert!(Heartbeat::decode(json.as_bytes()).is_err());
    }
}
