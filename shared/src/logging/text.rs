//! The line for people: the message, and behind it what the call gives besides, as one sentence.

use super::line::{Line, plain};
use crate::printable::printable;

/// Longer sentences are cut.
const SENTENCE_MAX: usize = 8000;
/// What the fields are called in a sentence.
const WORDS: [(&str, &str); 3] = [("tick", "tick "), ("txid", "transaction "), ("table", "table ")];

/// UTC time to the millisecond, level, module and sentence.
pub(super) fn line(line: &Line) -> String {
    let sentence = printable(&sentence(line), SENTENCE_MAX);
    format!("{} {:<5} {}: {sentence}", line.timestamp, line.level, line.module)
}

/// "apply is blocked: tick 12, transaction 7: no such table; retrying". What the call's own words say is not said again.
fn sentence(line: &Line) -> String {
    let given = |name: &str| line.field(name).map(plain);
    let (error, next) = (given("error"), given("next"));
    let said = [Some(line.message.as_str()), error.as_deref(), next.as_deref()];
    let place: Vec<String> = WORDS
        .iter()
        .filter_map(|(name, word)| Some(format!("{word}{}", given(name)?)))
        .filter(|place| !said.iter().flatten().any(|text| says(text, place)))
        .collect();
    let place = (!place.is_empty()).then(|| place.join(", "));
    let mut sentence = line.message.clone();
    for part in place.into_iter().chain(error) {
        sentence += if sentence.ends_with('.') { " " } else { ": " };
        sentence += &part;
    }
    if let Some(next) = next {
        sentence += "; ";
        sentence += &next;
    }
    sentence
}

/// Whether the text has these words, and not only their beginning: "tick 12" is not in "tick 123".
fn says(text: &str, words: &str) -> bool {
    let words = words.strip_prefix("table ").unwrap_or(words);
    text.match_indices(words).any(|(at, _)| !text[at + words.len()..].starts_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::super::LogFormat;
    use log::kv::Source;
    use log::{Level, Record};

    const AT: &str = "2026-11-30T07:18:28.073Z";

    fn text(message: std::fmt::Arguments<'_>, fields: &dyn Source) -> String {
        let mut record = Record::builder();
        let record =
            record.level(Level::Warn).target("shared::retry").args(message).key_values(&fields).build();
        LogFormat::Text.line(AT, "outbox-publisher", &record)
    }

    #[test]
    fn a_message_alone_is_as_it_is() {
        let line = text(format_args!("the stream\nEVENTS has {} messages", 7), &[("a", "b"); 0].as_slice());
        assert_eq!(line, format!("{AT} WARN  shared::retry: the stream EVENTS has 7 messages"));
    }

    #[test]
    fn what_is_given_besides_continues_the_sentence() {
        type Fields = &'static [(&'static str, &'static str)];
        let table: [(&str, Fields, &str); 7] = [
            ("publish", &[("error", "refused"), ("next", "retrying")], "publish: refused; retrying"),
            (
                "apply is blocked",
                &[("tick", "12"), ("txid", "7"), ("error", "no")],
                "apply is blocked: tick 12, transaction 7: no",
            ),
            ("It waits.", &[("error", "no"), ("tick", "1")], "It waits. tick 1: no"),
            ("skipped tick 12", &[("tick", "12")], "skipped tick 12"),
            ("skipped tick 123", &[("tick", "12")], "skipped tick 123: tick 12"),
            ("copied", &[("error", "public.a is gone"), ("table", "public.a")], "copied: public.a is gone"),
            ("copied", &[("table", "public.a")], "copied: table public.a"),
        ];
        for (message, fields, sentence) in table {
            let line = text(format_args!("{message}"), &fields);
            assert_eq!(line, format!("{AT} WARN  shared::retry: {sentence}"));
        }
    }

    #[test]
    fn a_long_sentence_is_cut() {
        let line =
            text(format_args!("{}", "x".repeat(9000)), &[("error", "y".repeat(9000).as_str())].as_slice());
        assert!(line.ends_with("x... (18002 bytes)"), "{line}");
    }
}
