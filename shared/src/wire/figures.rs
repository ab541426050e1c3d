//! What a service knows of its side, for the page of the other one. For people only: nothing is decided by it.

use super::status::{TEXT_MAX, some_text, text};
use crate::printable::printable;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A figure as these have them: a whole number, not below 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and for people")]
pub fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

/// Of the source. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceFigures {
    /// The last tick that was taken.
    pub taken_tick: Option<i64>,
    /// The last tick of which the stream has all.
    pub published_tick: Option<i64>,
    /// The last tick that the target has committed, as it has said.
    pub confirmed_tick: Option<i64>,
    /// Grows with each captured event, and by no less: of two reports, the rate.
    pub captured_events: Option<u64>,
    /// Events that the stream does not have yet.
    pub unpublished_events: Option<u64>,
    /// Events that the target has not confirmed.
    pub unconfirmed_events: Option<u64>,
    /// The age of the oldest tick that the stream does not have; 0 where it has all. The others likewise.
    pub capture_to_publish_ms: Option<u64>,
    /// …that the stream has, and the target has not received.
    pub publish_to_receive_ms: Option<u64>,
    /// …that the target has not confirmed.
    pub total_ms: Option<u64>,
    /// The size of the outbox on disk.
    pub outbox_bytes: Option<u64>,
    /// How fast it grows while nothing is confirmed.
    pub outbox_growth_bytes_per_second: Option<u64>,
    /// Until it fills the disk that it was given, if nothing were confirmed.
    pub disk_free_seconds: Option<u64>,
    /// When the last tick with events was taken.
    pub last_change_at: Option<Timestamp>,
    /// What cannot be sent, and holds up what comes later.
    pub held: Option<Held>,
    /// An operator has paused publishing.
    pub paused: Option<Paused>,
    /// Why some of this is not known.
    #[serde(deserialize_with = "some_text")]
    pub unknown_because: Option<String>,
}

/// Of the target. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetFigures {
    /// The last tick of which something is stored.
    pub received_tick: Option<i64>,
    /// The last tick that is committed.
    pub applied_tick: Option<i64>,
    /// As of when the target shows its source, by the clock of the source.
    pub as_of: Option<Timestamp>,
    /// How long ago that was when this was written.
    pub behind_ms: Option<u64>,
    /// Events that were received and are not applied.
    pub waiting_events: Option<u64>,
    /// The age of the oldest of them; 0 where there is none.
    pub receive_to_apply_ms: Option<u64>,
    /// Messages that were set aside since somebody looked.
    pub quarantine_unseen: Option<u64>,
    /// Nodes that keep the stream, and how many of them are there.
    pub stream_nodes: Option<u32>,
    /// …of which these are there and current.
    pub stream_nodes_current: Option<u32>,
    /// What the target refuses, and holds up what comes later.
    pub held: Option<Held>,
    /// An operator has paused applying.
    pub paused: Option<Paused>,
    /// Why some of this is not known.
    #[serde(deserialize_with = "some_text")]
    pub unknown_because: Option<String>,
}

/// Why nothing moves on before somebody acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Since when.
    pub since: Option<Timestamp>,
    /// What was refused, and why.
    #[serde(deserialize_with = "text")]
    pub error: String,
    /// The table, where one can be named.
    #[serde(deserialize_with = "some_text")]
    pub table: Option<String>,
    /// The key of the row, where one can be named.
    #[serde(deserialize_with = "some_text")]
    pub key: Option<String>,
    /// What to run, where that is known.
    #[serde(deserialize_with = "some_text")]
    pub statement: Option<String>,
}

/// What an operator has stopped on record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Paused {
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why, as the operator has said it.
    #[serde(deserialize_with = "some_text")]
    pub why: Option<String>,
}

impl Held {
    /// Its texts are cut, and their control characters are escaped.
    pub fn of(
        since: Option<Timestamp>,
        error: &str,
        row: Option<(&str, &str)>,
        statement: Option<&str>,
    ) -> Held {
        let (table, key) = row.unzip();
        let shown = |text: &str| printable(text, TEXT_MAX);
        Held {
            since,
            error: shown(error),
            table: table.map(shown),
            key: key.map(shown),
            statement: statement.map(shown),
        }
    }
}

impl Paused {
    /// Its text is cut, and its control characters are escaped.
    pub fn of(since: Option<Timestamp>, why: &str) -> Paused {
        Paused { since, why: Some(printable(why, TEXT_MAX)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_escaped_wherever_they_come_from() {
        let long = "\u{1b}[31m".repeat(1000);
        let made = Held::of(None, &long, Some((&long, &long)), Some(&long));
        let read: Held =
            serde_json::from_value(serde_json::json!({"error": long, "table": long, "key": long})).unwrap();
        for text in [&made.error, &read.error] {
            assert!(text.len() < TEXT_MAX * 8 && !text.contains('\u{1b}'), "{text}");
        }
        for text in [made.table, made.key, read.table, read.key] {
            let text = text.unwrap();
            assert!(text.len() < TEXT_MAX * 8 && !text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn what_an_older_or_a_newer_service_says_otherwise_is_read() {
        let read: TargetFigures = serde_json::from_str(r#"{"applied_tick": 7, "of_later": [1]}"#).unwrap();
        assert_eq!(read, TargetFigures { applied_tick: Some(7), ..TargetFigures::default() });
        assert_eq!(serde_json::from_str::<SourceFigures>("{}").unwrap(), SourceFigures::default());
    }
}
