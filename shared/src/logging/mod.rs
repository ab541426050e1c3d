//! One log for all services and commands: each record is one line, in the format that `LOG_FORMAT` chooses.
//!
//! A call gives the message, and what a machine looks for as key-values: `tick`, `txid`, `table`, then `error` (why) and
//! `next` (what follows, or what to do). It says nothing twice: [`text`] makes one sentence of all of it.

mod line;
mod structured;
mod text;

use crate::config::Environment;
use crate::printable::printable;
use anyhow::{Result, bail};
use line::Line;
use log::Record;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogFormat {
    /// For people.
    Text,
    /// `key=value key="another value"`.
    Logfmt,
    /// One object.
    Json,
}

/// Starts logging to standard error, as this service.
///
/// `RUST_LOG` chooses the levels and defaults to `info`; `LOG_FORMAT` chooses the format and defaults to `text`.
pub fn start(environment: &Environment, service: &'static str) -> Result<()> {
    let levels = environment.optional("RUST_LOG").unwrap_or("info");
    check(levels)?;
    let format = LogFormat::from_env(environment)?;
    env_logger::Builder::new()
        .parse_filters(levels)
        .format_timestamp_millis()
        .format(move |out, record| {
            use std::io::Write;
            let line = format.line(&out.timestamp_millis().to_string(), service, record);
            writeln!(out, "{line}")
        })
        .init();
    if format != LogFormat::Text {
        panics_are_logged();
    }
    Ok(())
}

impl LogFormat {
    fn from_env(environment: &Environment) -> Result<LogFormat> {
        match environment.optional("LOG_FORMAT").unwrap_or("text") {
            "text" => Ok(LogFormat::Text),
            "logfmt" => Ok(LogFormat::Logfmt),
            "json" => Ok(LogFormat::Json),
            other => bail!(
                "LOG_FORMAT={} is not allowed: it takes one of text, logfmt, json",
                printable(other, 100)
            ),
        }
    }

    fn line(self, timestamp: &str, service: &str, record: &Record<'_>) -> String {
        let line = Line::of(timestamp, service, record);
        match self {
            LogFormat::Text => text::line(&line),
            LogFormat::Logfmt => structured::logfmt(&line),
            LogFormat::Json => structured::json(&line),
        }
    }
}

/// By default a panic is written as text of several lines, which a reader of records cannot read.
fn panics_are_logged() {
    std::panic::set_hook(Box::new(|panic| {
        log::error!(error:% = panic.to_string().replace('\n', " "); "a thread panicked");
    }));
}

/// Refuses what would be taken for the name of a module, so that nothing would be logged.
fn check(levels: &str) -> Result<()> {
    let is_level = |word: &str| LEVELS.contains(&word.trim().to_ascii_lowercase().as_str());
    let fits = |part: &str| part.rsplit('=').next().is_some_and(is_level);
    if !levels.split(',').all(fits) {
        bail!(
            "RUST_LOG={} is not allowed: it takes one of {}, also per module, as in info,outbox_publisher=debug",
            printable(levels, 100),
            LEVELS.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_known_words() {
        for allowed in ["info", "WARN", "info,shared::database=debug", "off, inbox_processor=trace"] {
            check(allowed).unwrap();
        }
        for refused in ["verbose", "info,outbox_publisher", "outbox_publisher=loud", "info;debug", "info,"] {
            let error = check(refused).unwrap_err().to_string();
            assert!(error.contains("it takes one of off, error"), "{refused}: {error}");
        }
    }

    #[test]
    fn a_format_is_one_of_three() {
        let format = |value: &str| {
            let pair = ("LOG_FORMAT".to_owned(), value.to_owned());
            LogFormat::from_env(&Environment::from_pairs([pair])).map_err(|error| error.to_string())
        };
        assert_eq!(format(""), Ok(LogFormat::Text));
        assert_eq!(format("logfmt"), Ok(LogFormat::Logfmt));
        assert_eq!(format("json"), Ok(LogFormat::Json));
        let refused = "LOG_FORMAT=JSON is not allowed: it takes one of text, logfmt, json";
        assert_eq!(format("JSON"), Err(refused.to_owned()));
    }
}
