//! The attached tables, and those that are not.

use crate::level::Level;
use crate::output::{self, Output, bytes};
use crate::side::words;
use crate::sides::Sides;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Of `replication.attached_table`.
#[derive(Deserialize, Serialize)]
struct AttachedTable {
    table_name: String,
    attached_at: String,
    rows_estimated: i64,
    bytes: i64,
    problems: i64,
    /// Changes that B has not applied; none where that cannot be known.
    waiting: Option<i64>,
}

/// Of `replication.not_attached`.
#[derive(Deserialize, Serialize)]
struct NotAttached {
    table_name: String,
    reason: Option<String>,
    remedy: Option<String>,
}

#[derive(Serialize)]
struct Tables {
    attached: Vec<AttachedTable>,
    not_attached: Option<Vec<NotAttached>>,
}

/// The position of the target, or the confirmed one where the target is not known.
const POSITION_OF_TARGET: &str =
    "select applied_tick as tick, applied_id as tick_id from replication.position";
const POSITION_CONFIRMED: &str = "
    select t.tick, t.tick_id from replication.tick t join replication.progress p on t.tick = p.confirmed_tick";
const ATTACHED: &str = "
    select table_name, attached_at, rows_estimated, bytes, problems, null::bigint as waiting
    from replication.attached_table order by table_name";
const ATTACHED_WITH_WAITING: &str = "
    select a.table_name, a.attached_at, a.rows_estimated, a.bytes, a.problems, p.events as waiting
    from replication.attached_table a
    left join replication.pending_after($1, $2::text::uuid) p on p.table_name = a.schema_name || '.' || a.plain_name
    order by a.table_name";

#[derive(Deserialize)]
struct Position {
    tick: Option<i64>,
    tick_id: Option<String>,
}

pub(crate) fn run(sides: &Sides, output: &Output, all: bool) -> Result<Level> {
    let source = sides.source()?;
    let position = match sides.ask_target(|side| side.rows::<Position>(POSITION_OF_TARGET, &[])) {
        Some(found) => found,
        None => source.rows(POSITION_CONFIRMED, &[]),
    };
    let attached = position.and_then(|found| {
        let position = found.into_iter().next().unwrap_or(Position { tick: None, tick_id: None });
        source.rows(ATTACHED_WITH_WAITING, &[&position.tick, &position.tick_id])
    });
    let is_known = attached.is_ok();
    let attached = attached.or_else(|error| {
        output::tell(&format!("what waits is unknown: {}", output::line(&words(&error))));
        source.rows(ATTACHED, &[])
    })?;
    let not_attached = all.then(|| {
        source.rows(
            "select schema_name || '.' || table_name as table_name, reason, remedy from replication.not_attached order by 1",
            &[],
        )
    });
    let tables = Tables { attached, not_attached: not_attached.transpose()? };
    output.show(&tables, || text(&tables))?;
    let problems = tables.attached.iter().any(|table| table.problems > 0);
    let level = if problems { Level::Critical } else { Level::Good };
    Ok(if is_known { level } else { level.or(Level::Unknown) })
}

fn text(tables: &Tables) -> String {
    let rows: Vec<Vec<String>> = tables
        .attached
        .iter()
        .map(|table| {
            let problems = match table.problems {
                0 => "captured in full".to_owned(),
                problems => format!("{problems} problems: replicationctl doctor"),
            };
            let waiting = table.waiting.map_or_else(|| "?".to_owned(), |waiting| waiting.to_string());
            let rows = format!("~{}", table.rows_estimated);
            vec![table.table_name.clone(), rows, bytes(table.bytes), waiting, problems]
        })
        .collect();
    let mut text = output::table(&["table", "rows", "size", "waiting", "state"], &rows);
    if let Some(others) = &tables.not_attached {
        let cell = |value: &Option<String>| value.clone().unwrap_or_default();
        let rows: Vec<Vec<String>> = others
            .iter()
            .map(|table| vec![table.table_name.clone(), cell(&table.reason), cell(&table.remedy)])
            .collect();
        text.push('\n');
        text.push_str(&output::table(&["not attached", "reason", "remedy"], &rows));
    }
    text
}
