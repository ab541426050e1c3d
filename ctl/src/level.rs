//! How bad it is: the exit status, as Nagios and Icinga read it.

use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// In the order of exit statuses.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// All is well.
    Good,
    /// It is worth a look, or something differs.
    Warning,
    /// Somebody must act.
    Critical,
    /// It cannot be known, or nothing was done.
    Unknown,
}

impl Level {
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Level::Good => 0,
            Level::Warning => 1,
            Level::Critical => 2,
            Level::Unknown => 3,
        })
    }

    /// Of two, the one that the whole has. What is critical is so, whatever else is unknown; behind what is unknown there
    /// may be worse than a warning.
    pub(crate) fn or(self, other: Level) -> Level {
        let rank = |level| match level {
            Level::Good => 0,
            Level::Warning => 1,
            Level::Unknown => 2,
            Level::Critical => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }

    /// The one of all of these.
    pub(crate) fn of(levels: impl IntoIterator<Item = Level>) -> Level {
        levels.into_iter().fold(Level::Good, Level::or)
    }
}

#[cfg(test)]
mod tests {
    use super::Level::{Critical, Good, Unknown, Warning};
    use super::*;

    #[test]
    fn what_is_critical_is_so_whatever_is_unknown() {
        for (levels, expected) in [
            (&[][..], Good),
            (&[Good, Warning], Warning),
            (&[Warning, Unknown, Good], Unknown),
            (&[Unknown, Critical, Warning], Critical),
            (&[Critical, Unknown], Critical),
        ] {
            assert_eq!(Level::of(levels.iter().copied()), expected, "{levels:?}");
        }
    }
}
