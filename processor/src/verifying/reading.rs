//! Reading the target's rows to be compared with the source's, as of one moment.
//!
//! The transactions here are rolled back: code of a table's owner that runs while rows are read may change
//! settings of the session. Apply is not held up: rows are read as any reader reads them.

use crate::tables::{Comparable, comparable};
use anyhow::{Context, Result, anyhow, ensure};
use postgres::{Client, IsolationLevel, Transaction};
use shared::fault::{Fault, fault_of};
use shared::supervisor::Stop;
use shared::wire::{
    Answer, Compare, Compared, KeyHash, KeyRange, SLICE_BYTES_MAX, Shape, Snapshot, TOO_MUCH, Verify,
};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Whoever waits to alter a table waits as long for one reading, and apply behind him.
const SETTINGS: &str = "
    set search_path = pg_catalog; set statement_timeout = '3s'; set lock_timeout = '1s';
    set idle_in_transaction_session_timeout = '30s'; set default_transaction_deferrable = off; set row_security = off;
    set plan_cache_mode = force_custom_plan; set jit = off; set max_parallel_workers_per_gather = 0;
    set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off; set enable_hashjoin = off; set enable_mergejoin = off;
    select set_config(name, value, false) from replication.value_settings()";

/// How long the target is waited for, until it shows what the source has read.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);
const SHOWN_CHECK: Duration = Duration::from_millis(30);
/// So many more rows than the source has are read of a range.
const ROWS_BEYOND: usize = 1000;

/// Has the session read rows in the order of their keys, and write values as they travel.
pub(super) fn prepare_session(client: &mut Client) -> Result<()> {
    client.batch_execute(SETTINGS).context("prepare the session")
}

/// The source that this target follows.
pub(super) fn followed_source(client: &mut Client) -> Result<Option<String>> {
    let row = client
        .query_opt("select source from replication.position", &[])
        .context("read which source is followed")?;
    Ok(row.map(|row| row.get(0)))
}

/// Answers a question. Fails only where the session is of no use any more.
pub(super) fn answer(client: &mut Client, verify: &Verify, compare: &Compare, stop: &Stop) -> Result<Answer> {
    match try_to_answer(client, verify, compare, stop) {
        Err(error) if client.is_closed() => Err(error),
        Err(error) if fault_of(&error) == Fault::OutOfTime => {
            Ok(Answer::Unknown(format!("{TOO_MUCH}{error:#}")))
        }
        Err(error) => Ok(Answer::Unknown(format!("in the target: {error:#}"))),
        Ok(answer) => Ok(answer),
    }
}

fn try_to_answer(client: &mut Client, verify: &Verify, compare: &Compare, stop: &Stop) -> Result<Answer> {
    let table = comparable(client, &verify.shape)?;
    if table.columns != compare.columns {
        return Ok(Answer::Columns(table.columns));
    }
    if !is_shown(client, verify, compare, stop)? {
        return Ok(Answer::Unknown(why_not_shown(client)?));
    }
    read(client, verify, compare, &table).map(Answer::Compared)
}

/// Waits until this target shows what the source has read; false where it does not in time.
fn is_shown(client: &mut Client, verify: &Verify, compare: &Compare, stop: &Stop) -> Result<bool> {
    let token = format!("{}|s{}|{}", verify.timeline, compare.snapshot, verify.source);
    let tick = compare.tick;
    let deadline = Instant::now() + SHOWN_WITHIN;
    loop {
        let row = client
            .query_one(
                "select exists (select from replication.position where (applied_tick, applied_id) = ($2::bigint, $3::uuid))
                        or coalesce(replication.contains($1), false)",
                &[&token, &tick.map(|tick| tick.number), &tick.map(|tick| tick.id)],
            )
            .context("look whether the target shows what the source has read")?;
        if row.get(0) {
            return Ok(true);
        }
        if Instant::now() >= deadline || stop.wait(SHOWN_CHECK) {
            return Ok(false);
        }
    }
}

