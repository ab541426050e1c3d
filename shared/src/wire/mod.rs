//! The wire contract: what travels from the source to the target (a [`Batch`]) and back (a
//! [`Confirm`]), what a source says beside them (a [`Heartbeat`], a [`Refusal`]), how both verify that their rows are the
//! same ([`Verify`], [`Verified`]), and the positions that both sides compare.
//!
//! Messages are JSON with a format version. Larger ones are compressed (LZ4): the broker keeps three copies.
//! Values of the application travel in the text form that PostgreSQL gave them and are never interpreted
//! on the way.

mod batch;
mod bounded;
mod confirm;
mod encoding;
mod figures;
mod formats;
mod heartbeat;
mod identifier;
mod json;
mod position;
mod refusal;
mod shape;
mod snapshot;
mod status;
mod verify;

#[cfg(test)]
mod edges;
#[cfg(test)]
mod fuzzing;

pub use batch::{Batch, Event, Operation, Skipped, Source};
pub use confirm::{CONFIRM_INTERVAL, Confirm};
pub use encoding::{FORMAT, OtherFormat, TooLarge, UNPACKED_MAX, Unreadable, unpack, unpacked_bytes};
pub use figures::{Held, Paused, SourceFigures, TargetFigures, whole};
pub use formats::{OLDEST_FORMAT, common_format, formats_read};
pub use heartbeat::{HEARTBEAT_INTERVAL, Heartbeat};
pub use position::{Position, TickRef};
pub use refusal::Refusal;
pub use shape::Shape;
pub use snapshot::Snapshot;
pub use status::Status;
pub use verify::{
    ANSWER_ROWS_MAX, Answer, Compare, Compared, EVIDENCE_MAX, Finding, KeyHash, KeyRange, Message,
    SLICE_BYTES_MAX, SLICE_ROWS_MAX, State, TOO_MUCH, Verified, Verify,
};

/// The subject below `prefix` that carries batches from the source to the target.
pub fn events_subject(prefix: &str) -> String {
    format!("{prefix}.events")
}

/// The subject below `prefix` that carries confirms from the target to the source.
pub fn confirm_subject(prefix: &str) -> String {
    format!("{prefix}.confirm")
}

/// The subject below `prefix` that carries heartbeats from the source to the target.
pub fn heartbeat_subject(prefix: &str) -> String {
    format!("{prefix}.heartbeat")
}

/// The subject below `prefix` on which a source tells a target that it cannot serve it.
pub fn refusal_subject(prefix: &str) -> String {
    format!("{prefix}.refusal")
}

/// The subject below `prefix` on which a source asks which rows its target has otherwise, and says what it found.
pub fn verify_subject(prefix: &str) -> String {
    format!("{prefix}.verify")
}

/// The subject below `prefix` that carries the target's answers to that.
pub fn verified_subject(prefix: &str) -> String {
    format!("{prefix}.verified")
}
