//! The SQL that each side needs, embedded from `schema/`, and how a database is brought up to date.
//!
//! Numbered files create tables; each is applied once, in order. Repeatable files create functions, views and
//! event triggers; all of a side's are applied again when one of them has changed. Each change of either is a
//! version of its own, so that an older program never replaces newer functions. Safe to run concurrently and
//! repeatedly. An up-to-date database is not written to, so a role without rights on the schema can run this.

mod files;
mod locks;
mod triggers;

pub use files::{DEMO_ATTACH, DEMO_TABLES, Side};

use crate::fault::Fault;
use anyhow::{Context, Result, anyhow};
use locks::Attempts;
use postgres::error::SqlState;
use postgres::{Client, Transaction};

/// The number that `replication.lock_number` gives it.
const MIGRATION_LOCK: i64 = 0x7265_706c_0001;

/// Brings `side`'s objects in this database up to date, in one transaction, as far as that locks no table of
/// the application.
///
/// Waits while another process does the same, and some seconds at most for other locks. Refuses a database
/// that a newer version of this program has already been at, and one that is not up to date where this role
/// may not change that.
pub fn migrate(client: &mut Client, side: Side) -> Result<()> {
    migrate_with(client, side, Attempts::OF_A_SERVICE)
}

/// The same, and then what locks tables of the application: one at a time and briefly, so that writers wait
/// for moments. Blocks for minutes where transactions that use them do not end. For an operator, with each
/// new version.
pub fn upgrade(client: &mut Client, side: Side) -> Result<()> {
    migrate_with(client, side, Attempts::OF_A_COMMAND)?;
    match side {
        Side::Source => triggers::renew(client, Attempts::OF_A_COMMAND),
        Side::Common | Side::Target => Ok(()),
    }
}

fn migrate_with(client: &mut Client, side: Side, attempts: Attempts) -> Result<()> {
    if is_up_to_date(client, side)? {
        return Ok(());
    }
    attempts.until_unlocked(|| bring_up_to_date(client, side)).map_err(|error| {
        let database = error.chain().find_map(|cause| cause.downcast_ref::<postgres::Error>());
        if database.and_then(postgres::Error::code) != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return error;
        }
        let service = if matches!(side, Side::Target) { "inbox-processor" } else { "outbox-publisher" };
        error
            .context(format!(
                "the schema \"replication\" is missing or not up to date, and this role may not change it; run once with \
                 a DATABASE_URL of a role that may (the owner of the database, better a superuser): {service} migrate"
            ))
            .context(Fault::Fatal)
    })
}

