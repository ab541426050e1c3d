//! Continuous verification: the source sends keys and hashes of rows, the target answers which of them it has
//! otherwise, and hears what the source makes of that. Rows themselves do not travel.

use super::bounded::at_most;
use super::encoding::{Formatted, check_identities, read};
use super::identifier::hyphenated;
use super::position::TickRef;
use super::shape::{COLUMNS_MAX, Shape};
use super::snapshot::Snapshot;
use crate::printable::printable;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Rows of a slice: what `VERIFY_ROWS` may be.
pub const SLICE_ROWS_MAX: usize = 5000;
/// Keys of a slice have about so many bytes together. With hashes and escapes, a message stays below the 1 MB
/// that a NATS server takes by default.
pub const SLICE_BYTES_MAX: usize = 128 * 1024;
/// Rows of an answer.
pub const ANSWER_ROWS_MAX: usize = 2 * SLICE_ROWS_MAX + 1000;
/// Rows that are kept as evidence, of one table.
pub const EVIDENCE_MAX: usize = 100;

/// What the reason begins with where rows could not be read in time, or do not fit into a message: a shorter
/// slice may do.
pub const TOO_MUCH: &str = "too much at once: ";

/// Bytes of a hash.
const HASH_MAX: usize = 32;
/// Characters of a text for people.
const TEXT_MAX: usize = 1000;

/// A row: its key in the text form of events, and the hash of the row; none where there is no such row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyHash(
    /// The key.
    pub String,
    /// The hash.
    pub Option<String>,
);

/// Sent by the source, over core NATS: one that is lost is asked again, or told again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// [`FORMAT`](super::FORMAT).
    pub format: u32,
    /// The [`Source::id`](super::Source::id).
    pub source: String,
    /// The WAL timeline that the source writes.
    pub timeline: i64,
    /// The answer has the same.
    #[serde(deserialize_with = "hyphenated")]
    pub id: Uuid,
    /// The table.
    pub shape: Shape,
    /// What is asked, or told.
    pub message: Message,
}

/// What a source asks or tells of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Which of these rows has the target otherwise?
    Compare(Compare),
    /// What the source has found.
    Finding(Finding),
}

/// A slice of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// In which the source read its rows: a target that shows less waits.
    pub snapshot: Snapshot,
    /// Nothing was captured after this tick that the snapshot sees: a target that has applied it, and no
    /// more, shows the source as of the snapshot. Absent where something was.
    pub tick: Option<TickRef>,
    /// The columns that are in the hashes, in this order.
    #[serde(deserialize_with = "at_most::<_, _, COLUMNS_MAX>")]
    pub columns: Vec<String>,
    /// Rows that the target has in this range and that are not in `rows` differ, too. Absent: nothing else is
    /// looked at.
    pub range: Option<KeyRange>,
    /// The rows of the source.
    #[serde(deserialize_with = "at_most::<_, _, SLICE_ROWS_MAX>")]
    pub rows: Vec<KeyHash>,
}

/// From behind one key up to another, in the order that the target has. Absent: from the beginning, to the
/// end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Behind this key.
    pub after: Option<String>,
    /// Up to this key, which belongs to the range.
    pub up_to: Option<String>,
}

/// What the source knows of a table, for the operators of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// As the source's view `verification` shows it.
    pub state: State,
    /// Why nothing is known, or nothing newer.
    pub trouble: Option<String>,
    /// The target's position when it was equal last.
    pub as_of_tick: Option<i64>,
    /// When that was, in microseconds since 1970 by the source's clock.
    pub verified_at_us: Option<i64>,
    /// When the source looked last, likewise.
    pub looked_at_us: i64,
    /// It will have looked again within so many seconds.
    pub fresh_s: u32,
    /// Rows of the table.
    pub rows: Option<i64>,
    /// Rows that this round has looked at.
    pub rows_of_round: i64,
    /// The rows that differ, for people.
    #[serde(deserialize_with = "at_most::<_, _, EVIDENCE_MAX>")]
    pub differing: Vec<String>,
    /// More rows differ.
    pub more_differ: bool,
    /// Columns that cannot be compared.
    #[serde(deserialize_with = "at_most::<_, _, COLUMNS_MAX>")]
    pub not_compared: Vec<String>,
}

