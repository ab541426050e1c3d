//! Attaching, detaching and accepting tables by pattern. Each in a transaction of its own, so that no table is locked for the
//! sake of another.

use crate::cli::{AcceptOptions, AttachOptions, DetachOptions};
use crate::confirm::confirm;
use crate::level::Level;
use crate::output::{self, Output};
use crate::side::{Side, words};
use crate::sides::Sides;
use anyhow::{Result, ensure};
use postgres::types::ToSql;
use serde::{Deserialize, Serialize};

/// Of `replication.attach_plan` and `replication.accept_plan`.
#[derive(Deserialize)]
struct Planned {
    table_name: String,
    is_done: bool,
    reason: Option<String>,
    remedy: Option<String>,
}

/// What became of a table.
#[derive(Serialize)]
struct TableOutcome {
    table_name: String,
    outcome: &'static str,
    reason: Option<String>,
    remedy: Option<String>,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    tables: Vec<TableOutcome>,
}

const ATTACH_PLAN: &str =
    "select table_name, is_attached as is_done, reason, remedy from replication.attach_plan($1)";
const ACCEPT_PLAN: &str = "select table_name, is_accepted as is_done, reason, remedy from replication.accept_plan($1, $2::text::regrole)";

pub(crate) fn attach(sides: &Sides, output: &Output, options: &AttachOptions) -> Result<Level> {
    let source = sides.source()?;
    let planned = planned(source, ATTACH_PLAN, &options.patterns, &[])?;
    let report = carry_out(options.dry_run, planned, ("attached", "is attached"), |table| {
        let attach = "select replication.attach($1::text::regclass, $2)";
        source.execute(attach, &[&table, &options.cascade])
    });
    let level = show(output, &report)?;
    if !options.dry_run && report.tables.iter().any(|table| table.outcome == "attached") {
        output::tell(
            "Rows that are there already are not sent yet: in A, select replication.resend('...') for each table",
        );
    }
    Ok(level)
}

pub(crate) fn detach(sides: &Sides, output: &Output, options: &DetachOptions) -> Result<Level> {
    let source = sides.source()?;
    let mut planned = planned(source, ATTACH_PLAN, &options.patterns, &[])?;
    for table in &mut planned {
        table.is_done = !table.is_done;
        // What attach would refuse can be detached.
        table.reason = None;
    }
    let names: Vec<&str> =
        planned.iter().filter(|table| !table.is_done).map(|table| table.table_name.as_str()).collect();
    if !options.dry_run && !names.is_empty() {
        let what = format!(
            "Changes of {} will not be captured any more; to replicate it again, all of its rows must be sent again.",
            output::line(&names.join(", "))
        );
        confirm(&what, options.yes)?;
    }
    let report = carry_out(options.dry_run, planned, ("detached", "is not attached"), |table| {
        source.execute("select replication.detach($1::text::regclass)", &[&table])
    });
    show(output, &report)
}

pub(crate) fn accept(sides: &Sides, output: &Output, options: &AcceptOptions) -> Result<Level> {
    let target = sides.target()?;
    let mut planned = planned(target, ACCEPT_PLAN, &options.patterns, &[&options.role])?;
    for table in &mut planned {
        // Granting once more does no harm, and a check is wanted each time.
        table.is_done = false;
    }
    let report = carry_out(options.dry_run, planned, ("accepted", ""), |table| {
        let accept = "select replication.accept($1::text::regclass, $2::text::regrole)";
        target.execute(accept, &[&table, &options.role])
    });
    show(output, &report)
}

fn planned(
    side: &Side,
    plan: &str,
    patterns: &[String],
    others: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Planned>> {
    let mut all: Vec<Planned> = Vec::new();
    for pattern in patterns {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![pattern];
        parameters.extend(others);
        let found: Vec<Planned> = side.rows(plan, &parameters)?;
        ensure!(!found.is_empty(), "no table of the {} is like {pattern}", side.name().words());
        let is_new = |table: &Planned| all.iter().all(|known| known.table_name != table.table_name);
        let found: Vec<Planned> = found.into_iter().filter(is_new).collect();
        all.extend(found);
    }
    Ok(all)
}

/// Does it for each table, unless that is refused or done already. One that fails does not keep the others from it.
fn carry_out(
    dry_run: bool,
    planned: Vec<Planned>,
    (done, is_already): (&'static str, &'static str),
    act: impl Fn(&str) -> Result<()>,
) -> Report {
    let outcome = |table: Planned| {
        let Planned { table_name, is_done, mut reason, remedy } = table;
        if !is_done && reason.is_none() && !dry_run {
            reason = act(&table_name).err().map(|error| words(&error));
        }
        let outcome = match &reason {
            _ if is_done => is_already,
            Some(_) if dry_run => "would be refused",
            Some(_) => "refused",
            None if dry_run => "would be done",
            None => done,
        };
        TableOutcome {
            table_name,
            outcome,
            reason: reason.filter(|_| !is_done),
            remedy: remedy.filter(|_| !is_done),
        }
    };
    Report { dry_run, tables: planned.into_iter().map(outcome).collect() }
}

fn show(output: &Output, report: &Report) -> Result<Level> {
    output.show(report, || {
        let rows: Vec<Vec<String>> = report
            .tables
            .iter()
            .map(|table| {
                let reason = table.reason.iter().chain(&table.remedy).cloned().collect::<Vec<_>>().join("; ");
                vec![table.table_name.clone(), table.outcome.to_owned(), reason]
            })
            .collect();
        output::table(&["table", "outcome", ""], &rows)
    })?;
    let refused = report.tables.iter().any(|table| table.reason.is_some());
    Ok(if refused { Level::Warning } else { Level::Good })
}
