//! The rules of the target's side, as functions of small states. Nothing here waits, connects, or reads a
//! clock: the model checker of `tests/model` drives these very functions through every schedule of a small
//! system.

pub mod applied;
pub mod narrowing;
pub mod position;
pub mod reading;
pub mod ways;