fn why_not_shown(client: &mut Client) -> Result<String> {
    let row = client
        .query_one(
            "select (select p.held_error from replication.position p),
                    (select pg_catalog.format('the target shows the source as of %s, which was %s ago', a.source_time, pg_catalog.date_trunc('second', a.behind))
                     from replication.as_of a)",
            &[],
        )
        .context("look why the target does not show what the source has read")?;
    let (held, behind): (Option<String>, Option<String>) = (row.get(0), row.get(1));
    Ok(match (held, behind) {
        (Some(held), _) => format!("apply is blocked in the target: {held}"),
        (None, Some(behind)) => behind,
        (None, None) => "the target has applied nothing yet".to_owned(),
    })
}

fn read(client: &mut Client, verify: &Verify, compare: &Compare, table: &Comparable) -> Result<Compared> {
    let mut transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .context("begin to read rows")?;
    // Before the snapshot: TRUNCATE would leave the table empty in an older one.
    transaction
        .batch_execute(&format!("lock table {} in access share mode", table.name))
        .with_context(|| format!("lock {}", table.name))?;
    let (tick, snapshot) = position(&mut transaction, verify, compare, table)?;
    let reader = Reader { table, key: &verify.shape.key, columns: &compare.columns };
    let (differing, more_after) = match &compare.range {
        None => (reader.others_of(&mut transaction, &compare.rows, &HashMap::new())?, None),
        Some(range) => reader.others_in(&mut transaction, range, &compare.rows)?,
    };
    transaction.rollback().context("end the reading")?;
    Ok(Compared { tick, snapshot, differing, more_after })
}

/// As of when the transaction shows the source. Fails where that, or the table, is not what it was before.
fn position(
    transaction: &mut Transaction<'_>,
    verify: &Verify,
    compare: &Compare,
    table: &Comparable,
) -> Result<(i64, Snapshot)> {
    let tick = compare.tick;
    let row = transaction
        .query_one(
            "select p.applied_tick,
                    case when (p.applied_tick, p.applied_id) = ($5::bigint, $6::uuid) then $7 when a.timeline = $2 then a.snapshot::text end,
                    p.source = $1,
                    (select c.reason from replication.code_refusal($3::oid::regclass, current_user::regrole) c),
                    pg_catalog.to_regclass($4) is not distinct from $3::oid::regclass
             from replication.position p cross join replication.as_of a",
            &[
                &verify.source,
                &verify.timeline,
                &table.relation,
                &table.name,
                &tick.map(|tick| tick.number),
                &tick.map(|tick| tick.id),
                &compare.snapshot.as_str(),
            ],
        )
        .context("read as of when the target shows the source")?;
    ensure!(row.get::<_, bool>(2), "the target follows another source by now");
    if let Some(reason) = row.get::<_, Option<String>>(3) {
        return Err(anyhow!("{reason}"));
    }
    ensure!(row.get::<_, bool>(4), "the table was created again meanwhile");
    let snapshot: Option<String> = row.get(1);
    let snapshot = snapshot.context("as of when the target shows the source is not known")?;
    Ok((row.get(0), Snapshot::try_from(snapshot)?))
}

struct Reader<'a> {
    table: &'a Comparable,
    key: &'a [String],
    columns: &'a [String],
}

