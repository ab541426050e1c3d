//! The form of all messages: JSON with a format version, compressed where it is large.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::fmt;

/// The version of the message format. A reader refuses every other.
pub const FORMAT: u32 = 1;

/// Smaller messages are not compressed, so that people can read them on the wire.
const PACKED_FROM: usize = 2048;
/// What a compressed message begins with; no JSON does.
pub(super) const PACKED: &[u8] = b"LZ4\0";
/// A message that would be larger unpacked is neither made nor read: twice what a NATS server can be made to
/// take.
pub const UNPACKED_MAX: usize = 128 * 1024 * 1024;

/// A message that no reader would take.
#[derive(Debug)]
pub struct TooLarge {
    /// Its bytes unpacked.
    pub bytes: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a message of {} bytes is too large: at most {UNPACKED_MAX} are accepted", self.bytes)
    }
}

impl std::error::Error for TooLarge {}

/// Compresses a message unless it is small. Fails where [`unpack`] would refuse it.
pub(super) fn pack(json: Vec<u8>) -> Result<Vec<u8>, TooLarge> {
    if json.len() < PACKED_FROM {
        return Ok(json);
    }
    if json.len() > UNPACKED_MAX {
        return Err(TooLarge { bytes: json.len() });
    }
    let compressed = lz4_flex::block::compress_prepend_size(&json);
    drop(json);
    Ok([PACKED, &compressed].concat())
}

/// The bytes of a message once it is unpacked, as it claims. Reads only its beginning.
pub fn unpacked_bytes(payload: &[u8]) -> usize {
    let claimed = payload.strip_prefix(PACKED).and_then(|packed| packed.first_chunk());
    claimed.map_or(payload.len(), |size| u32::from_le_bytes(*size) as usize)
}

/// The text of a message, compressed or not.
pub fn unpack(payload: &[u8]) -> Result<Cow<'_, str>> {
    let Some(packed) = payload.strip_prefix(PACKED) else {
        return std::str::from_utf8(payload).map(Cow::Borrowed).context("read a message as text");
    };
    let (size, compressed) =
        lz4_flex::block::uncompressed_size(packed).context("read the size of a compressed message")?;
    if size > UNPACKED_MAX {
        return Err(TooLarge { bytes: size }.into());
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

/// The name of a database has at most 63 bytes; an identity has a number and a suffix beside it.
const IDENTITY_MAX: usize = 200;

/// Fails where one of these cannot be the identity of a source or a target.
pub(super) fn check_identities<'a>(identities: impl IntoIterator<Item = &'a String>) -> Result<()> {
    match identities.into_iter().find(|identity| identity.len() > IDENTITY_MAX) {
        Some(identity) => bail!("the identity of a database cannot have {} bytes", identity.len()),
        None => Ok(()),
    }
}

/// A message with a format version.
pub(super) trait Formatted {
    fn format(&self) -> u32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_read_is_not_made() {
        assert_eq!(pack(vec![b' '; UNPACKED_MAX + 1]).unwrap_err().bytes, UNPACKED_MAX + 1);
        let packed = pack(vec![b' '; 1024 * 1024]).unwrap();
        assert!(packed.len() < 10_000);
        assert_eq!(unpacked_bytes(&packed), 1024 * 1024);
        assert_eq!(unpack(&packed).unwrap().len(), 1024 * 1024);
        assert_eq!(unpacked_bytes(b"{}"), 2);
        let bomb = [PACKED, &u32::MAX.to_le_bytes(), b"x"].concat();
        assert!(unpack(&bomb).unwrap_err().is::<TooLarge>());
    }
}
