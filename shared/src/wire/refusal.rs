//! A refusal: why a source cannot serve a target.

use super::encoding::{Formatted, read};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Tells the operators of a target why its source cannot serve it from its position. A request; the target
/// answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// [`FORMAT`](super::FORMAT).
    pub format: u32,
    /// The [`Source::id`](super::Source::id) that refuses.
    pub source: String,
    /// The [`Confirm::target`](super::Confirm::target) that is refused.
    pub target: String,
    /// Why, and what to do.
    pub reason: String,
}

impl Refusal {
    /// The message's bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).context("encode a refusal")
    }

    /// Reads a message's bytes.
    pub fn decode(payload: &[u8]) -> Result<Refusal> {
        read(payload).context("read a refusal")
    }
}

impl Formatted for Refusal {
    fn format(&self) -> u32 {
        self.format
    }
}
