//! What was found, as the source stores it.

use super::rows::Attached;
use anyhow::{Context, Result, ensure};
use outbox_publisher::rules::verdicts::Kind;
use postgres::{Client, Transaction};
use shared::wire::{EVIDENCE_MAX, Finding, State};
use std::time::Duration;

/// How far the present round of a table has come, and what is known to differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) verified_up_to: Option<String>,
    pub(super) evidence: Vec<String>,
}

/// What the target is bound to, and whether this term still counts.
pub(super) fn bound_target(client: &mut Client, term: i64) -> Result<Option<String>> {
    let row = client
        .query_one("select term = $1, target from replication.progress", &[&term])
        .context("read the bound target")?;
    ensure!(row.get::<_, bool>(0), "another publisher has begun a later term");
    Ok(row.get(1))
}

pub(super) fn known(client: &mut Client, table: &Attached) -> Result<Known> {
    let row = client
        .query_one(
            "select (select v.verified_up_to from replication.verified_table v where v.attached_id = $1),
                    array(select d.key_text from replication.verified_difference d where d.attached_id = $1 order by d.key_md5)",
            &[&table.id],
        )
        .context("read what is known of a table")?;
    Ok(Known { verified_up_to: row.get(0), evidence: row.get(1) })
}

/// Forgets tables that are not attached any more.
pub(super) fn forget_detached(client: &mut Client) -> Result<()> {
    for table in ["verified_table", "verified_difference"] {
        client
            .execute(
                &format!(
                    "delete from replication.{table} v where not exists (select from replication.attached a where a.id = v.attached_id)"
                ),
                &[],
            )
            .context("forget tables that are not attached")?;
    }
    Ok(())
}

/// A slice that was compared.
pub(super) struct Slice {
    /// The position of the target.
    pub(super) tick: i64,
    pub(super) rows: usize,
    /// Its last key; none where the round is complete.
    pub(super) up_to: Option<String>,
    /// Columns that cannot be compared.
    pub(super) not_compared: Vec<String>,
}

/// Stores what a look at a table has found, without waiting for the disk: what is lost is found again.
#[derive(Clone, Copy)]
pub(super) struct Findings<'a> {
    pub(super) table: &'a Attached,
    /// Until then the next look is done.
    pub(super) fresh_for: Duration,
}

