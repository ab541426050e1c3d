//! Where things stand: one document with both sides, as far as this service knows them, and one judgement of it. The
//! page and every other surface show what it says, in its words.
//!
//! A service knows its own side at first hand, and the other one by its messages only. What cannot be known is
//! `unknown`, with the reason, and never well.

mod board;
mod document;
mod flow;
mod judging;
mod needs;
mod page;
mod remedy;
mod samples;
mod words;

pub use board::{Board, Own, Side};
pub use document::{Document, Half, Line, Need, SCHEMA_VERSION};
pub use flow::{Condition, Stage};
pub use judging::{Facts, State, Verdict};
pub use page::{PAGE, page_headers};
pub use remedy::statement_in;
pub use samples::{KEPT, Pace, Sample, Samples, Series};
