//! How a service is, for the operators of the other side.

use crate::printable::printable;
use anyhow::{Result, ensure};
use serde::{Deserialize, Deserializer, Serialize};

/// Characters of a text.
pub(super) const TEXT_MAX: usize = 1000;

/// How a service is. For people only: nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    #[serde(deserialize_with = "text")]
    pub version: String,
    /// What is wrong with it; absent while it is healthy.
    #[serde(default, deserialize_with = "some_text")]
    pub trouble: Option<String>,
    /// Events that it has carried since it started, those that were sent again included: of two reports, the rate.
    pub events: u64,
}

impl Status {
    /// Fails for what PostgreSQL has no number for.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(i64::try_from(self.events).is_ok(), "nobody has carried {} events", self.events);
        Ok(())
    }

    /// Of a service of this version.
    pub fn of_this_version(trouble: Option<&str>, events: u64) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trouble: trouble.map(|trouble| printable(trouble, TEXT_MAX)),
            events,
        }
    }
}

/// Cut, and with control characters escaped: it is shown to people.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| printable(&text, TEXT_MAX))
}

/// The same, where there may be none.
pub(super) fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| printable(&text, TEXT_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_escaped_wherever_they_come_from() {
        let made = Status::of_this_version(Some(&"\u{1b}[31m".repeat(1000)), 1);
        let trouble = made.trouble.unwrap();
        assert!(trouble.len() < TEXT_MAX * 8 && !trouble.contains('\u{1b}'), "{trouble}");
        let read: Status =
            serde_json::from_str(r#"{"version": "1\u001b[31m", "trouble": "\u0007", "events": 1}"#).unwrap();
        assert!(!read.version.contains('\u{1b}') && !read.trouble.unwrap().contains('\u{7}'));
        assert_eq!(serde_json::from_str::<Status>(r#"{"version": "1", "events": 1}"#).unwrap().trouble, None);
    }
}
