//! What PostgreSQL reads of a JSON text, and this program's own reader does not look at: fields that it does
//! not know. The inbox keeps messages as they came, and its views read all of them.

use anyhow::{Result, bail, ensure};

/// Messages have 4 levels. PostgreSQL reads more by recursion, as far as its stack allows.
const DEPTH_MAX: usize = 16;

/// Fails for a text that is deeper than messages are, or has an escape sequence that no writer of messages
/// makes: it escapes control characters only. PostgreSQL has no text with a NUL or with half a surrogate pair.
/// The text is JSON otherwise.
pub(super) fn check(json: &str) -> Result<()> {
    let bytes = json.as_bytes();
    let (mut at, mut depth, mut in_string) = (0, 0_usize, false);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => in_string = !in_string,
            b'\\' => at += escaped(bytes, at)?,
            b'{' | b'[' if !in_string => {
                depth += 1;
                ensure!(depth <= DEPTH_MAX, "a message has at most {DEPTH_MAX} levels");
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// How many bytes an escape sequence has behind its backslash.
fn escaped(bytes: &[u8], at: usize) -> Result<usize> {
    if bytes.get(at) != Some(&b'u') {
        return Ok(1);
    }
    match bytes.get(at + 1..at + 5) {
        Some([b'0', b'0', b'0', digit]) if *digit != b'0' => Ok(5),
        Some([b'0', b'0', b'1', _]) => Ok(5),
        _ => bail!("a text has an escape sequence of a character that is no control character, or of NUL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_escape_sequences_that_a_writer_makes_are_taken() {
        let all: String = (1..0x500).filter_map(char::from_u32).collect();
        check(&serde_json::to_string(&all).unwrap()).unwrap();
        for text in [r#""\\u0000""#, r#""\\\\\ud800""#, r#"{"a": "]]]]]]]]]]]]]]]]]]]]"}"#, "\"\\", "\"\\u00"]
        {
            let is_whole = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(check(text).is_ok(), is_whole || text == "\"\\", "{text}");
        }
        for text in [r#""\u0000""#, r#""\\\u0000""#, r#"{"x": "\ud800"}"#, r#""\u00e9""#, r#""\u6f22""#] {
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_message_has_few_levels() {
        let levels = |number: usize| "[".repeat(number) + &"]".repeat(number);
        check(&levels(DEPTH_MAX)).unwrap();
        assert!(check(&levels(DEPTH_MAX + 1)).is_err());
        check(&vec!["[]"; 100].join(",")).unwrap();
    }
}
