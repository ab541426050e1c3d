//! What a person reads on the page, in a real Chromium, for every state of a made-up system.
//!
//! `PAGE_SCREENSHOTS=directory` keeps a picture of each; `README.md` shows the first one, which
//! `scripts/print-page.sh` prints again.

// A test fails by a panic.
#![allow(clippy::unwrap_used)]

mod access;
mod browser;
mod fixtures;
mod person;
mod server;
mod states;
