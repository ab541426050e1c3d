//! Looks at both sides before anything goes wrong, or after.

use crate::level::Level;
use crate::output::{self, Colour, Output};
use crate::schema_diff::differences;
use crate::side::{Name, Side, words};
use crate::sides::Sides;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Of `replication.source_finding` and `replication.target_finding`.
#[derive(Deserialize)]
struct Found {
    level: String,
    finding: String,
    remedy: Option<String>,
}

/// One thing that is not as it should be.
#[derive(Serialize)]
pub(crate) struct SideFinding {
    side: &'static str,
    level: Level,
    pub(crate) finding: String,
    /// What mends it, in that side's database.
    remedy: Option<String>,
}

#[derive(Serialize)]
struct Report {
    level: Level,
    findings: Vec<SideFinding>,
}

pub(crate) fn run(sides: &Sides, output: &Output) -> Result<Level> {
    let findings = findings(sides);
    let level = Level::of(findings.iter().map(|finding| finding.level));
    let report = Report { level, findings };
    output.show(&report, || text(output, &report))?;
    Ok(level)
}

/// The worst first.
pub(crate) fn findings(sides: &Sides) -> Vec<SideFinding> {
    let mut findings: Vec<SideFinding> = sides.all().flat_map(of_side).collect();
    if sides.all().count() == 2 {
        findings.extend(of_both(sides));
    }
    let rank = |level| match level {
        Level::Critical => 0,
        Level::Unknown => 1,
        Level::Warning => 2,
        Level::Good => 3,
    };
    findings.sort_by_key(|finding| rank(finding.level));
    findings
}

fn of_side(side: &Side) -> Vec<SideFinding> {
    let query = format!("select level, finding, remedy from replication.{}_finding", side.name().words());
    let found: Result<Vec<Found>> = side.rows(&query, &[]);
    match found {
        Ok(found) => found
            .into_iter()
            .map(|found| SideFinding {
                side: side.name().letter(),
                level: level(&found.level),
                finding: found.finding,
                remedy: found.remedy,
            })
            .collect(),
        Err(error) => vec![unknown(side.name(), &error)],
    }
}

/// What only shows where both are looked at.
fn of_both(sides: &Sides) -> Vec<SideFinding> {
    match differences(sides) {
        Ok(differences) => differences
            .into_iter()
            .map(|difference| SideFinding {
                side: Name::Target.letter(),
                level: if difference.is_refused { Level::Critical } else { Level::Good },
                finding: format!("{}: {}", difference.table_name, difference.difference),
                remedy: difference.remedy,
            })
            .collect(),
        Err(error) => vec![unknown(Name::Target, &error)],
    }
}

fn unknown(name: Name, error: &anyhow::Error) -> SideFinding {
    SideFinding { side: name.letter(), level: Level::Unknown, finding: words(error), remedy: None }
}

/// What is worth a note is no trouble.
fn level(word: &str) -> Level {
    match word {
        "critical" => Level::Critical,
        "warning" => Level::Warning,
        "note" => Level::Good,
        _ => Level::Unknown,
    }
}

fn text(output: &Output, report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (colour, word) = match finding.level {
            Level::Critical => (Colour::Red, "critical"),
            Level::Unknown => (Colour::Red, "unknown"),
            Level::Warning => (Colour::Yellow, "warning"),
            Level::Good => (Colour::Green, "note"),
        };
        let word = output.coloured(colour, &format!("{word:<8}"));
        let _ = writeln!(text, "{}  {word}  {}", finding.side, output::line(&finding.finding));
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "   -> {}", output::line(remedy));
        }
    }
    if report.level == Level::Good {
        text.push_str("nothing keeps this replication from working\n");
    }
    text
}
