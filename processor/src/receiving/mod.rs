//! Pulls messages from the stream, decodes them, and releases those that are committed.

mod decode;
mod line;
mod one_by_one;
mod pull;
mod release;
mod withheld;

pub(crate) use decode::{Decoded, Readable, decode};
pub(crate) use pull::Puller;
