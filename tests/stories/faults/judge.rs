//! What must hold: for every state that a reader of the target sees, and at the end.

use super::load::{Told, WRITERS};
use crate::harness::{Door, Replication, assert_equal, assert_same, count};
use postgres::Client;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One state, in one statement and so in one snapshot: the sum of all money, how far each writer is, whether
/// a transaction is there without one that it saw, and whether one of the last 50 of a writer is missing.
const STATE: &str = "
    with heads as (select w, coalesce((select max(n) from ledger where writer = w), 0) as n
                   from generate_series(1, $1::int) w)
    select (select sum(amount)::text from payments),
           (select string_agg(n::text, ' ' order by w) from heads),
           exists (select from heads h join ledger l on l.writer = h.w and l.n = h.n,
                          unnest(l.seen) with ordinality s (n, w) join heads other on other.w = s.w
                   where s.n > other.n),
           exists (select from heads h
                   where (select count(*) from ledger l where l.writer = h.w and l.n > h.n - 50) <> least(h.n, 50))";
const READ_PACE: Duration = Duration::from_millis(5);

/// The reader of the target: each call reads one state, and counts the distinct ones that it has seen.
pub(super) fn watch<'a>(target: &'a Door, total: &'a str, seen: &'a AtomicUsize) -> impl FnMut() + Send + 'a {
    let mut states = HashSet::new();
    let mut client = None;
    move || {
        std::thread::sleep(READ_PACE);
        let Some(reader) = client.as_mut() else {
            client = target.connect();
            return;
        };
        let state = state(reader, total);
        if state.is_none() {
            client = None;
        }
        states.extend(state);
        seen.store(states.len(), Ordering::Release);
    }
}

/// None where the target does not answer.
fn state(client: &mut Client, total: &str) -> Option<String> {
    let row = client.query_one(STATE, &[&i32::try_from(WRITERS).unwrap()]).ok()?;
    let (sum, heads): (&str, &str) = (row.get(0), row.get(1));
    assert_eq!(sum, total, "a reader of the target saw part of a transaction, at {heads}");
    assert!(!row.get::<_, bool>(2), "the target had a state that no snapshot of the source had, at {heads}");
    assert!(!row.get::<_, bool>(3), "a transaction was missing between others, at {heads}");
    Some(heads.to_owned())
}

/// What the load was, as the target has it.
pub(super) struct Carried {
    pub(super) transactions: i64,
    pub(super) events: i64,
}

/// Fails unless all is well at the end, when nothing is on its way any more.
pub(super) fn judge(replication: &Replication, told: &Told) -> Carried {
    assert_equal(replication);
    assert_same(replication, &["ledger"]);
    let (mut source, mut target) = (replication.source(), replication.target());
    for writer in 1..=WRITERS {
        let rows = format!("from ledger where writer = {writer}");
        let (last, all) = (
            count(&mut source, &format!("select coalesce(max(n), 0) {rows}")),
            count(&mut source, &format!("select count(*) {rows}")),
        );
        assert!(
            last >= told.last(writer),
            "writer {writer} was told of {}, and {last} is the last",
            told.last(writer)
        );
        assert_eq!(all, last, "commits of writer {writer} are missing");
    }
    judge_audit(&mut target);
    let held = target.query_one("select held_error from replication.target_status", &[]).unwrap();
    assert_eq!(held.get::<_, Option<String>>(0), None);
    assert_eq!(count(&mut target, "select count(*) from replication.quarantine"), 0);
    Carried {
        transactions: count(&mut target, "select count(*) from ledger"),
        events: count(&mut target, "select count(*) from replication.processed_events"),
    }
}

/// Every write to the target's tables, in the order in which they were made.
fn judge_audit(target: &mut Client) {
    let twice = "select count(*) from (
                     select from audit group by relation, operation, id, row_text having count(*) > 1) twice";
    assert_eq!(count(target, twice), 0, "a state was applied twice");
    let appended = "select (count(*) filter (where operation = 'INSERT') - (select count(*) from ledger))
                         + count(*) filter (where operation <> 'INSERT') from audit where relation = 'ledger'";
    assert_eq!(count(target, appended), 0, "the ledger was not written once for each row");
    for table in ["users", "payments"] {
        let back = format!(
            "select count(*) from (
                 select (row_text::{table}).updated_at
                        < lag((row_text::{table}).updated_at) over (partition by id order by at) as back
                 from audit where relation = '{table}' and row_text is not null) steps where back"
        );
        assert_eq!(count(target, &back), 0, "a row of {table} went back in time");
    }
}
