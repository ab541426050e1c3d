//! What is printed: results to standard output, all else to standard error. Where one of them takes nothing, the exit status
//! still says what was found.

use anyhow::{Context, Result};
use serde::Serialize;
use shared::printable::printable;
use std::io::{IsTerminal, Write};

/// A cell of a table is cut behind so many characters.
const CELL_MAX: usize = 2000;

/// How results are printed.
pub(crate) struct Output {
    json: bool,
    colours: bool,
}

/// Colours, where they are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    Green,
    Yellow,
    Red,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Output { json, colours: !json && wanted && is_terminal() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the result as one JSON object, or the text of it.
    pub(crate) fn show(&self, result: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            let object = serde_json::to_string(result).context("write JSON")?;
            print(&format!("{object}\n"));
        } else {
            print(&text());
        }
        Ok(())
    }

    /// The text in this colour, if colours are wanted.
    pub(crate) fn coloured(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
        };
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Whether somebody sees the results as they come.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Writes a result.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that has gone, or a disk that is full, changes no verdict.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a line that is no result.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The text in one line, whatever a row may have put into it.
pub(crate) fn line(text: &str) -> String {
    printable(text, CELL_MAX)
}

/// A table of columns: the last one is not padded.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| line(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let lines = std::iter::once(&header).chain(&rows).map(|row| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    });
    lines.collect()
}

/// A number of bytes, for people.
pub(crate) fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 10 * 1024 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value} {}", UNITS[unit])
}

/// A number of seconds, for people.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        under if under < 120.0 => format!("{under:.1} s"),
        under if under < 7200.0 => format!("{:.0} min", under / 60.0),
        under if under < 172_800.0 => format!("{:.0} h", under / 3600.0),
        over => format!("{:.0} days", over / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_they_hold_and_rows_steer_no_terminal() {
        let rows = [vec!["a".to_owned(), "\u{1b}[2J".to_owned()], vec!["long".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["name", "b"], &rows), "name  b\na     \\u{1b}[2J\nlong  x\n");
    }

    #[test]
    fn sizes_and_durations_have_units() {
        assert_eq!((bytes(10_239), bytes(10_240)), ("10239 bytes".to_owned(), "10 KB".to_owned()));
        assert_eq!(bytes(50 * 1024 * 1024 * 1024), "50 GB");
        assert_eq!((seconds(0.04), seconds(5400.0)), ("0.0 s".to_owned(), "90 min".to_owned()));
        assert_eq!((seconds(7300.0), seconds(1e6)), ("2 h".to_owned(), "12 days".to_owned()));
    }
}
