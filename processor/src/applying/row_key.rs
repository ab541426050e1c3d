//! The key that a row has, in the text that an event of it would carry.
//!
//! Where keys are equal though their text differs, this tells which of them a row of the source has now. A
//! statement that spells a key otherwise is captured as one event for the old key, which is gone, and one for
//! the new key with the row; by the target's equality both are one key. What is gone is the old text only.

use shared::wire::Shape;

/// The text of the key in a row's text; none where the row is not of this shape.
pub(super) fn key_of_row(shape: &Shape, row: &str) -> Option<String> {
    let fields = fields(row);
    if fields.len() != shape.columns.len() {
        return None;
    }
    let key = shape.key.iter().map(|name| {
        let number = shape.columns.iter().position(|column| column == name)?;
        fields.get(number).copied()
    });
    Some(format!("({})", key.collect::<Option<Vec<_>>>()?.join(",")))
}

/// Whether an event says of another key, equal to that of the row `present`, that it is gone.
pub(super) fn is_of_another_key(shape: &Shape, gone: &str, present: &str) -> bool {
    key_of_row(shape, present).is_some_and(|key| key != gone)
}

/// The fields of a row's text, quoted as they are there.
fn fields(row: &str) -> Vec<&str> {
    let row = row.strip_prefix('(').and_then(|row| row.strip_suffix(')')).unwrap_or(row);
    let mut fields = Vec::new();
    let (mut begin, mut is_quoted) = (0, false);
    for (end, byte) in row.bytes().enumerate() {
        match byte {
            // A quote within a quoted field is doubled.
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                fields.push(&row[begin..end]);
                begin = end + 1;
            }
            _ => {}
        }
    }
    fields.push(&row[begin..]);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(columns: &[&str], key: &[&str]) -> Shape {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Shape {
            id: 1,
            schema: "public".to_owned(),
            table: "t".to_owned(),
            columns: names(columns),
            key: names(key),
            types: vec![],
            generated: vec![],
            key_collations: None,
        }
    }

    #[test]
    fn the_key_of_a_row_is_found_in_its_text_however_it_is_quoted() {
        let shape = shape(&["v", "b", "a"], &["a", "b"]);
        assert_eq!(key_of_row(&shape, "(x,2,1)").unwrap(), "(1,2)");
        assert_eq!(key_of_row(&shape, r#"("x, ""y""","",""")" ,1)"#), None);
        assert_eq!(key_of_row(&shape, r#"("a, ""b"", \\","c,d","e""f\\")"#).unwrap(), r#"("e""f\\","c,d")"#);
        assert_eq!(key_of_row(&shape, "(,,)").unwrap(), "(,)");
        assert_eq!(key_of_row(&shape, "(x,2)"), None);
        assert!(is_of_another_key(&shape, "(1.0,2)", "(x,2,1)"));
        assert!(!is_of_another_key(&shape, "(1,2)", "(x,2,1)"));
    }
}
