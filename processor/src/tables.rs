//! The application's tables in the target: what they look like, and how the last states of their
//! keys are written, set by set.
//!
//! Rows come in the text form that the source gave them. They are cast to a composite type made of
//! the source's column list and the target's column types, so each value is read by its own type.

use crate::changes::TableChanges;
use anyhow::{Context, Result, anyhow};
use postgres::{Client, Transaction};
use shared::fault::Fault;
use shared::wire::Shape;
use std::collections::HashMap;

/// The tables met so far in this session.
#[derive(Default)]
pub(crate) struct Tables {
    by_shape: HashMap<Shape, Table>,
    /// Look-ups begun, successful or not: each makes row types of names of its own.
    lookups: usize,
}

/// How rows that are there get into their table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Each row is inserted, or updated where its key is there. The quick way; it fails where a unique
    /// value is on its way from one row to another.
    Upsert,
    /// Every touched key goes, then the final rows come: no order of rows can collide.
    Replace,
}

/// One table, for rows of one shape.
struct Table {
    name: String,
    /// How many foreign keys lie between it and a table without parents.
    depth: i32,
    /// `delete … where key in $1`
    delete: String,
    /// `insert … on conflict do update`
    upsert: String,
    /// `insert …`, for keys that are known to be gone.
    insert: String,
}

struct Column {
    name: String,
    type_name: String,
    generated: bool,
}

impl Tables {
    /// Looks up the tables of `shapes` that are not known yet, and makes the row types for them.
    /// An error that carries [`Fault::Hold`] says what the target lacks.
    pub(crate) fn learn<'a>(
        &mut self,
        client: &mut Client,
        shapes: impl Iterator<Item = &'a Shape>,
    ) -> Result<()> {
        for shape in shapes {
            if !self.by_shape.contains_key(shape) {
                self.lookups += 1;
                let table = describe(client, shape, self.lookups)?;
                self.by_shape.insert(shape.clone(), table);
            }
        }
        Ok(())
    }

    /// Forgets what was looked up: the target's tables may have changed since.
    pub(crate) fn forget(&mut self) {
        self.by_shape.clear();
    }

    /// Writes the changes: first what is to go, children before parents, then what is there, parents
    /// before children.
    pub(crate) fn write(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &HashMap<Shape, TableChanges>,
        way: Way,
    ) -> Result<()> {
        let sorted = self.parents_first(changes)?;
        for (table, changes) in sorted.iter().rev() {
            let present = changes.present.iter().map(|(key, _)| key);
            let replaced = present.filter(|_| way == Way::Replace);
            table.remove(transaction, changes.emptied, changes.deleted.iter().chain(replaced))?;
        }
        for (table, changes) in &sorted {
            let statement = match way {
                Way::Upsert => &table.upsert,
                Way::Replace => &table.insert,
            };
            table.put(transaction, statement, changes)?;
        }
        Ok(())
    }

    fn parents_first<'a>(
        &'a self,
        changes: &'a HashMap<Shape, TableChanges>,
    ) -> Result<Vec<(&'a Table, &'a TableChanges)>> {
        let mut sorted = Vec::with_capacity(changes.len());
        for (shape, changes) in changes {
            let table =
                self.by_shape.get(shape).with_context(|| format!("{} was not looked up", shape.name()))?;
            sorted.push((table, changes));
        }
        sorted.sort_by(|(one, _), (other, _)| (one.depth, &one.name).cmp(&(other.depth, &other.name)));
        Ok(sorted)
    }
}

impl Table {
    fn remove<'a>(
        &self,
        transaction: &mut Transaction<'_>,
        emptied: bool,
        keys: impl Iterator<Item = &'a String>,
    ) -> Result<()> {
        if emptied {
            transaction
                .execute(&format!("delete from {}", self.name), &[])
                .with_context(|| format!("empty {}", self.name))?;
            return Ok(());
        }
        let keys: Vec<&String> = keys.collect();
        if !keys.is_empty() {
            transaction
                .execute(&self.delete, &[&keys])
                .with_context(|| format!("delete from {}", self.name))?;
        }
        Ok(())
    }

    fn put(&self, transaction: &mut Transaction<'_>, statement: &str, changes: &TableChanges) -> Result<()> {
        if !changes.present.is_empty() {
            let rows: Vec<&String> = changes.present.iter().map(|(_, row)| row).collect();
            transaction.execute(statement, &[&rows]).with_context(|| format!("write to {}", self.name))?;
        }
        Ok(())
    }
}

fn hold(error: String) -> anyhow::Error {
    anyhow!(error).context(Fault::Hold)
}

