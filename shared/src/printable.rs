//! Texts from elsewhere, before they reach a log, a health report or a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// The text in one line of at most `max` characters. Control characters are escaped, or a newline would begin
/// a line of its own, and an escape sequence would steer a terminal.
pub fn printable(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for (count, character) in text.chars().enumerate() {
        if count == max {
            let _ = write!(line, "... ({} bytes)", text.len());
            break;
        }
        match character {
            '\n' => line.push(' '),
            character if character.is_control() => line.extend(character.escape_default()),
            character => line.push(character),
        }
    }
    line
}

/// The text, of at most `max` characters.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}... ({} bytes)", &text[..end], text.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_elsewhere_is_one_line_that_steers_nothing() {
        assert_eq!(printable("a\nb\r\u{1b}[2J\u{9b}\0", 100), "a b\\r\\u{1b}[2J\\u{9b}\\u{0}");
        assert_eq!(printable("M\u{fc}nchen", 100), "M\u{fc}nchen");
        assert_eq!(printable("12345", 5), "12345");
        assert_eq!(printable("123456", 5), "12345... (6 bytes)");
    }

    #[test]
    fn a_cut_text_says_how_long_it_was() {
        assert_eq!(cut("12345", 5), "12345");
        assert_eq!(cut("M\u{fc}nchen", 2), "M\u{fc}... (8 bytes)");
    }
}