impl Reader<'_> {
    /// The rows of a range that are not those of the source, and the source's rows that are not there. With
    /// the last key that was looked at, where there are too many.
    ///
    /// The range is that of the target's order, which may be another one than the source's. All ranges of a
    /// round together have each of the target's keys all the same: they lead from the beginning to the end,
    /// step by step, so one of them leads past it. And whether a row of the source is there is not asked of
    /// the range alone.
    fn others_in(
        &self,
        transaction: &mut Transaction<'_>,
        range: &KeyRange,
        ours: &[KeyHash],
    ) -> Result<(Vec<KeyHash>, Option<String>)> {
        let (rows_max, bytes_max) = (ours.len() + ROWS_BEYOND, 2 * SLICE_BYTES_MAX);
        let theirs = transaction
            .query(
                "select key, hash from replication.rows_between($1::oid::regclass, $2, $3, $4, $5, $6, $7)",
                &[
                    &self.table.relation,
                    &self.key,
                    &self.columns,
                    &range.after,
                    &range.up_to,
                    &i32::try_from(rows_max)?,
                    &i32::try_from(bytes_max)?,
                ],
            )
            .context("read the rows of a range")?;
        let bytes: usize = theirs.iter().map(|row| row.get::<_, &str>(0).len()).sum();
        let more_after = theirs.last().filter(|_| theirs.len() >= rows_max || bytes >= bytes_max);
        let more_after = more_after.map(|row| row.get(0));
        let theirs: HashMap<String, String> = theirs.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut others = self.others_of(transaction, ours, &theirs)?;
        let known: std::collections::HashSet<&str> = ours.iter().map(|row| row.0.as_str()).collect();
        let only_here = theirs.into_iter().filter(|(key, _)| !known.contains(key.as_str()));
        others.extend(only_here.map(|(key, hash)| KeyHash(key, Some(hash))));
        Ok((others, more_after))
    }

    /// Of the source's rows, those that the target has otherwise or has not; as it has them.
    fn others_of(
        &self,
        transaction: &mut Transaction<'_>,
        ours: &[KeyHash],
        read: &HashMap<String, String>,
    ) -> Result<Vec<KeyHash>> {
        let unread: Vec<&str> =
            ours.iter().map(|row| row.0.as_str()).filter(|key| !read.contains_key(*key)).collect();
        let looked_up = self.rows_of(transaction, &unread)?;
        let theirs = |key: &str| read.get(key).or_else(|| looked_up.get(key)).cloned();
        let others = ours.iter().map(|KeyHash(key, ours)| (key, ours, theirs(key)));
        let others = others.filter(|(_, ours, theirs)| *ours != theirs);
        Ok(others.map(|(key, _, theirs)| KeyHash(key.clone(), theirs)).collect())
    }

    fn rows_of(&self, transaction: &mut Transaction<'_>, keys: &[&str]) -> Result<HashMap<String, String>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = transaction
            .query(
                "select key, hash from replication.rows_of_keys($1::oid::regclass, $2, $3, $4)",
                &[&self.table.relation, &self.key, &self.columns, &keys],
            )
            .context("read the rows of these keys")?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}

/// For a shape of which the source tells something: stores what it says, if this target follows it and has
/// the table.
pub(super) fn store(
    client: &mut Client,
    source: &str,
    shape: &Shape,
    finding: &shared::wire::Finding,
) -> Result<()> {
    client
        .execute(
            STORE,
            &[
                &source,
                &shape.schema,
                &shape.table,
                &f64::from(finding.fresh_s),
                &finding.state.as_str(),
                &finding.trouble,
                &finding.as_of_tick,
                &finding.verified_at_us,
                &finding.looked_at_us,
                &finding.rows,
                &finding.rows_of_round,
                &i64::try_from(finding.differing.len())?,
                &finding.more_differ,
                &finding.differing,
                &finding.not_compared,
            ],
        )
        .context("store what the source has found")?;
    Ok(())
}

const STORE: &str = "
    with fast as (select set_config('synchronous_commit', 'off', true))
    insert into replication.verification_heard as h
        (relation, fresh_until, state, trouble, as_of_tick, verified_at, looked_at, rows, rows_of_round, differing_rows, more_differ,
         differing, not_compared)
    select c.oid, clock_timestamp() + make_interval(secs => $4), $5, $6, $7, timestamptz 'epoch' + $8::bigint * interval '1 microsecond',
           timestamptz 'epoch' + $9::bigint * interval '1 microsecond', $10, $11, $12, $13, $14, $15
    from fast
    join replication.position p on p.source = $1
    join pg_class c on c.oid = to_regclass(format('%I.%I', $2::text, $3::text)) and c.relkind in ('r', 'p')
    on conflict (relation) do update set heard_at = clock_timestamp(), fresh_until = excluded.fresh_until, state = excluded.state,
        trouble = excluded.trouble, as_of_tick = excluded.as_of_tick, verified_at = excluded.verified_at, looked_at = excluded.looked_at,
        rows = excluded.rows, rows_of_round = excluded.rows_of_round, differing_rows = excluded.differing_rows,
        more_differ = excluded.more_differ, differing = excluded.differing, not_compared = excluded.not_compared";

/// Forgets tables of which the source has said nothing for a day: they are detached, or gone.
pub(super) fn forget_silent(client: &mut Client) -> Result<()> {
    client
        .execute("delete from replication.verification_heard where heard_at < clock_timestamp() - interval '1 day'", &[])
        .context("forget tables of which the source says nothing")?;
    Ok(())
}