fn describe(client: &mut Client, shape: &Shape, number: usize) -> Result<Table> {
    let name = format!("{}.{}", quote(&shape.schema), quote(&shape.table));
    let row = client.query_one("select to_regclass($1)::oid", &[&name]).context("look up a table")?;
    let relation: Option<u32> = row.get(0);
    let relation = relation.ok_or_else(|| hold(format!("the target has no table {name}")))?;
    let known: HashMap<String, Column> =
        columns(client, relation)?.into_iter().map(|column| (column.name.clone(), column)).collect();
    let column = |wanted: &String| {
        known
            .get(wanted)
            .ok_or_else(|| hold(format!("the target's table {name} has no column {}", quote(wanted))))
    };
    let carried = shape.columns.iter().map(column).collect::<Result<Vec<&Column>>>()?;
    let key = shape.key.iter().map(column).collect::<Result<Vec<&Column>>>()?;
    let types = RowTypes { row: format!("pg_temp.row_{number}"), key: format!("pg_temp.key_{number}") };
    types.create(client, &carried, &key).with_context(|| format!("make the row types of {name}"))?;
    Ok(Table {
        depth: depth(client, relation)?,
        delete: delete_statement(&name, &types, &key),
        upsert: upsert_statement(&name, &types, &carried, &key),
        insert: insert_statement(&name, &types, &carried),
        name,
    })
}

fn columns(client: &mut Client, relation: u32) -> Result<Vec<Column>> {
    let rows = client
        .query(
            "select attname::text, format_type(atttypid, atttypmod), attgenerated <> ''
             from pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped",
            &[&relation],
        )
        .context("look up the columns of a table")?;
    Ok(rows
        .iter()
        .map(|row| Column { name: row.get(0), type_name: row.get(1), generated: row.get(2) })
        .collect())
}

/// The length of the longest chain of foreign keys from the table upwards; cycles are cut.
fn depth(client: &mut Client, relation: u32) -> Result<i32> {
    let row = client
        .query_one(
            "with recursive up (relation, path) as (
                 select $1::oid, array[$1::oid]
                 union all
                 select c.confrelid, up.path || c.confrelid
                 from up join pg_constraint c on c.conrelid = up.relation and c.contype = 'f'
                 where c.confrelid <> all (up.path))
             select max(cardinality(path)) - 1 from up",
            &[&relation],
        )
        .context("look up the parents of a table")?;
    Ok(row.get(0))
}

/// Composite types of this session into which text is cast.
struct RowTypes {
    row: String,
    key: String,
}

impl RowTypes {
    fn create(&self, client: &mut Client, carried: &[&Column], key: &[&Column]) -> Result<()> {
        for (name, columns) in [(&self.row, carried), (&self.key, key)] {
            let fields =
                list(columns.iter(), |column| format!("{} {}", quote(&column.name), column.type_name));
            client.batch_execute(&format!("create type {name} as ({fields})"))?;
        }
        Ok(())
    }
}

fn delete_statement(name: &str, types: &RowTypes, key: &[&Column]) -> String {
    let theirs = list(key.iter(), |column| format!("t.{}", quote(&column.name)));
    let ours = list(key.iter(), |column| format!("k.{}", quote(&column.name)));
    format!("delete from {name} t using unnest($1::text[]::{}[]) k where ({theirs}) = ({ours})", types.key)
}

/// Generated columns are left out; identity columns take the source's value.
fn insert_statement(name: &str, types: &RowTypes, carried: &[&Column]) -> String {
    let columns = list(carried.iter().filter(|column| !column.generated), |column| quote(&column.name));
    format!(
        "insert into {name} ({columns}) overriding system value select {columns} from unnest($1::text[]::{}[])",
        types.row
    )
}

fn upsert_statement(name: &str, types: &RowTypes, carried: &[&Column], key: &[&Column]) -> String {
    let insert = insert_statement(name, types, carried);
    let conflict = list(key.iter(), |column| quote(&column.name));
    let is_key = |column: &Column| key.iter().any(|key| key.name == column.name);
    let rest = list(carried.iter().filter(|column| !column.generated && !is_key(column)), |column| {
        format!("{0} = excluded.{0}", quote(&column.name))
    });
    let action = if rest.is_empty() { "nothing".to_owned() } else { format!("update set {rest}") };
    format!("{insert} on conflict ({conflict}) do {action}")
}

fn list<'a>(columns: impl Iterator<Item = &'a &'a Column>, form: impl Fn(&Column) -> String) -> String {
    columns.map(|column| form(column)).collect::<Vec<_>>().join(", ")
}

/// An identifier as SQL.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
