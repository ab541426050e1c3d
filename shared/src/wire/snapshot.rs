//! A snapshot of the source, as text.

use anyhow::{Context, Error, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;

/// More is neither made nor read: some 10,000 transactions in progress.
const SNAPSHOT_MAX: usize = 128 * 1024;

/// Which transactions of the source are contained in a state, as `pg_snapshot` writes it:
/// `xmin:xmax:in,progress`. Always one that PostgreSQL can read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Snapshot(String);

impl Snapshot {
    /// The text of a `pg_snapshot`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Snapshot {
    type Error = Error;

    fn try_from(text: String) -> Result<Snapshot> {
        ensure!(text.len() <= SNAPSHOT_MAX, "a snapshot cannot have {} bytes", text.len());
        check(&text).with_context(|| format!("{text:.100?} is no snapshot"))?;
        Ok(Snapshot(text))
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// As `pg_snapshot_in` does: 1 ≤ xmin ≤ xmax; those in progress ascend, and are at least xmin and below xmax.
fn check(text: &str) -> Result<()> {
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().context("a part is missing");
    let (xmin, xmax) = (transaction(part()?)?, transaction(part()?)?);
    ensure!(1 <= xmin && xmin <= xmax, "its bounds are in the wrong order");
    let mut last = None;
    let in_progress = Some(part()?).filter(|list| !list.is_empty());
    for digits in in_progress.into_iter().flat_map(|list| list.split(',')) {
        let transaction = transaction(digits)?;
        ensure!(
            last.is_none_or(|last| last < transaction) && (xmin..xmax).contains(&transaction),
            "a transaction in progress is out of order"
        );
        last = Some(transaction);
    }
    Ok(())
}

fn transaction(digits: &str) -> Result<u64> {
    ensure!(digits.bytes().all(|byte| byte.is_ascii_digit()), "a transaction has only digits");
    Ok(digits.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_postgresql_can_read_is_a_snapshot() {
        for text in ["1:1:", "10:20:10,11,19", "740:18446744073709551615:"] {
            assert_eq!(Snapshot::try_from(text.to_owned()).unwrap().as_str(), text);
        }
        for text in [
            "",
            "1:1",
            "0:1:",
            "2:1:",
            "1:3:3",
            "2:3:1",
            "1:9:5,4",
            "1:9:4,4",
            "1:9:+4",
            "a:9:",
            "1:9: 4",
            "1:9:4:5",
            "1:9:4,",
            "1:9:,4",
            "1:18446744073709551616:",
        ] {
            assert!(Snapshot::try_from(text.to_owned()).is_err(), "{text}");
        }
        let long = format!("1:2:{}", "1".repeat(SNAPSHOT_MAX));
        assert!(Snapshot::try_from(long).unwrap_err().to_string().contains("cannot have"));
    }
}
