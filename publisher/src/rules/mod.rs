//! The rules of the source's side, as functions of small states. Nothing here waits, connects, or reads a
//! clock: the model checker of `tests/model` drives these very functions through every schedule of a small
//! system.

pub mod authority;
pub mod binding;
pub mod confirms;
pub mod cursor;
pub mod doubt;
#[cfg(test)]
mod fixtures;
pub mod gate;
pub mod history;
pub mod resend;
pub mod silence;
pub mod verdicts;
