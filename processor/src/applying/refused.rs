//! Which source transaction of a tick PostgreSQL refuses.

use super::attempt::Attempt;
use super::operator;
use crate::inbox::StoredBatches;
use crate::tables::Tables;
use anyhow::Result;
use postgres::Transaction;
use std::collections::HashSet;

/// In a tick with more events, it is not searched.
const SEARCHED_EVENTS_MAX: usize = 10_000;

/// The first source transaction with which PostgreSQL refuses the one tick of `attempt`, if the tick is not
/// refused for the same reason without it: then it cannot be told. Found by halving; whatever is tried is
/// rolled back.
pub(super) fn refused_transaction(
    transaction: &mut Transaction<'_>,
    tables: &mut Tables,
    attempt: &Attempt<'_>,
    error: &str,
) -> Result<Option<i64>> {
    let Some(txids) = transactions(transaction, attempt)? else { return Ok(None) };
    let mut refusal_without = |txids: &[i64]| -> Result<Option<String>> {
        let only = txids.iter().copied().collect();
        refusal(transaction, tables, &Attempt { only: Some(&only), ..*attempt })
    };
    // Those before are not refused; those up to `with` are.
    let (mut without, mut with) = (0, txids.len());
    while with - without > 1 {
        let middle = without + (with - without) / 2;
        if refusal_without(&txids[..middle])?.is_some() { with = middle } else { without = middle }
    }
    let Some(candidate) = txids.get(without).copied() else { return Ok(None) };
    if txids.len() == 1 {
        return Ok(Some(candidate));
    }
    let others: Vec<i64> = txids.into_iter().filter(|txid| *txid != candidate).collect();
    let is_refused_without_it = refusal_without(&others)?.is_some_and(|without| without == error);
    Ok((!is_refused_without_it).then_some(candidate))
}

/// The source transactions of the tick, in order, but for those that are skipped. None where there are too many
/// events.
fn transactions(transaction: &mut Transaction<'_>, attempt: &Attempt<'_>) -> Result<Option<Vec<i64>>> {
    let skipped = operator::skipped(transaction)?;
    let mut stored = StoredBatches::up_to(attempt.before, attempt.up_to);
    let (mut txids, mut known, mut events) = (Vec::new(), HashSet::new(), 0);
    loop {
        let batches = stored.next(transaction)?;
        if batches.is_empty() {
            return Ok(Some(txids));
        }
        for event in batches.iter().flat_map(|batch| &batch.events) {
            if !skipped.contains(&event.txid) && known.insert(event.txid) {
                txids.push(event.txid);
            }
            events += 1;
        }
        if events > SEARCHED_EVENTS_MAX {
            return Ok(None);
        }
    }
}

/// Why the attempt is refused, if it is. Nothing of it is kept.
fn refusal(
    transaction: &mut Transaction<'_>,
    tables: &mut Tables,
    attempt: &Attempt<'_>,
) -> Result<Option<String>> {
    let mut trial = transaction.savepoint("trial")?;
    let refusal = attempt.run(&mut trial, tables)?.err().map(|refused| refused.error);
    trial.rollback()?;
    // Row types that were created are rolled back.
    tables.forget();
    Ok(refusal)
}
