//! Which columns of a table can be compared with the source's by their text.

use super::definition::{columns, require_same_key, require_trusted_code};
use super::keys::other_key_types;
use super::lacking::{carried_columns, find, hold};
use super::refusal::denied;
use super::statements::{Column, quote};
use anyhow::{Context, Result};
use postgres::GenericClient;
use shared::wire::Shape;

/// A table as it can be compared.
pub(crate) struct Comparable {
    pub(crate) relation: u32,
    /// Schema and name, as SQL has them.
    pub(crate) name: String,
    /// In the source's order.
    pub(crate) columns: Vec<String>,
}

/// Looks up the table of a shape. An error that carries [`Fault::Hold`](shared::fault::Fault::Hold) says why
/// its rows are no rows of the source: as apply would say it.
pub(crate) fn comparable(client: &mut impl GenericClient, shape: &Shape) -> Result<Comparable> {
    let name = format!("{}.{}", quote(&shape.schema), quote(&shape.table));
    let (relation, role) = find(client, &name)?;
    let row = client
        .query_one("select pg_catalog.has_table_privilege($1::oid, 'select') and pg_catalog.has_table_privilege($1::oid, 'insert')", &[&relation])
        .context("look up the rights on a table")?;
    if !row.get::<_, bool>(0) {
        return Err(hold(denied(&name, &role)));
    }
    require_trusted_code(client, relation, name.as_str())?;
    let known = columns(client, relation)?;
    let carried = carried_columns(shape, &name, &known)?;
    require_same_key(client, shape, relation, &name)?;
    let key: Vec<&Column> = known.iter().filter(|column| shape.key.contains(&column.name)).collect();
    if let Some(difference) = other_key_types(shape, &name, &key) {
        return Err(hold(difference));
    }
    let is_comparable = |(number, column): &(usize, &&Column)| {
        shape.key.contains(&column.name)
            || !column.generated
                && shape.types.get(*number).is_none_or(|ours| has_same_text(ours, &column.declared_type))
    };
    let columns = carried.iter().enumerate().filter(is_comparable);
    Ok(Comparable { relation, name, columns: columns.map(|(_, column)| column.name.clone()).collect() })
}

/// Whether a value that was written as one type and read as the other has the same text as before.
fn has_same_text(ours: &str, theirs: &str) -> bool {
    let family = |name: &str| match name {
        "smallint" | "integer" | "bigint" => 1,
        "text" | "character varying" => 2,
        name if name.starts_with("character varying(") => 2,
        _ => 0,
    };
    ours == theirs || family(ours) != 0 && family(ours) == family(theirs)
}

#[cfg(test)]
mod tests {
    use super::has_same_text;

    #[test]
    fn types_of_which_the_text_differs_are_not_compared() {
        for (ours, theirs) in
            [("integer", "bigint"), ("character varying(10)", "text"), ("public.mood", "public.mood")]
        {
            assert!(has_same_text(ours, theirs), "{ours} {theirs}");
        }
        for (ours, theirs) in [
            ("json", "jsonb"),
            ("numeric(10,2)", "numeric(10,4)"),
            ("timestamp without time zone", "timestamp with time zone"),
            ("character(3)", "text"),
            ("integer", "text"),
        ] {
            assert!(!has_same_text(ours, theirs), "{ours} {theirs}");
        }
    }
}
