//! Whether keys that differ in the source differ in the target, and equal ones are equal.

use super::statements::{Column, quote};
use shared::wire::Shape;

/// What is wrong with the types or collations of the key's columns, and what to run; none where nothing is.
pub(super) fn other_key_types(shape: &Shape, name: &str, key: &[&Column]) -> Option<String> {
    let mut differences = Vec::new();
    for column in key {
        let number = shape.columns.iter().position(|known| *known == column.name)?;
        // Sources of older versions do not say it.
        let source_type = shape.types.get(number)?;
        differences.extend(
            Difference::of_types(column, source_type).or_else(|| {
                Difference::of_collations(column, source_type, equal_texts(shape, &column.name)?)
            }),
        );
    }
    let what = differences.first()?.what;
    let list = |part: fn(&Difference) -> &str, separator| {
        differences.iter().map(part).collect::<Vec<_>>().join(separator)
    };
    Some(format!(
        "the key of the target's table {name} has another {what} than in the source: {}, so keys that differ there may be \
         equal here, or the other way round; run: ALTER TABLE {name} {}; -- if it has rows, then, in the source: select \
         replication.resend('{name}');",
        list(|difference| &difference.words, " and "),
        list(|difference| &difference.remedy, ", ")
    ))
}

/// How a column of the key differs from the source's.
struct Difference {
    /// "type" or "collation".
    what: &'static str,
    words: String,
    /// An action of ALTER TABLE.
    remedy: String,
}

impl Difference {
    fn of_types(column: &Column, source_type: &str) -> Option<Difference> {
        let name = quote(&column.name);
        let target_type = &column.declared_type;
        (!keeps_keys_apart(source_type, target_type, column.equal_texts.is_empty())).then(|| Difference {
            what: "type",
            words: format!("{name} is {source_type} there and {target_type} here"),
            remedy: format!("ALTER COLUMN {name} TYPE {source_type} USING {name}::{source_type}"),
        })
    }

    /// A target that takes fewer texts for equal than the source is told of each key by its own text.
    fn of_collations(column: &Column, source_type: &str, equal_in_source: &str) -> Option<Difference> {
        let (name, equal_here) = (quote(&column.name), &column.equal_texts);
        let collation = if equal_in_source.is_empty() { "" } else { " COLLATE ..." };
        (!equal_here.is_empty() && equal_here != equal_in_source).then(|| Difference {
            what: "collation",
            words: format!(
                "{name} takes different texts for equal by {equal_here} here, and {} there",
                match equal_in_source {
                    "" => "none".to_owned(),
                    equal => format!("by {equal}"),
                }
            ),
            remedy: format!("ALTER COLUMN {name} TYPE {source_type}{collation}"),
        })
    }
}

/// Which different texts the source takes for equal in this column of the key; none where it does not say.
fn equal_texts<'a>(shape: &'a Shape, column: &str) -> Option<&'a str> {
    let number = shape.key.iter().position(|key| key == column)?;
    shape.key_collations.as_ref()?.get(number).map(String::as_str)
}

/// Whether values of the source's type, read by the target's, are equal exactly where they were. The types as
/// `format_type` writes them.
fn keeps_keys_apart(source: &str, target: &str, is_deterministic: bool) -> bool {
    const INTEGERS: [&str; 4] = ["smallint", "integer", "bigint", "numeric"];
    if source == target || is_in_another_schema(source, target) {
        return true;
    }
    let ((source, source_modifier), (target, target_modifier)) = (split(source), split(target));
    let rank = |name: &str| INTEGERS.iter().position(|known| *known == name);
    match (source.as_str(), target.as_str()) {
        ("character varying", "character varying") => {
            is_deterministic && is_wider(source_modifier, target_modifier)
        }
        ("character varying", "text") | ("text", "character varying") => {
            is_deterministic && target_modifier.is_none()
        }
        (one, other) if one == other => target_modifier.is_none(),
        (one, other) => target_modifier.is_none() && rank(one) < rank(other) && rank(one).is_some(),
    }
}

/// A type of an extension, say, which is in one schema there and in another here.
fn is_in_another_schema(source: &str, target: &str) -> bool {
    let name = |type_name: &'_ str| type_name.rsplit_once('.').map(|(_, name)| name.to_owned());
    !source.contains('"') && name(source).is_some() && name(source) == name(target)
}

/// "timestamp(0) without time zone" as "timestamp without time zone" and "0".
fn split(type_name: &str) -> (String, Option<&str>) {
    let parts = type_name.split_once('(').and_then(|(begin, rest)| Some((begin, rest.split_once(')')?)));
    match parts {
        Some((begin, (modifier, end))) => (format!("{begin}{end}"), Some(modifier)),
        None => (type_name.to_owned(), None),
    }
}

fn is_wider(source: Option<&str>, target: Option<&str>) -> bool {
    let length = |modifier: Option<&str>| modifier.map_or(Some(u32::MAX), |length| length.parse().ok());
    length(source) <= length(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_type_or_gets_a_wider_one() {
        let same = ["integer", "numeric(10,2)", "public.mood", "timestamp(0) with time zone", "text"];
        assert!(same.iter().all(|name| keeps_keys_apart(name, name, false)));
        let wider = [
            ("smallint", "integer"),
            ("integer", "bigint"),
            ("smallint", "numeric"),
            ("numeric(10,2)", "numeric"),
            ("character varying(20)", "character varying(21)"),
            ("character varying(20)", "character varying"),
            ("character varying(20)", "text"),
            ("text", "character varying"),
            ("timestamp(0) without time zone", "timestamp without time zone"),
            ("numeric(4,0)[]", "numeric[]"),
            ("public.citext", "ext.citext"),
        ];
        let others = [
            ("numeric", "smallint"),
            ("text", "character varying(20)"),
            ("bigint", "integer"),
            ("numeric", "integer"),
            ("integer", "numeric(4,0)"),
            ("numeric", "numeric(10,2)"),
            ("numeric(10,2)", "numeric(10,3)"),
            ("character varying(20)", "character varying(19)"),
            ("text", "public.citext"),
            ("public.citext", "text"),
            ("timestamp with time zone", "timestamp(0) with time zone"),
            ("timestamp with time zone", "timestamp without time zone"),
            ("uuid", "text"),
            ("text", "uuid"),
            ("public.mood", "public.anger"),
            ("a.\"x.mood\"", "a.\"y.mood\""),
            ("date", "numeric"),
        ];
        for (source, target) in wider {
            assert!(keeps_keys_apart(source, target, true), "{source} to {target}");
        }
        for (source, target) in others {
            assert!(!keeps_keys_apart(source, target, true), "{source} to {target}");
        }
        assert!(
            !keeps_keys_apart("character varying", "text", false),
            "by a collation in which texts are equal"
        );
    }
}
