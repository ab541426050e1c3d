//! The form of a table's rows, to which events refer.

use super::bounded::{at_most, at_most_of, some_at_most};
use anyhow::{Result, ensure};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashSet;

/// Columns of a table: what PostgreSQL allows.
pub(super) const COLUMNS_MAX: usize = 1600;
/// Columns of a key: what PostgreSQL allows in an index.
pub(super) const KEY_MAX: usize = 32;
/// Names and types in all shapes of a message.
const NAMES_MAX: usize = 500_000;
/// Bytes of a name: PostgreSQL allows 63, which may be three times as many in UTF8.
const NAME_BYTES_MAX: usize = 256;
/// Bytes of a type, which has names in it, or of what is said of a collation.
const TYPE_BYTES_MAX: usize = 2000;

/// The form of a table's rows at the time of capture.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Number by which the events of the same batch refer to it.
    pub id: i32,
    /// Schema of the table.
    pub schema: String,
    /// Name of the table.
    pub table: String,
    /// All columns, in the order of the row's text form.
    #[serde(deserialize_with = "at_most::<_, _, COLUMNS_MAX>")]
    pub columns: Vec<String>,
    /// The columns of the primary key, in the order of the key's text form.
    #[serde(deserialize_with = "at_most::<_, _, KEY_MAX>")]
    pub key: Vec<String>,
    /// The columns' types as ALTER TABLE takes them, in the order of `columns`.
    #[serde(default, deserialize_with = "at_most::<_, _, COLUMNS_MAX>")]
    pub types: Vec<String>,
    /// The columns that the source computes from others.
    #[serde(default, deserialize_with = "at_most::<_, _, COLUMNS_MAX>")]
    pub generated: Vec<String>,
    /// For each column of the key, in its order, which different texts its collation takes for equal: provider
    /// and locale, empty for none. Sources of older versions do not say it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_at_most::<_, _, KEY_MAX>"
    )]
    pub key_collations: Option<Vec<String>>,
}

impl Shape {
    /// `schema.table`, for people.
    pub fn name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// Fails where no table of an application can have it.
    pub(super) fn check(&self) -> Result<()> {
        let Shape { id, schema, .. } = self;
        ensure!(
            !is_systems(schema),
            "nothing is replicated to the schema {schema:.100?}, which is not an application's"
        );
        let mut names = [schema, &self.table].into_iter().chain(&self.columns);
        ensure!(
            names.all(|name| is_name(name)),
            "shape {id} has an empty name, or one of more than {NAME_BYTES_MAX} bytes"
        );
        let mut types = self.types.iter().chain(&self.generated).chain(self.key_collations.iter().flatten());
        ensure!(
            types.all(|text| text.len() <= TYPE_BYTES_MAX),
            "shape {id} has a type of more than {TYPE_BYTES_MAX} bytes"
        );
        let counts = [self.columns.len(), self.types.len(), self.generated.len(), self.key.len()];
        ensure!(
            counts.into_iter().all(|count| count <= COLUMNS_MAX) && (1..=KEY_MAX).contains(&self.key.len()),
            "shape {id} has too many columns, or {} in its key",
            self.key.len()
        );
        let (columns, key) = (distinct(&self.columns), distinct(&self.key));
        ensure!(
            columns.len() == self.columns.len() && key.len() == self.key.len(),
            "shape {id} has a column twice"
        );
        ensure!(key.is_subset(&columns), "shape {id} lacks a column that is in its key");
        ensure!(
            self.key_collations.as_ref().is_none_or(|known| known.len() == self.key.len()),
            "shape {id} does not say of each column of its key how texts compare"
        );
        Ok(())
    }

