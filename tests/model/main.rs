//! A model checker explores every schedule of a small system, with a few faults in each. The system's rules
//! are not copied: it calls `inbox_processor::rules` and `outbox_publisher::rules`, as the services do. What
//! surrounds the rules (transactions, the stream, crashes) is modelled here.
//!
//! Each model is explored to its end. Then one protection at a time is switched off: the checker must find a
//! schedule that breaks a promise, and prints it as a story. `MODEL_FAULTS=3` allows more faults in one
//! schedule than the ordinary run does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checking;
mod confirming;
mod delivery;
mod settling;
mod world;
