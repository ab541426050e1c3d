//! The form of a table's rows, to which events refer.

use super::bounded::{at_most, at_most_of, some_at_most};
use anyhow::{Result, bail};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashSet;

/// Columns of a table: what PostgreSQL allows.
pub(super) const COLUMNS_MAX: usize = 1600;
/// Columns of a key: what PostgreSQL allows in an index.
pub(super) const KEY_MAX: usize = 32;
/// Names and types in all shapes of a message.
const NAMES_MAX: usize = 500_000;

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

    /// Fails where no table can have it.
    pub(super) fn check(&self) -> Result<()> {
        let columns: HashSet<&str> = self.columns.iter().map(String::as_str).collect();
        if columns.len() < self.columns.len() {
            bail!("shape {} has a column twice", self.id);
        }
        if self.key_collations.as_ref().is_some_and(|known| known.len() != self.key.len()) {
            bail!(
                "shape {} says of {} columns how texts compare, its key is {:?}",
                self.id,
                self.key_collations.iter().flatten().count(),
                self.key
            );
        }
        match self.key.iter().find(|column| !columns.contains(column.as_str())) {
            Some(column) => bail!("shape {} has no column {column:?}, which is in its key", self.id),
            None => Ok(()),
        }
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

/// The shapes of a message.
pub(super) fn shapes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Shape>, D::Error> {
    at_most_of(deserializer, NAMES_MAX, |shape: &Shape| 1 + shape.texts().count())
}
