//! The SQL that each side needs, embedded from `schema/`, and the way it is brought up to date:
//! numbered files, each applied once and in order, safe to run concurrently and repeatedly.

use anyhow::{Context, Result, bail};
use postgres::Client;

/// One numbered file.
pub struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

/// Which side's objects a database holds. A database that is both (a chain of replications) holds
/// both, side by side.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// What both sides need; applied before either.
    Common,
    /// Capture, outbox and ticks.
    Source,
    /// Inbox, positions and `processed_events`.
    Target,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Common => "common",
            Side::Source => "source",
            Side::Target => "target",
        }
    }

    fn migrations(self) -> &'static [Migration] {
        match self {
            Side::Common => COMMON,
            Side::Source => SOURCE,
            Side::Target => TARGET,
        }
    }
}

macro_rules! migrations {
    ($($version:literal $path:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $path,
            sql: include_str!(concat!("../../schema/", $path)),
        }),*]
    };
}

const COMMON: &[Migration] =
    migrations![1 "common/001_rows_for_people.sql", 2 "common/002_key_condition.sql"];
const SOURCE: &[Migration] = migrations![
    1 "source/001_outbox_and_ticks.sql",
    2 "source/002_attach.sql",
    3 "source/003_views.sql",
    4 "source/004_follow_alter_table.sql",
    5 "source/005_audit.sql",
    10 "source/010_column_types.sql",
    40 "source/040_terms.sql",
];
const TARGET: &[Migration] = migrations![
    1 "target/001_inbox_and_positions.sql",
    2 "target/002_views.sql",
    20 "target/020_drift.sql",
];

/// The tables of the demo, for databases that play a part in it.
pub const DEMO_TABLES: &str = include_str!("../../schema/demo/tables.sql");
/// Attaches the demo's tables at the source.
pub const DEMO_ATTACH: &str = include_str!("../../schema/demo/attach.sql");

/// Any number that no other program is likely to lock.
const MIGRATION_LOCK: i64 = 0x7265_706c_0001;

/// Brings `side`'s objects in this database up to date, in one transaction.
///
/// Waits while another process does the same. Refuses a database that a newer version of this
/// program has already been at.
pub fn migrate(client: &mut Client, side: Side) -> Result<()> {
    let mut transaction = client.transaction().context("begin the schema migration")?;
    // Whatever the defaults of the database and the role are, the files mean what they say.
    transaction
        .batch_execute("set local search_path = pg_catalog; set local standard_conforming_strings = on")
        .context("begin the schema migration")?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).context("lock the schema")?;
    transaction
        .batch_execute(
            "create schema if not exists replication;
             create table if not exists replication.schema_version (
                 side text not null,
                 version int not null,
                 name text not null,
                 applied_at timestamptz not null default clock_timestamp(),
                 primary key (side, version)
             );",
        )
        .context("create the schema 'replication'")?;
    for side in [Side::Common, side] {
        let row = transaction
            .query_one(
                "select coalesce(max(version), 0) from replication.schema_version where side = $1",
                &[&side.name()],
            )
            .context("read the schema's version")?;
        apply_missing(&mut transaction, side, row.get(0))?;
    }
    transaction.commit().context("commit the schema migration")
}

fn apply_missing(transaction: &mut postgres::Transaction<'_>, side: Side, present: i32) -> Result<()> {
    let newest = side.migrations().last().map_or(0, |migration| migration.version);
    if present > newest {
        bail!(
            "the database has version {present} of the {} schema, this program knows {newest}: run the newer program",
            side.name()
        );
    }
    for migration in side.migrations().iter().filter(|migration| migration.version > present) {
        transaction
            .batch_execute(migration.sql)
            .with_context(|| format!("apply schema/{}", migration.name))?;
        transaction.execute(
            "insert into replication.schema_version (side, version, name) values ($1, $2, $3)",
            &[&side.name(), &migration.version, &migration.name],
        )?;
        log::info!("applied schema/{}", migration.name);
    }
    Ok(())
}
