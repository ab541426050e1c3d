//! The lines for machines: logfmt and JSON, with the same fields in the same order. No value of a line steers a terminal.

use super::line::{Line, plain};
use crate::printable::cut;
use serde_json::Value;

/// Longer texts are cut.
const TEXT_MAX: usize = 8000;

/// `ts=… level=warn service=… thread=… msg="two words" tick=12`: a value is quoted, as a JSON string, where it would not
/// be one word otherwise.
pub(super) fn logfmt(line: &Line) -> String {
    let pairs =
        fields(line).map(|(key, value)| format!("{}={}", logfmt_key(key), logfmt_value(&plain(&value))));
    pairs.collect::<Vec<_>>().join(" ")
}

/// One object; numbers are numbers.
pub(super) fn json(line: &Line) -> String {
    let pairs = fields(line).map(|(key, value)| match value {
        Value::String(text) => format!("{}:{}", quoted(key), quoted(&text)),
        number => format!("{}:{number}", quoted(key)),
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

fn fields(line: &Line) -> impl Iterator<Item = (&str, Value)> {
    let always = [
        ("ts", line.timestamp.clone()),
        ("level", line.level.as_str().to_ascii_lowercase()),
        ("service", line.service.clone()),
        ("thread", line.thread.clone()),
        ("msg", line.message.clone()),
    ];
    let given = line.fields.iter().map(|(key, value)| (key.as_str(), value.clone()));
    always.into_iter().map(|(key, text)| (key, Value::String(text))).chain(given)
}

fn logfmt_key(key: &str) -> String {
    key.replace(|c: char| c.is_whitespace() || c.is_control() || c == '=' || c == '"', "_")
}

fn logfmt_value(text: &str) -> String {
    let separates = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '=' | '"' | '\\');
    if text.is_empty() || text.contains(separates) { quoted(text) } else { cut(text, TEXT_MAX).into_owned() }
}

/// A JSON string. Control characters that JSON allows, and a terminal obeys, are escaped as well.
fn quoted(text: &str) -> String {
    let string = Value::from(cut(text, TEXT_MAX)).to_string();
    if !string.contains(char::is_control) {
        return string;
    }
    let escape = |c: char| if c.is_control() { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    string.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::super::LogFormat;
    use super::*;
    use log::{Level, Record};

    /// What is said, as logfmt, and within JSON.
    const TEXTS: [(&str, &str, &str); 11] = [
        ("", r#""""#, r#""""#),
        ("ready", "ready", r#""ready""#),
        ("127.0.0.1:5432/a", "127.0.0.1:5432/a", r#""127.0.0.1:5432/a""#),
        ("two words", r#""two words""#, r#""two words""#),
        ("a=b", r#""a=b""#, r#""a=b""#),
        (r#"the "row""#, r#""the \"row\"""#, r#""the \"row\"""#),
        (r"a\b", r#""a\\b""#, r#""a\\b""#),
        ("a\nb\tc\r", r#""a\nb\tc\r""#, r#""a\nb\tc\r""#),
        ("\u{1b}[2J\0\u{7f}\u{9b}", r#""\u001b[2J\u0000\u007f\u009b""#, r#""\u001b[2J\u0000\u007f\u009b""#),
        ("M\u{fc}nchen", "M\u{fc}nchen", "\"M\u{fc}nchen\""),
        (
            "no-break\u{a0}space \u{1f600}",
            "\"no-break\u{a0}space \u{1f600}\"",
            "\"no-break\u{a0}space \u{1f600}\"",
        ),
    ];

    #[test]
    fn every_text_is_one_word_or_quoted_and_can_be_read_again() {
        for (text, as_logfmt, as_json) in TEXTS {
            assert_eq!(logfmt_value(text), as_logfmt);
            assert_eq!(quoted(text), as_json);
            assert_eq!(serde_json::from_str::<String>(as_json).unwrap(), text);
            assert!(
                !as_logfmt.starts_with('"') || serde_json::from_str::<String>(as_logfmt).unwrap() == text
            );
        }
    }

    #[test]
    fn a_key_is_one_word() {
        assert_eq!(logfmt_key("a b=\"c\"\n"), "a_b__c__");
    }

    #[test]
    fn fields_have_one_order_whatever_the_order_of_the_call() {
        let fields = [("other", "x"), ("next", "wait"), ("error", "no"), ("table", "public.a")];
        let (logfmt, json) = both(&fields.as_slice());
        assert_eq!(
            logfmt,
            "ts=2026-11-30T07:18:28.073Z level=error service=inbox-processor thread=NAME msg=\"apply is blocked\" \
             table=public.a error=no next=wait other=x"
        );
        assert_eq!(
            json,
            r#"{"ts":"2026-11-30T07:18:28.073Z","level":"error","service":"inbox-processor","thread":"NAME","msg":"apply is blocked","table":"public.a","error":"no","next":"wait","other":"x"}"#
        );
    }

    #[test]
    fn numbers_stay_numbers_and_what_is_not_known_is_no_field() {
        let fields = [("tick", Some(12_i64)), ("txid", None)];
        let (logfmt, json) = both(&fields.as_slice());
        assert!(logfmt.ends_with(" tick=12"), "{logfmt}");
        assert!(json.ends_with(r#","tick":12}"#), "{json}");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert!(quoted(&"\u{fc}".repeat(9000)).ends_with("\u{fc}... (18000 bytes)\""));
    }

    fn both(fields: &dyn log::kv::Source) -> (String, String) {
        let line = |format: LogFormat| {
            let mut record = Record::builder();
            let record =
                record.level(Level::Error).key_values(&fields).args(format_args!("apply is blocked")).build();
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or_default();
            format.line("2026-11-30T07:18:28.073Z", "inbox-processor", &record).replace(thread, "NAME")
        };
        (line(LogFormat::Logfmt), line(LogFormat::Json))
    }
}
