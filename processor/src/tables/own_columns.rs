//! The statements for columns that only the target has.

use super::statements::{Parts, list, quote};

/// The statements for columns that the source does not know.
pub(super) struct OwnColumns {
    pub(super) names: Vec<String>,
    /// Whether a row `t` has the key of `k`.
    pub(super) same_key: String,
    /// Drops the temporary table for the values, if it exists.
    pub(super) forget: String,
    /// Creates it, unless it exists.
    pub(super) create: String,
    /// Copies the values of the rows with these keys into it.
    pub(super) keep: String,
    /// Copies the values of the rows with the first keys into it, under the second keys.
    pub(super) keep_moved: String,
    /// Inserts the rows for which it has values, with these.
    pub(super) insert_kept: String,
    /// Inserts the other rows.
    pub(super) insert_new: String,
}

impl Parts<'_> {
    pub(super) fn own_columns(&self) -> Option<OwnColumns> {
        if self.own.is_empty() {
            return None;
        }
        let kept = format!("pg_temp.kept_{}", self.number);
        let fields = list(&self.key, |column| format!("t.{}", quote(&column.name)));
        let own = |prefix: &str| list(&self.own, |column| format!("{prefix}{}", quote(&column.name)));
        let columns =
            |prefix: &str| list(&self.written(), |column| format!("{prefix}{}", quote(&column.name)));
        let kept_key = &self.kept_key;
        Some(OwnColumns {
            names: self.own.iter().map(|column| column.name.clone()).collect(),
            same_key: self.same_key.clone(),
            forget: format!("drop table if exists {kept}"),
            create: format!(
                "create temporary table if not exists kept_{} on commit drop as
                 select {fields}, {} from {} t limit 0",
                self.number,
                own("t."),
                self.name
            ),
            keep: format!(
                "insert into {kept} select {fields}, {} from {} t, {} k where {}",
                own("t."),
                self.name,
                self.few_keys(),
                self.same_key
            ),
            keep_moved: format!(
                "insert into {kept} select {}, {}
                 from rows from (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) as moved (former, present)
                 cross join lateral pg_catalog.unnest(array[moved.former]::{key_type}[]) k
                 cross join lateral pg_catalog.unnest(array[moved.present]::{key_type}[]) n
                 join {} t on {}",
                list(&self.key, |column| format!("n.{}", quote(&column.name))),
                own("t."),
                self.name,
                self.same_key,
                key_type = self.key_type()
            ),
            insert_kept: format!(
                "insert into {} ({}, {}) overriding system value select {}, {} from {} k join {kept} kept on {kept_key}",
                self.name,
                columns(""),
                own(""),
                columns("k."),
                own("kept."),
                self.rows()
            ),
            insert_new: format!(
                "insert into {} ({}) overriding system value select {} from {} k
                 where not exists (select from {kept} kept where {kept_key})",
                self.name,
                columns(""),
                columns("k."),
                self.rows()
            ),
        })
    }
}
