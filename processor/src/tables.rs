//! The application's tables in the target: what they look like, and how the last states of their
//! keys are written, set by set.
//!
//! Rows come in the text form that the source gave them. They are cast to a composite type made of
//! the source's column list and the target's column types, so each value is read by its own type.

use crate::changes::TableChanges;
use anyhow::{Context, Result, anyhow};
use postgres::{GenericClient, Statement, Transaction};
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
    /// Rows born in the source are inserted, others upserted. The quickest way; it fails where the
    /// target has a row that the source did not know of.
    AsInTheSource,
    /// Each row is inserted, or updated where its key is there. It fails where a unique value is on its
    /// way from one row to another.
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
    delete: Statement,
    /// `insert … on conflict do update`
    upsert: Statement,
    /// `insert …`, for keys that are known not to be there.
    insert: Statement,
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
        client: &mut impl GenericClient,
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
        changes: &[TableChanges<'_>],
        way: Way,
    ) -> Result<()> {
        let sorted = self.parents_first(changes)?;
        for (table, changes) in sorted.iter().rev() {
            let replaced = changes.present().filter(|_| way == Way::Replace).map(|(key, _)| *key);
            let gone: Vec<&str> = changes.deleted.iter().copied().chain(replaced).collect();
            table.remove(transaction, changes.emptied, &gone)?;
        }
        for (table, changes) in &sorted {
            match way {
                Way::AsInTheSource => {
                    table.put(transaction, &table.insert, &rows(changes.born.iter()))?;
                    table.put(transaction, &table.upsert, &rows(changes.changed.iter()))?;
                }
                Way::Upsert => table.put(transaction, &table.upsert, &rows(changes.present()))?,
                Way::Replace => table.put(transaction, &table.insert, &rows(changes.present()))?,
            }
        }
        Ok(())
    }

    /// The numbers of the shapes, in the order in which rows are to be put into their tables.
    pub(crate) fn parents_before_children(&self, shapes: &[Shape]) -> Result<Vec<usize>> {
        let changes: Vec<_> = shapes.iter().map(TableChanges::none).collect();
        let sorted = self.parents_first(&changes)?;
        Ok(sorted
            .iter()
            .filter_map(|(_, table)| shapes.iter().position(|shape| shape == table.shape))
            .collect())
    }

    fn parents_first<'a>(
        &'a self,
        changes: &'a [TableChanges<'a>],
    ) -> Result<Vec<(&'a Table, &'a TableChanges<'a>)>> {
        let mut sorted = Vec::with_capacity(changes.len());
        for changes in changes {
            let shape = changes.shape;
            let table =
                self.by_shape.get(shape).with_context(|| format!("{} was not looked up", shape.name()))?;
            sorted.push((table, changes));
        }
        sorted.sort_by(|(one, _), (other, _)| (one.depth, &one.name).cmp(&(other.depth, &other.name)));
        Ok(sorted)
    }
}

fn rows<'a>(states: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<&'a str> {
    states.map(|(_, row)| *row).collect()
}

impl Table {
    fn remove(&self, transaction: &mut Transaction<'_>, emptied: bool, keys: &[&str]) -> Result<()> {
        if emptied {
            transaction
                .execute(&format!("delete from {}", self.name), &[])
                .with_context(|| format!("empty {}", self.name))?;
        } else if !keys.is_empty() {
            transaction
                .execute(&self.delete, &[&keys])
                .with_context(|| format!("delete from {}", self.name))?;
        }
        Ok(())
    }

    fn put(&self, transaction: &mut Transaction<'_>, statement: &Statement, rows: &[&str]) -> Result<()> {
        if !rows.is_empty() {
            transaction.execute(statement, &[&rows]).with_context(|| format!("write to {}", self.name))?;
        }
        Ok(())
    }
}

fn hold(error: String) -> anyhow::Error {
    anyhow!(error).context(Fault::Hold)
}

fn describe(client: &mut impl GenericClient, shape: &Shape, number: usize) -> Result<Table> {
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
    let mut prepare =
        |sql: String| client.prepare(&sql).with_context(|| format!("prepare to write to {name}"));
    Ok(Table {
        delete: prepare(delete_statement(&name, &types, &key))?,
        upsert: prepare(upsert_statement(&name, &types, &carried, &key))?,
        insert: prepare(insert_statement(&name, &types, &carried))?,
        depth: depth(client, relation)?,
        name,
    })
}

fn columns(client: &mut impl GenericClient, relation: u32) -> Result<Vec<Column>> {
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
fn depth(client: &mut impl GenericClient, relation: u32) -> Result<i32> {
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
    fn create(&self, client: &mut impl GenericClient, carried: &[&Column], key: &[&Column]) -> Result<()> {
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
