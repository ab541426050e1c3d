//! Whether both sides are equal, as the continuous verification knows.

use super::needs::{Need, need};
use crate::level::Level;
use serde::{Deserialize, Serialize};

/// What is asked of a side, where its view is `replication.verification_of_…`.
pub(super) fn query(view: &str) -> String {
    format!(
        "select count(*) as tables, count(*) filter (where state = 'unknown') as unknown,
                min(verified_at) filter (where state = 'equal') as equal_since,
                coalesce(array_agg(table_name order by table_name) filter (where state = 'differs'), '{{}}') as differing,
                coalesce(array_agg(remedy order by table_name) filter (where state = 'differs'), '{{}}') as remedies
         from replication.{view}"
    )
}

/// Of all attached tables, as one side knows it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Verification {
    pub(crate) tables: i64,
    /// Tables of which it is not known now.
    pub(crate) unknown: i64,
    /// When the round was complete that is the oldest of those that found a table equal.
    pub(crate) equal_since: Option<String>,
    pub(crate) differing: Vec<String>,
    /// What mends each of them, and in which database.
    pub(crate) remedies: Vec<Option<String>>,
}

impl Verification {
    /// In one line; none where there is nothing to compare.
    pub(super) fn words(&self) -> Option<String> {
        let Verification { tables, unknown, equal_since, differing, .. } = self;
        if *tables == 0 {
            return None;
        }
        if !differing.is_empty() {
            return Some(format!("no: {} of {tables} tables differ", differing.len()));
        }
        let equal = tables - unknown;
        let since = equal_since.as_ref().map_or_else(String::new, |since| format!(", proven since {since}"));
        Some(match (equal, unknown) {
            (0, _) => "unknown for now; select table_name, reason from replication.verification".to_owned(),
            (_, 0) => format!("all {tables} tables{since}"),
            _ => format!("{equal} of {tables} tables{since}; unknown for the others"),
        })
    }

    pub(super) fn needs(&self) -> impl Iterator<Item = Need> {
        self.differing.iter().zip(&self.remedies).map(|(table, remedy)| {
            let next = remedy.as_deref().unwrap_or("select * from replication.verification");
            need(Level::Critical, &format!("{table} differs in B"), next)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_said_of_what_is_known_and_of_nothing_else() {
        let known = Verification {
            tables: 3,
            equal_since: Some("2026-11-30T08:00:00+00:00".to_owned()),
            ..Verification::default()
        };
        let words = |verification: Verification| verification.words().unwrap();
        assert_eq!(words(known.clone()), "all 3 tables, proven since 2026-11-30T08:00:00+00:00");
        let some = Verification { unknown: 1, ..known.clone() };
        let expected = "2 of 3 tables, proven since 2026-11-30T08:00:00+00:00; unknown for the others";
        assert_eq!(words(some), expected);
        assert!(
            words(Verification { unknown: 3, equal_since: None, ..known.clone() }).starts_with("unknown")
        );
        let differs = Verification {
            differing: vec!["public.users".to_owned()],
            remedies: vec![Some("select replication.resend('users');".to_owned())],
            ..known
        };
        assert_eq!(words(differs.clone()), "no: 1 of 3 tables differ");
        let needs: Vec<Need> = differs.needs().collect();
        assert_eq!(
            (needs[0].what.as_str(), needs[0].next.as_str()),
            ("public.users differs in B", "select replication.resend('users');")
        );
        assert!(Verification::default().words().is_none());
    }
}
