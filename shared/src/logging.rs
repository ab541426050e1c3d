//! One log format for all services: UTC time to the millisecond, level, module, message, in one line.

use crate::config::Environment;
use crate::printable::printable;
use anyhow::{Result, bail};

/// Longer messages are cut.
const MESSAGE_MAX: usize = 8000;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Starts logging to standard error.
///
/// `RUST_LOG` chooses the levels and defaults to `info`.
pub fn start(environment: &Environment) -> Result<()> {
    let levels = environment.optional("RUST_LOG").unwrap_or("info");
    check(levels)?;
    env_logger::Builder::new()
        .parse_filters(levels)
        .format_timestamp_millis()
        .format(|out, record| {
            use std::io::Write;
            writeln!(
                out,
                "{} {:<5} {}: {}",
                out.timestamp_millis(),
                record.level(),
                record.target(),
                printable(&record.args().to_string(), MESSAGE_MAX)
            )
        })
        .init();
    Ok(())
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
}