/// What is known of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Each row was found equal in the last round.
    Equal,
    /// Rows were proven to differ.
    Differs,
    /// Neither is known.
    Unknown,
}

impl State {
    /// As the views write it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Equal => "equal",
            State::Differs => "differs",
            State::Unknown => "unknown",
        }
    }
}

impl Verify {
    /// The message's bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).context("encode a question of the verification")
    }

    /// Reads a message's bytes.
    pub fn decode(payload: &[u8]) -> Result<Verify> {
        let mut verify: Verify = read(payload).context("read a question of the verification")?;
        check_identities([&verify.source])?;
        verify.shape.check()?;
        match &mut verify.message {
            Message::Compare(compare) => compare.check()?,
            Message::Finding(finding) => finding.check()?,
        }
        Ok(verify)
    }
}

impl Compare {
    fn check(&self) -> Result<()> {
        ensure!(!self.columns.is_empty(), "no column is to be compared");
        self.tick.iter().try_for_each(TickRef::check)?;
        check_rows(&self.rows)
    }
}

impl Finding {
    fn check(&mut self) -> Result<()> {
        let times = self.verified_at_us.into_iter().chain([self.looked_at_us]);
        times.map(super::batch::check_time).collect::<Result<Vec<()>>>()?;
        let texts = self.differing.iter_mut().chain(&mut self.not_compared).chain(&mut self.trouble);
        texts.for_each(|text| *text = printable(text, TEXT_MAX));
        Ok(())
    }
}

/// Sent by the target, over core NATS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// [`FORMAT`](super::FORMAT).
    pub format: u32,
    /// The [`Confirm::target`](super::Confirm::target).
    pub target: String,
    /// The source that it follows.
    pub source: String,
    /// Of the question.
    #[serde(deserialize_with = "hyphenated")]
    pub id: Uuid,
    /// The answer.
    pub answer: Answer,
}

/// What the target has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It has compared the rows.
    Compared(Compared),
    /// Only these columns can be compared: ask again.
    Columns(#[serde(deserialize_with = "at_most::<_, _, COLUMNS_MAX>")] Vec<String>),
    /// It cannot tell, for this reason.
    Unknown(String),
}

/// The target's rows, where they are other ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The tick that the target had applied.
    pub tick: i64,
    /// The transactions of the source that it showed.
    pub snapshot: Snapshot,
    /// Rows that it has otherwise, has not, or has although they were not asked for.
    #[serde(deserialize_with = "at_most::<_, _, ANSWER_ROWS_MAX>")]
    pub differing: Vec<KeyHash>,
    /// It has more rows in the range than an answer takes: those behind this key were not looked at.
    pub more_after: Option<String>,
}

impl Verified {
    /// The message's bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).context("encode an answer of the verification")
    }

    /// Reads a message's bytes.
    pub fn decode(payload: &[u8]) -> Result<Verified> {
        let mut verified: Verified = read(payload).context("read an answer of the verification")?;
        check_identities([&verified.target, &verified.source])?;
        match &mut verified.answer {
            Answer::Compared(compared) => check_rows(&compared.differing)?,
            Answer::Columns(_) => {}
            Answer::Unknown(reason) => *reason = printable(reason, TEXT_MAX),
        }
        Ok(verified)
    }
}

impl Formatted for Verify {
    fn format(&self) -> u32 {
        self.format
    }
}

impl Formatted for Verified {
    fn format(&self) -> u32 {
        self.format
    }
}

fn check_rows(rows: &[KeyHash]) -> Result<()> {
    let is_hash = |hash: &String| hash.len() <= HASH_MAX;
    ensure!(rows.iter().all(|row| row.1.iter().all(is_hash)), "a hash has more than {HASH_MAX} bytes");
    Ok(())
}

#[cfg(test)]
mod tests;
