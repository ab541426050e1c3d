//! What the tests of several rules need.

use shared::wire::{Confirm, FORMAT, formats_read};
use uuid::Uuid;

/// The first confirm of a target that has received nothing.
pub(super) fn confirm() -> Confirm {
    Confirm {
        format: FORMAT,
        target: "1/b".to_owned(),
        incarnation: Uuid::nil(),
        term: 1,
        counter: 1,
        source: None,
        received: None,
        applied: None,
        gap: false,
        idle: false,
        reads: formats_read(),
        status: None,
        figures: None,
    }
}
