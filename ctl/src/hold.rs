//! What blocks apply in the target or publishing in the source, and what an operator decides about it.

use crate::cli::{HoldCommand, SkipOptions};
use crate::confirm::confirm;
use crate::level::Level;
use crate::output::{self, Output};
use crate::sides::Sides;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// So many transactions are shown.
const SHOWN_MAX: i64 = 20;

/// Of `replication.hold_transaction`.
#[derive(Deserialize, Serialize)]
struct Waiting {
    tick: i64,
    txid: i64,
    events: i64,
    tables: Vec<String>,
    /// It is the one that blocks; none where that cannot be told.
    refused: Option<bool>,
    is_to_be_skipped: bool,
}

#[derive(Deserialize, Serialize)]
struct Applying {
    since: Option<String>,
    error: Option<String>,
}

/// Of `replication.source_status`.
#[derive(Deserialize, Serialize)]
struct Publishing {
    since: Option<String>,
    error: Option<String>,
    event: Option<String>,
}

#[derive(Serialize)]
struct Held {
    applying: Option<Applying>,
    waiting: Vec<Waiting>,
    publishing: Option<Publishing>,
}

/// Of `replication.hold_status`.
#[derive(Deserialize, Serialize)]
struct Event {
    tick: i64,
    txid: i64,
    operation: String,
    table_name: String,
    key: serde_json::Value,
}

#[derive(Serialize)]
struct Skip {
    dry_run: bool,
    id: String,
    skipped: Vec<Event>,
    next: Vec<Waiting>,
}

const PUBLISHING: &str =
    "select held_since as since, held_error as error, held_event as event from replication.source_status";
const WAITING: &str = "select * from replication.hold_transaction order by tick, txid limit $1";
const NEXT: &str = "
    select * from replication.hold_transaction where txid <> $1 and not is_to_be_skipped order by tick, txid limit $2";
const EVENTS: &str = "
    select tick, txid, operation, table_name, key from replication.hold_status where txid = $1 order by tick limit $2";

pub(crate) fn run(sides: &Sides, output: &Output, command: &HoldCommand) -> Result<Level> {
    match command {
        HoldCommand::Show => show(sides, output),
        HoldCommand::Retry => {
            sides.target()?.execute("select replication.retry_hold()", &[])?;
            output::tell("inbox-processor retries within a second.");
            Ok(Level::Good)
        }
        HoldCommand::Skip(options) => match options.id.parse() {
            Ok(txid) => skip_transaction(sides, output, txid, options),
            Err(_) => skip_event(sides, output, options),
        },
    }
}

fn show(sides: &Sides, output: &Output) -> Result<Level> {
    let applying = sides.ask_target(|side| {
        let held = side.rows::<Applying>(
            "select held_since as since, held_error as error from replication.position",
            &[],
        )?;
        Ok((held.into_iter().next(), side.rows(WAITING, &[&SHOWN_MAX])?))
    });
    let (applying, waiting) = applying.transpose()?.unwrap_or_default();
    let publishing = sides.ask_source(|side| side.row::<Publishing>(PUBLISHING, &[]));
    let held = Held { applying, waiting, publishing: publishing.transpose()? };
    output.show(&held, || text(&held))?;
    let errors = (
        held.applying.as_ref().and_then(|applying| applying.error.as_ref()),
        held.publishing.as_ref().and_then(|publishing| publishing.error.as_ref()),
    );
    Ok(if errors == (None, None) { Level::Good } else { Level::Critical })
}

