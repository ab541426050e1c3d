//! The form of all messages: JSON with a format version, compressed where it is large.

use super::json;
use crate::printable::printable;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::fmt::{self, Write};

/// The version of the message format.
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

/// A message that no reader would take, for another reason than its size.
#[derive(Debug)]
pub struct Unreadable(
    /// What is wrong with it.
    pub String,
);

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// A message that this program cannot read, and another version can.
#[derive(Debug)]
pub struct OtherFormat(
    /// Its format.
    pub u32,
);

impl fmt::Display for OtherFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the message has format {}, this program reads format {FORMAT}", self.0)
    }
}

impl std::error::Error for OtherFormat {}

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

/// LZ4 makes at most so many bytes of one.
const EXPANSION_MAX: usize = 255;

/// The memory that a message takes once it is unpacked, as it claims; none beyond itself where that cannot be, since
/// it is refused unread. Reads only its beginning.
pub fn unpacked_bytes(payload: &[u8]) -> usize {
    let claimed = payload.strip_prefix(PACKED).and_then(|packed| claimed(packed).ok());
    claimed.map_or(payload.len(), |(size, _)| size.max(payload.len()))
}

/// What a compressed message claims to be unpacked, and what is to be unpacked. Fails where that cannot be.
fn claimed(packed: &[u8]) -> Result<(usize, &[u8])> {
    let (size, compressed) =
        lz4_flex::block::uncompressed_size(packed).context("read the size of a compressed message")?;
    if size > UNPACKED_MAX {
        return Err(TooLarge { bytes: size }.into());
    }
    ensure!(
        size <= compressed.len().saturating_mul(EXPANSION_MAX),
        "{} compressed bytes cannot be {size}",
        compressed.len()
    );
    Ok((size, compressed))
}

/// The text of a message, compressed or not.
pub fn unpack(payload: &[u8]) -> Result<Cow<'_, str>> {
    let Some(packed) = payload.strip_prefix(PACKED) else {
        return std::str::from_utf8(payload).map(Cow::Borrowed).context("read a message as text");
    };
    let (size, compressed) = claimed(packed)?;
    let json = lz4_flex::block::decompress(compressed, size).context("decompress a message")?;
    String::from_utf8(json).map(Cow::Owned).context("read a message as text")
}

/// Reads a message of this [`FORMAT`]. One of another format fails with [`OtherFormat`], whatever else is wrong.
pub(super) fn read<T: DeserializeOwned + Formatted>(payload: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let text = std::str::from_utf8(payload).context("read a message as text")?;
    let message = serde_json::from_str::<T>(text).map_err(|error| anyhow!("{}", beginning_of(&error)));
    let format = match &message {
        Ok(message) => message.format(),
        Err(_) => serde_json::from_str(text).map_or(FORMAT, |Format { format }| format),
    };
    if format != FORMAT {
        return Err(OtherFormat(format).into());
    }
    json::check(text)?;
    message
}

/// Characters that are kept of an error, which may quote the message.
const ERROR_MAX: usize = 200;

/// The text, without ever making more of it.
fn beginning_of(error: &impl fmt::Display) -> String {
    struct Beginning(String);
    impl fmt::Write for Beginning {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0.extend(part.chars().take(ERROR_MAX));
            if self.0.len() > ERROR_MAX { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut beginning = Beginning(String::new());
    // It fails where there is more.
    let is_whole = write!(beginning, "{error}").is_ok();
    printable(&beginning.0, ERROR_MAX) + if is_whole { "" } else { "..." }
}

/// The name of a database has at most 63 bytes, each a character in some encodings; an identity has a number and a
/// suffix beside it.
const IDENTITY_MAX: usize = 250;

/// Fails where one of these cannot be the identity of a source or a target.
pub(super) fn check_identities<'a>(identities: impl IntoIterator<Item = &'a String>) -> Result<()> {
    for identity in identities {
        if identity.is_empty() || identity.len() > IDENTITY_MAX {
            bail!("the identity of a database cannot have {} bytes", identity.len());
        }
    }
    Ok(())
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
        let bomb = |claimed: u32| [PACKED, &claimed.to_le_bytes(), b"x"].concat();
        assert!(unpack(&bomb(u32::MAX)).unwrap_err().is::<TooLarge>());
        assert!(unpack(&bomb(256)).unwrap_err().to_string().contains("1 compressed bytes cannot be 256"));
        assert_eq!(unpacked_bytes(&bomb(u32::MAX)) + unpacked_bytes(&bomb(256)), 18);
    }

    #[test]
    fn an_error_does_not_repeat_the_message() {
        let long = format!(r#"{{"format": "{}"}}"#, "x\\n".repeat(1_000_000));
        let error = format!("{:#}", crate::wire::Confirm::decode(long.as_bytes()).unwrap_err());
        assert!(error.len() < 2 * ERROR_MAX && error.contains("invalid type"), "{error}");
    }
}
