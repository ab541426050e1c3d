//! A refusal: why a source cannot serve a target.

use super::encoding::{Formatted, check_identities, read};
use crate::printable::printable;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Characters of a reason that are sent…
const REASON_SENT: usize = 1000;
/// …which are at most so many bytes, escaped.
const REASON_MAX: usize = 8 * REASON_SENT;

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
    /// The message's bytes. Of a long reason, the beginning.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let reason = printable(&self.reason, REASON_SENT);
        serde_json::to_vec(&Refusal { reason, ..self.clone() }).context("encode a refusal")
    }

    /// Reads a message's bytes.
    pub fn decode(payload: &[u8]) -> Result<Refusal> {
        let refusal: Refusal = read(payload).context("read a refusal")?;
        check_identities([&refusal.source, &refusal.target])?;
        ensure!(refusal.reason.len() <= REASON_MAX, "a reason cannot have {} bytes", refusal.reason.len());
        Ok(refusal)
    }
}

impl Formatted for Refusal {
    fn format(&self) -> u32 {
        self.format
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoding::FORMAT;
    use super::*;

    #[test]
    fn texts_of_a_refusal_are_bounded() {
        let refusal = |target: usize, reason: usize| Refusal {
            format: FORMAT,
            source: "1/a".to_owned(),
            target: "t".repeat(target),
            reason: "r".repeat(reason),
        };
        let decoded = |refusal: Refusal| Refusal::decode(&serde_json::to_vec(&refusal).unwrap());
        assert!(decoded(refusal(100, REASON_MAX)).is_ok());
        assert!(decoded(refusal(1000, 1)).is_err() && decoded(refusal(1, REASON_MAX + 1)).is_err());
        let sent = Refusal { reason: "\u{9b}".repeat(1_000_000), ..refusal(1, 1) };
        assert!(Refusal::decode(&sent.encode().unwrap()).unwrap().reason.starts_with("\\u{9b}"));
    }
}
