//! Whether rows that source and target have otherwise really differ.

use shared::wire::KeyHash;
use std::collections::{BTreeMap, HashSet};

/// How a row of the target differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The target has other values.
    OtherValues,
    /// The target has no such row.
    Missing,
    /// The source has no such row.
    OnlyThere,
}

impl Kind {
    /// As it is stored, and shown behind the key.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::OtherValues => "has other values",
            Kind::Missing => "is missing",
            Kind::OnlyThere => "is only there",
        }
    }
}

/// What was captured of a table between the snapshot that the target shows and the one in which the source
/// looks again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapturedSince {
    /// Anything at all.
    pub anything: bool,
    /// A TRUNCATE, or the beginning of a resend.
    pub emptied: bool,
    /// These keys, of those that were asked about.
    pub keys: HashSet<String>,
    /// Equal keys of the table have equal text.
    pub keys_are_exact: bool,
}

/// What became of rows that differed at first sight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// They differ, and no change that is still to come explains it.
    pub different: Vec<(String, Kind)>,
    /// They are the same.
    pub same: Vec<String>,
    /// They were changed meanwhile: nothing is known of them.
    pub changed: Vec<String>,
}

/// Why nothing can be said of any row that differs at first sight; none where it can.
pub fn undecided(since: &CapturedSince) -> Option<&'static str> {
    if since.emptied {
        Some("a TRUNCATE or resend of the table is under way")
    } else if since.anything && !since.keys_are_exact {
        Some("changes are under way that cannot be matched with rows by the text of their keys")
    } else {
        None
    }
}

/// Compares what the target has of some keys with what the source has of them, later: by then, it had
/// captured `since`.
///
/// What the target shows is a state that the source had. So a row of which nothing was captured since is in
/// the source what it has to be in the target, now.
pub fn judge(in_target: &[KeyHash], in_source: &BTreeMap<String, String>, since: &CapturedSince) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for KeyHash(key, theirs) in in_target {
        let ours = in_source.get(key);
        if ours == theirs.as_ref() {
            verdicts.same.push(key.clone());
        } else if since.keys.contains(key) {
            verdicts.changed.push(key.clone());
        } else {
            let kind = match (ours, theirs) {
                (Some(_), Some(_)) => Kind::OtherValues,
                (Some(_), None) => Kind::Missing,
                (None, _) => Kind::OnlyThere,
            };
            verdicts.different.push((key.clone(), kind));
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, hash: Option<&str>) -> KeyHash {
        KeyHash(key.to_owned(), hash.map(str::to_owned))
    }

    fn judged(theirs: Option<&str>, ours: Option<&str>, is_captured: bool) -> Verdicts {
        let in_source = ours.map(|hash| ("(1)".to_owned(), hash.to_owned())).into_iter().collect();
        let keys = is_captured.then(|| "(1)".to_owned()).into_iter().collect();
        let since = CapturedSince { anything: is_captured, emptied: false, keys, keys_are_exact: true };
        judge(&[row("(1)", theirs)], &in_source, &since)
    }

    #[test]
    fn only_a_row_of_which_nothing_was_captured_since_is_different() {
        for (theirs, ours, kind) in [
            (Some("a"), Some("b"), Kind::OtherValues),
            (None, Some("b"), Kind::Missing),
            (Some("a"), None, Kind::OnlyThere),
        ] {
            assert_eq!(judged(theirs, ours, false).different, [("(1)".to_owned(), kind)]);
            assert_eq!(judged(theirs, ours, true).changed, ["(1)"]);
        }
        for same in [Some("a"), None] {
            assert_eq!(judged(same, same, false).same, ["(1)"]);
            assert_eq!(judged(same, same, true).same, ["(1)"]);
        }
    }

    #[test]
    fn nothing_is_said_while_a_change_may_concern_any_row() {
        let calm = CapturedSince { keys_are_exact: false, ..CapturedSince::default() };
        assert_eq!(undecided(&calm), None);
        let busy = CapturedSince { anything: true, ..calm };
        assert!(undecided(&busy).is_some());
        let exact = CapturedSince { keys_are_exact: true, ..busy };
        assert_eq!(undecided(&exact), None);
        assert!(undecided(&CapturedSince { emptied: true, ..exact }).is_some());
    }
}