/// Asks without writing anything.
fn is_up_to_date(client: &mut Client, side: Side) -> Result<bool> {
    let row = client
        .query_one("select to_regclass('replication.repeatable') is not null", &[])
        .context("look for the schema \"replication\"")?;
    if !row.get::<_, bool>(0) {
        return Ok(false);
    }
    for side in [Side::Common, side] {
        let present = present_version(client, side)?;
        require_not_newer(side, present)?;
        if present < side.newest() || has_changed_files(client, side)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn present_version(client: &mut impl postgres::GenericClient, side: Side) -> Result<i32> {
    let row = client
        .query_one(
            "select coalesce(max(version), 0) from replication.schema_version where side = $1",
            &[&side.name()],
        )
        .context("read the schema's version")?;
    Ok(row.get(0))
}

fn require_not_newer(side: Side, present: i32) -> Result<()> {
    if present <= side.newest() {
        return Ok(());
    }
    Err(anyhow!(
        "the database has version {present} of the {} schema, this program is older and knows {}: run the newer program",
        side.name(),
        side.newest()
    )
    .context(Fault::Fatal))
}

fn has_changed_files(client: &mut impl postgres::GenericClient, side: Side) -> Result<bool> {
    let (names, texts) = names_and_texts(side);
    let row = client
        .query_one(
            "select exists (
                 select from unnest($1::text[], $2::text[]) as file (name, sql)
                 left join replication.repeatable r
                        on r.side = $3 and r.name = file.name and r.checksum = md5(file.sql)
                 where r.name is null)",
            &[&names, &texts, &side.name()],
        )
        .context("compare the schema's functions and views")?;
    Ok(row.get(0))
}

fn names_and_texts(side: Side) -> (Vec<&'static str>, Vec<&'static str>) {
    side.repeatable().iter().map(|file| (file.name, file.sql)).unzip()
}

fn bring_up_to_date(client: &mut Client, side: Side) -> Result<()> {
    let mut transaction = client.transaction().context("begin the schema migration")?;
    // Whatever the defaults of the database and the role are, the files mean what they say.
    transaction
        .batch_execute(
            "set local search_path = pg_catalog; set local standard_conforming_strings = on;
             set local check_function_bodies = on",
        )
        .context("begin the schema migration")?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).context("lock the schema")?;
    transaction.batch_execute(locks::SET_TIMEOUT).context("limit the wait for locks")?;
    transaction
        .batch_execute(
            "create schema if not exists replication;
             create table if not exists replication.schema_version (
                 side text not null,
                 version int not null,
                 name text not null,
                 applied_at timestamptz not null default clock_timestamp(),
                 primary key (side, version)
             );
             create table if not exists replication.repeatable (
                 side text not null,
                 name text not null,
                 checksum text not null,
                 applied_at timestamptz not null default clock_timestamp(),
                 primary key (side, name)
             );",
        )
        .context("create the schema 'replication'")?;
    for side in [Side::Common, side] {
        let present = present_version(&mut transaction, side)?;
        require_not_newer(side, present)?;
        apply_missing(&mut transaction, side, present)?;
        if has_changed_files(&mut transaction, side)? {
            apply_repeatable(&mut transaction, side)?;
        }
    }
    transaction.commit().context("commit the schema migration")
}

fn apply_missing(transaction: &mut Transaction<'_>, side: Side, present: i32) -> Result<()> {
    for migration in side.migrations().iter().filter(|migration| migration.version > present) {
        transaction
            .batch_execute(migration.sql)
            .with_context(|| format!("apply schema/{}", migration.name))?;
        note_version(transaction, side, migration.version, migration.name)?;
        log::info!("applied schema/{}", migration.name);
    }
    let migrated = side.migrations().last().map_or(present, |migration| migration.version.max(present));
    if migrated < side.revision() {
        note_version(transaction, side, side.revision(), "repeatable")?;
    }
    Ok(())
}

fn note_version(transaction: &mut Transaction<'_>, side: Side, version: i32, name: &str) -> Result<()> {
    transaction
        .execute(
            "insert into replication.schema_version (side, version, name) values ($1, $2, $3)",
            &[&side.name(), &version, &name],
        )
        .context("note the schema's version")?;
    Ok(())
}

fn apply_repeatable(transaction: &mut Transaction<'_>, side: Side) -> Result<()> {
    for file in side.repeatable() {
        transaction.batch_execute(file.sql).with_context(|| format!("apply schema/{}", file.name))?;
    }
    let (names, texts) = names_and_texts(side);
    transaction
        .execute("delete from replication.repeatable where side = $1", &[&side.name()])
        .and_then(|_| {
            transaction.execute(
                "insert into replication.repeatable (side, name, checksum)
                 select $3, name, md5(sql) from unnest($1::text[], $2::text[]) as file (name, sql)",
                &[&names, &texts, &side.name()],
            )
        })
        .context("note the schema's functions and views")?;
    log::info!("applied the functions and views of schema/{}", side.name());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leadership::Role;

    #[test]
    fn advisory_locks_have_the_numbers_that_sql_gives_them() {
        let sql = include_str!("../../schema/common/repeatable/locks.sql");
        let locks = [
            ("migration", MIGRATION_LOCK),
            ("publisher", Role::Publisher.lock()),
            ("processor", Role::Processor.lock()),
        ];
        for (name, number) in locks {
            let definition = format!("when '{name}' then x'{number:012x}'::bigint");
            assert!(sql.contains(&definition), "locks.sql lacks: {definition}");
        }
    }
}
