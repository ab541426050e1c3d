//! What to run, as the messages say it: `…; run: STATEMENT;`.

/// The statement that a message asks to be run, with its semicolon; none where it asks for none.
pub fn statement_in(message: &str) -> Option<&str> {
    let (_, statement) = message.split_once("run: ")?;
    let mut quote = None;
    for (at, character) in statement.char_indices() {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (character, Some(begun)) if character == begun => quote = None,
            (';', None) => return Some(&statement[..=at]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_at_its_own_semicolon() {
        for (message, statement) in [
            (
                "tick 3: the table has no column \"a;b\"; run: ALTER TABLE t ADD COLUMN \"a;b\" text; -- more: ERROR",
                Some("ALTER TABLE t ADD COLUMN \"a;b\" text;"),
            ),
            (
                "p may not write to t; run: select replication.accept('o''neil;', 'p');",
                Some("select replication.accept('o''neil;', 'p');"),
            ),
            ("duplicate key value violates unique constraint", None),
            ("it has been cut: run: ALTER TABLE t", None),
        ] {
            assert_eq!(statement_in(message), statement, "{message}");
        }
    }
}
