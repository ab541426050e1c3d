//! The form of all messages: JSON with a format version, compressed where it is large.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// The version of the message format. A reader refuses every other.
pub const FORMAT: u32 = 1;

/// Smaller messages are not compressed, so that people can read them on the wire.
const PACKED_FROM: usize = 2048;
/// What a compressed message begins with; no JSON does.
pub(super) const PACKED: &[u8] = b"LZ4\0";
/// A message that would be larger unpacked is refused.
const UNPACKED_MAX: usize = 512 * 1024 * 1024;

/// Compresses a message unless it is small.
pub(super) fn pack(json: Vec<u8>) -> Vec<u8> {
    if json.len() < PACKED_FROM {
        return json;
    }
    let compressed = lz4_flex::block::compress_prepend_size(&json);
    [PACKED, &compressed].concat()
}

/// The text of a message, compressed or not.
pub fn unpack(payload: &[u8]) -> Result<Cow<'_, str>> {
    let Some(packed) = payload.strip_prefix(PACKED) else {
        return std::str::from_utf8(payload).map(Cow::Borrowed).context("read a message as text");
    };
    let (size, compressed) =
        lz4_flex::block::uncompressed_size(packed).context("read the size of a compressed message")?;
    if size > UNPACKED_MAX {
        bail!("a compressed message of {size} bytes is too large: at most {UNPACKED_MAX} are accepted");
    }
    let json = lz4_flex::block::decompress(compressed, size).context("decompress a message")?;
    String::from_utf8(json).map(Cow::Owned).context("read a message as text")
}

/// Reads a message of this [`FORMAT`]. One of another format fails for that reason, whatever else is wrong.
pub(super) fn read<T: DeserializeOwned + Formatted>(payload: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let message = serde_json::from_slice::<T>(payload);
    let format = match &message {
        Ok(message) => message.format(),
        Err(_) => serde_json::from_slice(payload).map_or(FORMAT, |Format { format }| format),
    };
    if format != FORMAT {
        bail!("the message has format {format}, this program reads format {FORMAT}");
    }
    Ok(message?)
}

/// A message with a format version.
pub(super) trait Formatted {
    fn format(&self) -> u32;
}
