//! The SQL that each side needs, embedded from `schema/`, and how a database is brought up to date.
//!
//! Numbered files create tables; each is applied once, in order. Repeatable files create functions, views and
//! event triggers; all of a side's are applied again when one of them has changed. Each change of either is a
//! version of its own, so that an older program never replaces newer functions. Safe to run concurrently and
//! repeatedly. An up-to-date database is not written to, so a role without rights on the schema can run this.

mod files;
mod locks;
mod rights;
mod triggers;

pub use files::{DEMO_ATTACH, DEMO_SOURCE_RIGHTS, DEMO_TABLES, DEMO_TARGET_RIGHTS, Side};

use crate::fault::Fault;
use anyhow::{Context, Error, Result, anyhow};
use locks::Attempts;
use postgres::error::SqlState;
use postgres::{Client, Transaction};
use rights::Rights;

/// The number that `replication.lock_number` gives it.
const MIGRATION_LOCK: i64 = 0x7265_706c_0001;

/// Brings `side`'s objects in this database up to date, in one transaction, as far as that locks no table of
/// the application.
///
/// Waits while another process does the same, and some seconds at most for other locks. Leaves a database as it
/// is that a newer version of this program has been at, and refuses it where that does not serve this one any
/// more. Refuses one that is not up to date where this role may not change that.
pub fn migrate(client: &mut Client, side: Side) -> Result<()> {
    migrate_with(client, side, Attempts::OF_A_SERVICE)
}

/// Fails where the database serves only newer programs. Writes nothing, and does not miss a schema that is not there.
pub fn require_served(client: &mut Client, side: Side) -> Result<()> {
    look_for_newer(client, side).map_err(|error| with_grant(client, side, error))
}

fn look_for_newer(client: &mut Client, side: Side) -> Result<()> {
    if is_created(client)? {
        for side in [Side::Common, side] {
            newer_version(client, side)?;
        }
    }
    Ok(())
}

/// The error, with what to run where the role has no rights on a schema that is there.
fn with_grant(client: &mut Client, side: Side, error: Error) -> Error {
    if !is_of_rights(&error) {
        return error;
    }
    let Ok(row) = client.query_one("select quote_literal(current_user)", &[]) else { return error };
    let role: String = row.get(0);
    let grant = if matches!(side, Side::Target) { "grant_to_processor" } else { "grant_to_publisher" };
    error.context(format!(
        "this role has not the rights that it needs on the schema \"replication\"; run, as who made it: select \
         replication.{grant}({role});"
    ))
}

fn is_of_rights(error: &Error) -> bool {
    let database = error.chain().find_map(|cause| cause.downcast_ref::<postgres::Error>());
    database.and_then(postgres::Error::code) == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

/// The same as [`migrate`], and then what locks tables of the application: one at a time and briefly, so that writers wait
/// for moments. Blocks for minutes where transactions that use them do not end. For an operator, with each
/// new version.
pub fn upgrade(client: &mut Client, side: Side) -> Result<()> {
    migrate_with(client, side, Attempts::OF_A_COMMAND)?;
    match side {
        Side::Source => {
            triggers::guard_outbox(client, Attempts::OF_A_COMMAND)?;
            triggers::renew(client, Attempts::OF_A_COMMAND)
        }
        Side::Common | Side::Target => Ok(()),
    }
}

fn migrate_with(client: &mut Client, side: Side, attempts: Attempts) -> Result<()> {
    if is_up_to_date(client, side)? {
        return Ok(());
    }
    attempts.until_unlocked(|| bring_up_to_date(client, side)).map_err(|error| {
        if !is_of_rights(&error) {
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
    if !is_created(client)? {
        return Ok(false);
    }
    for side in [Side::Common, side] {
        if let Some(newer) = newer_version(client, side)? {
            log::warn!("{newer}: it works, until the next version; run the newer program");
            continue;
        }
        if present_version(client, side)? < side.newest() || has_changed_files(client, side)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_created(client: &mut Client) -> Result<bool> {
    let row = client
        .query_one("select to_regclass('replication.repeatable') is not null", &[])
        .context("look for the schema \"replication\"")?;
    Ok(row.get(0))
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

/// The versions, where a newer program has been at the objects of the side. Fails where these do not serve this one.
fn newer_version(client: &mut impl postgres::GenericClient, side: Side) -> Result<Option<String>> {
    // Programs of versions before 85 did not note which programs their objects serve.
    let row = client
        .query_one(
            "select max(version), bool_and(coalesce((to_jsonb(v) ->> 'oldest_program')::int, version) <= $2)
             from replication.schema_version v where side = $1 and version > $2",
            &[&side.name(), &side.newest()],
        )
        .context("look for a newer version of the schema")?;
    let Some(present) = row.get::<_, Option<i32>>(0) else { return Ok(None) };
    let versions = format!(
        "the database has version {present} of the {} schema, this program is older and knows {}",
        side.name(),
        side.newest()
    );
    if !row.get::<_, bool>(1) {
        return Err(anyhow!("{versions}: run the newer program").context(Fault::Fatal));
    }
    Ok(Some(versions))
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
    let rights = Rights::read(&mut transaction)?;
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
             alter table replication.schema_version add column if not exists oldest_program int;
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
        if newer_version(&mut transaction, side)?.is_some() {
            continue;
        }
        let present = present_version(&mut transaction, side)?;
        apply_missing(&mut transaction, side, present)?;
        rights.withhold(&mut transaction)?;
        if has_changed_files(&mut transaction, side)? {
            apply_repeatable(&mut transaction, side)?;
        }
    }
    rights.restore(&mut transaction).context("keep the rights on the schema's views")?;
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
            "insert into replication.schema_version (side, version, name, oldest_program) values ($1, $2, $3, $4)",
            &[&side.name(), &version, &name, &side.oldest_program()],
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