impl Findings<'_> {
    /// A look decided nothing, for this reason.
    pub(super) fn store_trouble(&self, client: &mut Client, trouble: &str) -> Result<()> {
        client
            .execute(
                "with fast as (select set_config('synchronous_commit', 'off', true))
                 insert into replication.verified_table as v (attached_id, trouble) select $1::int, $2::text from fast
                 on conflict (attached_id) do update set trouble = excluded.trouble",
                &[&self.table.id, &trouble],
            )
            .context("store why nothing was found")?;
        Ok(())
    }

    /// What became of rows that were known to differ: those that are the same now are forgotten.
    pub(super) fn store_evidence(
        &self,
        client: &mut Client,
        tick: i64,
        same: &[String],
        different: &[(String, Kind)],
    ) -> Result<()> {
        let mut transaction = begin(client)?;
        self.keep(&mut transaction, tick, different)?;
        let gone = transaction
            .execute(
                "delete from replication.verified_difference where attached_id = $1 and key_text = any ($2)",
                &[&self.table.id, &same],
            )
            .context("forget differences that are gone")?;
        if gone > 0 {
            transaction
                .execute(
                    "update replication.verified_table set as_of_tick = $2, verified_at = clock_timestamp()
                     where attached_id = $1 and as_of_tick is not null",
                    &[&self.table.id, &tick],
                )
                .context("store that a difference is gone")?;
        }
        transaction.commit().context("store what became of differences")
    }

    /// What was found in a slice.
    pub(super) fn store_slice(
        &self,
        client: &mut Client,
        slice: &Slice,
        different: &[(String, Kind)],
    ) -> Result<()> {
        let mut transaction = begin(client)?;
        let more = self.keep(&mut transaction, slice.tick, different)?;
        transaction
            .execute(
                STORE_SLICE,
                &[
                    &self.table.id,
                    &slice.up_to,
                    &i64::try_from(slice.rows)?,
                    &slice.tick,
                    &self.fresh_for.as_secs_f64(),
                    &slice.not_compared,
                    &more,
                ],
            )
            .context("store how far a table was compared")?;
        transaction.commit().context("store what was found in a slice")
    }

    /// Keeps rows that differ as evidence. Whether there were more than are kept.
    fn keep(
        &self,
        transaction: &mut Transaction<'_>,
        tick: i64,
        different: &[(String, Kind)],
    ) -> Result<bool> {
        let mut more = false;
        for (key, kind) in different {
            let kept = transaction
                .execute(
                    "insert into replication.verified_difference as d (attached_id, key_md5, key_text, kind, tick)
                     select $1::int, md5(convert_to($2::text, 'UTF8')), $2, $3::text, $4::bigint
                     where (select count(*) from replication.verified_difference o where o.attached_id = $1) < $5
                        or exists (select from replication.verified_difference o
                                   where (o.attached_id, o.key_md5) = ($1, md5(convert_to($2, 'UTF8'))))
                     on conflict (attached_id, key_md5) do update set kind = excluded.kind, tick = excluded.tick, last_seen = excluded.last_seen",
                    &[&self.table.id, key, &kind.as_str(), &tick, &i64::try_from(EVIDENCE_MAX)?],
                )
                .context("store a row that differs")?;
            if kept == 0 {
                more = true;
                break;
            }
        }
        Ok(more)
    }

    /// What is known of the table now, to be told to the target.
    pub(super) fn read(&self, client: &mut Client) -> Result<Finding> {
        let row = client
            .query_one(
                "select v.state, v.reason, v.as_of_tick, (extract(epoch from v.verified_at) * 1e6)::bigint,
                        (extract(epoch from coalesce(v.looked_at, clock_timestamp())) * 1e6)::bigint, v.rows,
                        coalesce(v.rows_of_round, 0), coalesce(v.differing, '{}'), v.more_differ, v.not_compared
                 from replication.verification_of_source v
                 join replication.attached a on a.id = $1 and v.relation = a.relation",
                &[&self.table.id],
            )
            .context("read what is known of a table")?;
        Ok(Finding {
            state: match row.get(0) {
                "equal" => State::Equal,
                "differs" => State::Differs,
                _ => State::Unknown,
            },
            trouble: row.get(1),
            as_of_tick: row.get(2),
            verified_at_us: row.get(3),
            looked_at_us: row.get(4),
            fresh_s: u32::try_from(self.fresh_for.as_secs())?,
            rows: row.get(5),
            rows_of_round: row.get(6),
            differing: row.get(7),
            more_differ: row.get(8),
            not_compared: row.get(9),
        })
    }
}

fn begin(client: &mut Client) -> Result<Transaction<'_>> {
    let mut transaction = client.transaction().context("begin to store what was found")?;
    transaction.batch_execute("set local synchronous_commit = off").context("store what was found")?;
    Ok(transaction)
}

const STORE_SLICE: &str = "
    insert into replication.verified_table as v
        (attached_id, verified_up_to, rows, rows_of_round, as_of_tick, verified_at, fresh_until, not_compared, more_in_round, more_before)
    select $1::int, $2::text, case when $2::text is null then $3::bigint end, case when $2::text is null then 0 else $3::bigint end,
           case when $2::text is null then $4::bigint end, case when $2::text is null then clock_timestamp() end,
           clock_timestamp() + make_interval(secs => $5), $6::text[], $7::boolean and $2::text is not null, $7 and $2::text is null
    on conflict (attached_id) do update set
        verified_up_to = excluded.verified_up_to,
        rows = case when $2::text is null then v.rows_of_round + $3 else v.rows end,
        rows_of_round = case when $2::text is null then 0 else v.rows_of_round + $3 end,
        round_began_at = case when v.verified_up_to is null then clock_timestamp() else v.round_began_at end,
        as_of_tick = coalesce(excluded.as_of_tick, v.as_of_tick), verified_at = coalesce(excluded.verified_at, v.verified_at),
        looked_at = clock_timestamp(), fresh_until = excluded.fresh_until, trouble = null, not_compared = excluded.not_compared,
        more_before = case when $2::text is null then v.more_in_round or $7 else v.more_before end,
        more_in_round = $2::text is not null and (v.more_in_round or $7)";
