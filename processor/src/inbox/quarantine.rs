//! Messages that are of no use here.

use anyhow::{Context, Result};
use postgres::Transaction;
use std::collections::VecDeque;

/// Of a group, so many messages are kept; the others are only counted.
const KEPT_OF_A_GROUP: usize = 100;
/// What is kept of a long message.
const BYTES_KEPT: usize = 64 * 1024;

/// Messages of one group that are of no use here: the last ones, and how many there were.
#[derive(Default)]
pub(crate) struct Unusable<'a> {
    count: i64,
    /// Each with the reason.
    last: VecDeque<(String, &'a [u8])>,
}

impl<'a> Unusable<'a> {
    pub(crate) fn add(&mut self, reason: String, message: &'a [u8]) {
        self.count += 1;
        self.last.push_back((reason, message));
        if self.last.len() > KEPT_OF_A_GROUP {
            self.last.pop_front();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Puts messages into quarantine, in one statement. The table is bounded: it keeps the last ones, and counts all.
pub(crate) fn quarantine(transaction: &mut Transaction<'_>, messages: &Unusable<'_>) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let last = || messages.last.iter();
    let reasons: Vec<&[u8]> = last().map(|(reason, _)| reason.as_bytes()).collect();
    let beginnings: Vec<&[u8]> =
        last().map(|(_, message)| &message[..message.len().min(BYTES_KEPT)]).collect();
    let sizes = last().map(|(_, message)| i64::try_from(message.len())).collect::<Result<Vec<_>, _>>()?;
    transaction
        .execute(
            "select replication.set_aside($1, $2, $3, $4)",
            &[&messages.count, &reasons, &beginnings, &sizes],
        )
        .context("put messages into quarantine")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_messages_the_last_ones_are_kept_and_all_are_counted() {
        let mut unusable = Unusable::default();
        assert!(unusable.is_empty());
        for number in 0..1000 {
            unusable.add(number.to_string(), b"x");
        }
        assert_eq!((unusable.count, unusable.last.len()), (1000, KEPT_OF_A_GROUP));
        assert_eq!(unusable.last[0].0, "900");
    }
}