    /// What it counts for in [`NAMES_MAX`].
    fn weight(&self) -> usize {
        1 + self.texts().count()
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &String> {
        let names = [&self.schema, &self.table];
        let of_columns = [&self.columns, &self.key, &self.types, &self.generated];
        names.into_iter().chain(of_columns.into_iter().flatten()).chain(self.key_collations.iter().flatten())
    }

    /// Whether both are forms of one table's rows, and not the same.
    pub fn is_another_form_of(&self, other: &Shape) -> bool {
        self.schema == other.schema && self.table == other.table && self != other
    }

    /// Whether both are forms of one table's rows in which a row has the same key: an event of one shape may
    /// follow an event of the other.
    pub fn has_keys_of(&self, other: &Shape) -> bool {
        self.schema == other.schema
            && self.table == other.table
            && self.key == other.key
            && self.key_types().eq(other.key_types())
    }

    /// The types of the key's columns; none for a column of which the source does not say it.
    fn key_types(&self) -> impl Iterator<Item = Option<&String>> {
        self.key.iter().map(|key| {
            let number = self.columns.iter().position(|column| column == key)?;
            self.types.get(number)
        })
    }
}

/// Whether a schema is this program's, or PostgreSQL's, which keeps all names with `pg_` to itself. Whoever may
/// publish could otherwise move the position, or write to a catalog.
fn is_systems(schema: &str) -> bool {
    schema == "replication" || schema == "information_schema" || schema.starts_with("pg_")
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

fn distinct(names: &[String]) -> HashSet<&str> {
    names.iter().map(String::as_str).collect()
}

/// The shapes of a message.
pub(super) fn shapes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Shape>, D::Error> {
    at_most_of(deserializer, NAMES_MAX, Shape::weight)
}

/// Fails where a message cannot have these shapes.
pub(super) fn check_shapes(shapes: &[Shape]) -> Result<()> {
    ensure!(
        shapes.iter().map(Shape::weight).sum::<usize>() <= NAMES_MAX,
        "the tables of a message have more than {NAMES_MAX} names together"
    );
    shapes.iter().try_for_each(Shape::check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(schema: &str) -> Shape {
        let columns = vec!["id".to_owned()];
        Shape {
            id: 1,
            schema: schema.to_owned(),
            table: "position".to_owned(),
            key: columns.clone(),
            columns,
            types: vec![],
            generated: vec![],
            key_collations: None,
        }
    }

    #[test]
    fn nothing_reaches_a_schema_that_is_not_an_applications() {
        for schema in [
            "replication",
            "information_schema",
            "pg_catalog",
            "pg_toast",
            "pg_temp",
            "pg_temp_3",
            "pg_toast_temp_1",
            "pg_toast_temp_99",
            "pg_",
        ] {
            let error = shape(schema).check().unwrap_err().to_string();
            assert!(error.contains(schema) && error.contains("nothing is replicated to"), "{error}");
        }
        for schema in [
            "public",
            "Replication",
            "replication2",
            "PG_catalog",
            "pgcatalog",
            "my.replication",
            " replication",
        ] {
            shape(schema).check().unwrap();
        }
    }

    #[test]
    fn a_table_that_cannot_be_is_refused() {
        let names = |count: usize| -> Vec<String> { (0..count).map(|number| number.to_string()).collect() };
        let wrong = |change: &dyn Fn(&mut Shape)| {
            let mut shape = shape("public");
            change(&mut shape);
            assert!(shape.check().is_err(), "{shape:.300?}");
        };
        wrong(&|shape| shape.schema.clear());
        wrong(&|shape| shape.table.clear());
        wrong(&|shape| shape.table = "t".repeat(NAME_BYTES_MAX + 1));
        wrong(&|shape| shape.columns.push(String::new()));
        wrong(&|shape| shape.columns.push("c".repeat(NAME_BYTES_MAX + 1)));
        wrong(&|shape| shape.columns.push("id".to_owned()));
        wrong(&|shape| shape.columns = [names(COLUMNS_MAX), shape.key.clone()].concat());
        wrong(&|shape| shape.key.clear());
        wrong(&|shape| shape.key.push("id".to_owned()));
        wrong(&|shape| shape.key[0] = "number".to_owned());
        wrong(&|shape| {
            shape.columns = names(KEY_MAX + 1);
            shape.key.clone_from(&shape.columns);
        });
        wrong(&|shape| shape.types = vec!["t".repeat(TYPE_BYTES_MAX + 1)]);
        wrong(&|shape| shape.types = names(COLUMNS_MAX + 1));
        wrong(&|shape| shape.generated = names(COLUMNS_MAX + 1));
        wrong(&|shape| shape.key_collations = Some(names(2)));
        let mut largest = shape("public");
        largest.columns = names(COLUMNS_MAX);
        largest.key = names(KEY_MAX);
        largest.check().unwrap();
    }
}
