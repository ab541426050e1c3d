//! How the attached tables differ between source and target, as inbox-processor judges them.

use crate::level::Level;
use crate::output::{self, Output};
use crate::sides::{Sides, both};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Of `replication.schema_differences`.
#[derive(Deserialize, Serialize)]
pub(crate) struct TableDifference {
    pub(crate) table_name: String,
    /// Apply would be blocked.
    pub(crate) is_refused: bool,
    pub(crate) difference: String,
    pub(crate) remedy: Option<String>,
}

#[derive(Serialize)]
struct Report {
    differences: Vec<TableDifference>,
}

pub(crate) fn run(sides: &Sides, output: &Output) -> Result<Level> {
    let report = Report { differences: differences(sides)? };
    output.show(&report, || text(&report))?;
    let refused = report.differences.iter().any(|difference| difference.is_refused);
    let level = if report.differences.is_empty() { Level::Good } else { Level::Warning };
    Ok(if refused { Level::Critical } else { level })
}

/// What the target lacks of what the source sends, and what differs without harm.
pub(crate) fn differences(sides: &Sides) -> Result<Vec<TableDifference>> {
    let (source, target) = both(sides)?;
    let attached: Vec<Value> = source.rows(
        "select table_name, schema_name, plain_name, columns, types, key_columns, generated from replication.attached_table",
        &[],
    )?;
    let attached = serde_json::to_string(&attached).context("write JSON")?;
    target.rows("select * from replication.schema_differences($1::text::json)", &[&attached])
}

fn text(report: &Report) -> String {
    if report.differences.is_empty() {
        return "the attached tables are alike\n".to_owned();
    }
    let rows: Vec<Vec<String>> = report
        .differences
        .iter()
        .map(|difference| {
            let level = if difference.is_refused { "blocks apply" } else { "is taken" };
            let remedy = difference.remedy.clone().unwrap_or_default();
            vec![difference.table_name.clone(), level.to_owned(), difference.difference.clone(), remedy]
        })
        .collect();
    output::table(&["table", "", "difference", "in B"], &rows)
}
