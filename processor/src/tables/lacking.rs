//! What the target lacks, with what to run there.

use super::refusal::denied;
use super::statements::{Column, quote};
use anyhow::{Context, Result, anyhow};
use postgres::GenericClient;
use postgres::error::SqlState;
use shared::fault::Fault;
use shared::wire::Shape;
use std::collections::HashMap;

/// The table's oid, and the role that is to write to it.
pub(super) fn find(client: &mut impl GenericClient, name: &str) -> Result<(u32, String)> {
    let role: String = client.query_one("select current_user", &[]).context("look up the role")?.get(0);
    let found = client.query_one(
        "select c.oid, c.relkind in ('r', 'p') from pg_catalog.to_regclass($1) as found (oid)
         left join pg_catalog.pg_class c on c.oid = found.oid",
        &[&name],
    );
    let row = found.map_err(|error| {
        let is_denied = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        let error = anyhow!(error).context(format!("look up {name}"));
        if is_denied { error.context(denied(name, &role)) } else { error }
    })?;
    match (row.get(0), row.get(1)) {
        (Some(relation), Some(true)) => Ok((relation, role)),
        (Some::<u32>(_), _) => Err(hold(format!(
            "{name} is no table in the target, so rows cannot be written to it; give what is there another name, and create \
             the table as it is in the source"
        ))),
        _ => Err(hold(format!(
            "the target has no table {name}; create it as it is in the source: pg_dump --schema-only --table='{name}', \
             without the triggers replication_...; then run: select replication.accept('{}', '{}'); (or, if it was \
             renamed in the source: ALTER TABLE ... RENAME TO ...;)",
            name.replace('\'', "''"),
            quote(&role).replace('\'', "''")
        ))),
    }
}

/// The columns that the source sends, in its order. The error names every column that is missing.
pub(super) fn carried_columns<'a>(shape: &Shape, name: &str, known: &'a [Column]) -> Result<Vec<&'a Column>> {
    let by_name: HashMap<&str, &Column> = known.iter().map(|column| (column.name.as_str(), column)).collect();
    let mut carried = Vec::with_capacity(shape.columns.len());
    let (mut lacking, mut remedies) = (Vec::new(), Vec::new());
    let mut is_renamed = "";
    for (number, column) in shape.columns.iter().enumerate() {
        match by_name.get(column.as_str()) {
            Some(found) if found.generated && !shape.generated.contains(column) => {
                lacking.push(format!("takes no value for its generated column {}", quote(column)));
                remedies.push(plain_column(found));
            }
            Some(found) => carried.push(*found),
            None => {
                let column_type = shape.types.get(number).map_or("…", String::as_str);
                lacking.push(format!("has no column {}", quote(column)));
                remedies.push(format!("ADD COLUMN {} {column_type}", quote(column)));
                if known.iter().any(|column| !shape.columns.contains(&column.name)) {
                    is_renamed =
                        " Or, if a column was renamed there: ALTER TABLE ... RENAME COLUMN ... TO ...;";
                }
            }
        }
    }
    if lacking.is_empty() {
        return Ok(carried);
    }
    Err(hold(format!(
        "the target's table {name} {}; run: ALTER TABLE {name} {}; -- the rows that are there have no values for that yet: then, \
         in the source, select replication.resend('{}');{is_renamed}",
        lacking.join(" and "),
        remedies.join(", "),
        name.replace('\'', "''")
    )))
}

/// The part of an ALTER TABLE that makes a generated column an ordinary one.
fn plain_column(column: &Column) -> String {
    let name = quote(&column.name);
    if column.computed_when_read {
        // PostgreSQL has no other way.
        format!("DROP COLUMN {name}, ADD COLUMN {name} {}", column.declared_type)
    } else {
        format!("ALTER COLUMN {name} DROP EXPRESSION")
    }
}

/// What to run where a table has no unique key by which the source finds its rows.
pub(super) fn lacking_key(
    client: &mut impl GenericClient,
    shape: &Shape,
    relation: u32,
    name: &str,
) -> Result<String> {
    let key = shape.key.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
    let row = client
        .query_one(
            "select exists (select from pg_catalog.pg_index i where i.indrelid = $1 and i.indisprimary),
                    (select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ')
                     from pg_catalog.pg_partitioned_table p
                     join pg_catalog.pg_attribute a on a.attrelid = $1 and a.attnum = any (p.partattrs::int2[])
                     where p.partrelid = $1 and a.attname <> all ($2))",
            &[&relation, &shape.key],
        )
        .context("look up the key of a table")?;
    let lacking =
        format!("the target's table {name} has no unique key on ({key}), by which the source finds its rows");
    let partitioned_by: Option<String> = row.get(1);
    Ok(match partitioned_by {
        Some(others) => format!(
            "{lacking}, and can have none: it is partitioned by {others}. Create it as an ordinary table, or partition it by the key"
        ),
        // It has the key that the source had, perhaps.
        None if row.get(0) => format!("{lacking}; run: ALTER TABLE {name} ADD UNIQUE ({key});"),
        None => format!("{lacking}; run: ALTER TABLE {name} ADD PRIMARY KEY ({key});"),
    })
}

/// An error that blocks apply, with what to run.
pub(crate) fn hold(error: String) -> anyhow::Error {
    anyhow!(error).context(Fault::Hold)
}
