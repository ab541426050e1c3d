//! Uuids in the one spelling that PostgreSQL and this program both read.

use serde::de::{Deserializer, Error, Visitor};
use std::fmt;
use uuid::Uuid;

/// The length of `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
const HYPHENATED: usize = 36;

/// A uuid with its four hyphens. The inbox keeps messages as they came, and its views cast what is in them:
/// PostgreSQL does not know the spelling `urn:uuid:…`.
pub(super) fn hyphenated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    deserializer.deserialize_str(Hyphenated)
}

struct Hyphenated;

impl Visitor<'_> for Hyphenated {
    type Value = Uuid;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a uuid with its hyphens")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Uuid, E> {
        if text.len() != HYPHENATED {
            return Err(E::custom(format!("a uuid has {HYPHENATED} characters, not {}", text.len())));
        }
        Uuid::try_parse(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        let read = |text: &str| hyphenated(serde::de::value::StrDeserializer::<serde_json::Error>::new(text));
        let uuid = Uuid::from_u128(0x1234_5678);
        assert_eq!(read(&uuid.to_string()).unwrap(), uuid);
        for other in [
            uuid.urn().to_string(),
            uuid.simple().to_string(),
            uuid.braced().to_string(),
            String::new(),
            "x".repeat(36),
        ] {
            assert!(read(&other).is_err(), "{other}");
        }
    }
}