fn text(held: &Held) -> String {
    let mut text = String::new();
    if let Some(Applying { since: Some(since), error: Some(error) }) = &held.applying {
        text = format!("apply in B is blocked since {}: {}\n\n", output::line(since), output::line(error));
        text.push_str(&waiting_as_table(&held.waiting));
        text.push_str("\n-> mend B's table as the message says, then: replicationctl hold retry\n");
        text.push_str("   or leave a transaction out: replicationctl hold skip TXID --why '...' --dry-run\n");
    }
    if let Some(Publishing { since: Some(since), error: Some(error), event: Some(event) }) = &held.publishing
    {
        let (since, error) = (output::line(since), output::line(error));
        let _ = writeln!(text, "publishing in A is held up since {since}: {error}");
        let _ = writeln!(text, "-> as the message says, or: replicationctl hold skip {event} --why '...'");
    }
    if text.is_empty() { "nothing is blocked\n".to_owned() } else { text }
}

fn waiting_as_table(waiting: &[Waiting]) -> String {
    let rows: Vec<Vec<String>> = waiting
        .iter()
        .map(|waiting| {
            let state = match waiting.refused {
                _ if waiting.is_to_be_skipped => "is to be skipped",
                Some(true) => "blocks",
                Some(false) => "waits",
                None => "waits, or blocks",
            };
            let (tick, txid) = (waiting.tick.to_string(), waiting.txid.to_string());
            vec![tick, txid, waiting.events.to_string(), state.to_owned(), waiting.tables.join(", ")]
        })
        .collect();
    output::table(&["tick", "txid", "events", "state", "tables"], &rows)
}

fn skip_transaction(sides: &Sides, output: &Output, txid: i64, options: &SkipOptions) -> Result<Level> {
    let target = sides.target()?;
    let skipped: Vec<Event> = target.rows(EVENTS, &[&txid, &SHOWN_MAX])?;
    if skipped.is_empty() {
        bail!(
            "transaction {txid} is not pending behind a blocked apply; replicationctl hold show has those that are"
        );
    }
    let next = target.rows(NEXT, &[&txid, &SHOWN_MAX])?;
    let skip = Skip { dry_run: options.dry_run, id: txid.to_string(), skipped, next };
    if !options.dry_run {
        let what = format!(
            "Transaction {txid} will not be applied in B, which is then no snapshot of A until its rows are sent again."
        );
        confirm(&what, options.yes)?;
        let why = options.why.as_ref().context("--why is missing")?;
        target.execute("select replication.skip_transaction($1, $2)", &[&txid, why])?;
    }
    output.show(&skip, || text_of_skip(&skip))?;
    Ok(Level::Good)
}

fn text_of_skip(skip: &Skip) -> String {
    let rows: Vec<Vec<String>> = skip
        .skipped
        .iter()
        .map(|event| {
            vec![
                event.tick.to_string(),
                event.operation.clone(),
                event.table_name.clone(),
                event.key.to_string(),
            ]
        })
        .collect();
    let verb = if skip.dry_run { "would skip" } else { "skips" };
    let skipped = output::table(&["tick", "operation", "table", "key"], &rows);
    let next = match &skip.next[..] {
        [] => "nothing\n".to_owned(),
        next => format!("\n{}", waiting_as_table(next)),
    };
    format!("{verb} transaction {} (at most {SHOWN_MAX} events are shown):\n{skipped}\nnext: {next}", skip.id)
}

fn skip_event(sides: &Sides, output: &Output, options: &SkipOptions) -> Result<Level> {
    let source = sides.source()?;
    let held: Publishing = source.row(PUBLISHING, &[])?;
    let event = held.event.as_ref().filter(|event| **event == options.id);
    let (Some(event), Some(error)) = (event, &held.error) else {
        bail!(
            "event {} does not hold up publishing; replicationctl hold show has the one that does",
            options.id
        );
    };
    if !options.dry_run {
        let what = format!(
            "Event {event} will not be sent to B, which does not get this state of its row: {}",
            output::line(error)
        );
        confirm(&what, options.yes)?;
        let why = options.why.as_ref().context("--why is missing")?;
        source.execute("select replication.skip_event($1::text::uuid, $2)", &[event, why])?;
    }
    let verb = if options.dry_run { "would skip" } else { "skips" };
    output.show(&held, || format!("{verb} event {event}: {}\n", output::line(error)))?;
    Ok(Level::Good)
}
