//! What somebody needs who helps from elsewhere. Every field is named here: nothing of a row, and no secret, gets in.

use crate::doctor::findings;
use crate::level::Level;
use crate::output::Output;
use crate::side::{Side, words};
use crate::sides::Sides;
use crate::status::{Overview, SourceOverview, TargetOverview};
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

/// Settings of PostgreSQL that matter here.
const SETTINGS: &str = "
    select name, setting, unit, source from pg_settings
    where name in ('server_version', 'server_encoding', 'lc_collate', 'max_connections', 'max_prepared_transactions',
                   'synchronous_commit', 'track_commit_timestamp', 'default_transaction_isolation', 'fsync',
                   'full_page_writes', 'shared_buffers', 'work_mem', 'max_wal_size', 'wal_level', 'autovacuum', 'jit',
                   'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'max_locks_per_transaction')
    order by name";
const VERSIONS: &str = "
    select side, max(version) as version, max(applied_at) as applied_at from replication.schema_version group by side order by side";
/// Names of roles and applications stay out: a name may be a person's.
const SESSIONS: &str = "
    select state, wait_event_type, wait_event, count(*) as sessions, max(clock_timestamp() - xact_start)::text as oldest_transaction
    from pg_stat_activity where datname = current_database() group by 1, 2, 3 order by 4 desc";
const TABLES: &str = "
    select table_name, columns, types, key_columns, generated, rows_estimated, bytes, problems from replication.attached_table
    order by table_name";

#[derive(Serialize)]
struct Bundle {
    program: &'static str,
    sides: Vec<OfSide>,
    source: Option<SourceOverview>,
    target: Option<TargetOverview>,
    tables: Option<Value>,
    /// Without what may quote a row.
    findings: Vec<String>,
}

#[derive(Serialize)]
struct OfSide {
    side: &'static str,
    settings: Value,
    versions: Value,
    sessions: Value,
}

pub(crate) fn run(sides: &Sides, output: &Output) -> Result<Level> {
    let overview = Overview::read(sides);
    let tables = sides.ask_source(|side| Ok(answer(side, TABLES)));
    let bundle = Bundle {
        program: env!("CARGO_PKG_VERSION"),
        sides: sides.all().map(of_side).collect(),
        source: overview.source.map(without_values_of_source),
        target: overview.target.map(without_values_of_target),
        tables: tables.transpose()?,
        findings: findings(sides).iter().map(|finding| kind(&finding.finding)).collect(),
    };
    output.show(&bundle, || {
        // It is read by programs as well as by people.
        serde_json::to_string_pretty(&bundle).unwrap_or_default() + "\n"
    })?;
    Ok(if overview.errors.is_empty() { Level::Good } else { Level::Unknown })
}

fn of_side(side: &Side) -> OfSide {
    OfSide {
        side: side.name().letter(),
        settings: answer(side, SETTINGS),
        versions: answer(side, VERSIONS),
        sessions: answer(side, SESSIONS),
    }
}

/// The rows, or why there are none. (What these statements fail with quotes no row.)
fn answer(side: &Side, query: &str) -> Value {
    side.rows::<Value>(query, &[]).map_or_else(|error| Value::String(words(&error)), Value::Array)
}

/// What a service says of its trouble may name a row, and so may what an operator typed.
fn without_values_of_source(source: SourceOverview) -> SourceOverview {
    let left_out = |text: Option<String>| text.map(|_| LEFT_OUT.to_owned());
    SourceOverview {
        held_error: left_out(source.held_error),
        target_trouble: left_out(source.target_trouble),
        paused: source.paused.map(|paused| crate::status::OpenPause {
            reason: LEFT_OUT.to_owned(),
            paused_by: LEFT_OUT.to_owned(),
            ..paused
        }),
        ..source
    }
}

fn without_values_of_target(target: TargetOverview) -> TargetOverview {
    let left_out = |text: Option<String>| text.map(|_| LEFT_OUT.to_owned());
    TargetOverview {
        held_error: left_out(target.held_error),
        source_trouble: left_out(target.source_trouble),
        paused: target.paused.map(|paused| crate::status::OpenPause {
            reason: LEFT_OUT.to_owned(),
            paused_by: LEFT_OUT.to_owned(),
            ..paused
        }),
        ..target
    }
}

const LEFT_OUT: &str = "(left out)";

/// A finding up to the first colon: what follows may be what a service said of a row.
fn kind(finding: &str) -> String {
    finding.split_once(": ").map_or(finding, |(kind, _)| kind).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::OpenPause;

    #[test]
    fn nothing_of_a_row_and_nothing_that_somebody_typed_gets_in() {
        let secret = || Some("key (4711) of S3cret".to_owned());
        let paused = || {
            Some(OpenPause {
                reason: "S3cret".to_owned(),
                paused_by: "S3cret".to_owned(),
                ..OpenPause::default()
            })
        };
        let source = SourceOverview {
            held_error: secret(),
            target_trouble: secret(),
            paused: paused(),
            ..SourceOverview::default()
        };
        let target = TargetOverview {
            held_error: secret(),
            source_trouble: secret(),
            paused: paused(),
            ..TargetOverview::default()
        };
        let source = serde_json::to_string(&without_values_of_source(source)).unwrap();
        let target = serde_json::to_string(&without_values_of_target(target)).unwrap();
        assert!(!source.contains("S3cret") && !target.contains("S3cret"), "{source}{target}");
        assert!(source.contains(LEFT_OUT) && target.contains(LEFT_OUT));
        assert_eq!(kind("apply is blocked since 12:00:00: key (4711)"), "apply is blocked since 12:00:00");
    }
}
