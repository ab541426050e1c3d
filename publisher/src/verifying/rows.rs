//! Reading rows of attached tables to be compared: keys, and hashes of rows.
//!
//! The functions that read them have the rights of a table's owner, whose code may run inside and change
//! settings of the session. So what such a function returns is the last thing that a transaction reads, and
//! each transaction is rolled back, which takes such settings back. Holding a snapshot keeps VACUUM from
//! nothing for longer than one reading.

use crate::outbox::lookout::{Lookout, Sight};
use anyhow::{Context, Result, ensure};
use outbox_publisher::rules::verdicts::CapturedSince;
use postgres::{Client, IsolationLevel, Row, Transaction};
use shared::wire::{KeyHash, SLICE_BYTES_MAX, Shape, Snapshot, TickRef};
use std::collections::BTreeMap;

/// One reading takes no longer. Whoever waits to alter the table waits as long, and others behind him.
const SETTINGS: &str = "
    set search_path = pg_catalog; set statement_timeout = '3s'; set lock_timeout = '1s';
    set idle_in_transaction_session_timeout = '30s'; set default_transaction_deferrable = off; set row_security = off;
    set max_parallel_workers_per_gather = 0;
    set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off; set enable_hashjoin = off; set enable_mergejoin = off;
    select set_config(name, value, false) from replication.value_settings()";

/// Reads in one session of its own.
pub(super) struct Rows {
    client: Client,
    lookout: Lookout,
}

/// An attached table, as one snapshot has it.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    /// `replication.attached.id`.
    pub(super) id: i32,
    pub(super) relation: u32,
    pub(super) shape: Shape,
}

/// Rows of a table, and the snapshot in which they were read.
pub(super) struct Reading {
    pub(super) snapshot: Snapshot,
    /// Nothing was captured after this tick that the snapshot sees.
    pub(super) tick: Option<TickRef>,
    pub(super) rows: Vec<KeyHash>,
}

const ATTACHED: &str = "
    select a.id, a.relation::oid, s.id, s.schema_name, s.table_name, s.columns, s.key_columns, s.types, s.generated, s.key_collations
    from replication.attached a
    join replication.shape s on s.id = a.shape_id
    join pg_class c on c.oid = a.relation";

impl Rows {
    /// Has the session read rows in the order of their keys, whatever the planner believes of a table, and
    /// write values as they travel.
    pub(super) fn prepare(mut client: Client) -> Result<Rows> {
        client.batch_execute(SETTINGS).context("prepare the session")?;
        Ok(Rows { lookout: Lookout::prepare(&mut client)?, client })
    }

    /// The session, for what is no row of an application.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// All attached tables.
    pub(super) fn attached(&mut self) -> Result<Vec<Attached>> {
        let rows = self
            .client
            .query(&format!("{ATTACHED} order by a.id"), &[])
            .context("read which tables are attached")?;
        Ok(rows.iter().map(attached_table).collect())
    }

    /// The next rows behind a key, up to `rows_max`; fewer where their keys are long, and none behind the
    /// last.
    pub(super) fn slice(
        &mut self,
        table: &Attached,
        columns: &[String],
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Reading> {
        let (rows_max, bytes_max) = (i32::try_from(rows_max)?, i32::try_from(SLICE_BYTES_MAX)?);
        let (mut transaction, snapshot, tick) = self.begin(table)?;
        let rows = transaction
            .query(
                &format!("select key, hash from replication.verify_slice_{}($1, $2, $3, $4, $5)", table.id),
                &[&table.relation, &columns, &after, &rows_max, &bytes_max],
            )
            .context("read the next rows")?;
        let rows = rows.iter().map(|row| KeyHash(row.get(0), Some(row.get(1)))).collect();
        transaction.rollback().context("end the reading")?;
        Ok(Reading { snapshot, tick, rows })
    }

    /// The rows of these keys, in their order; without a hash where there is none.
    pub(super) fn of_keys(&mut self, table: &Attached, columns: &[String], keys: &[&str]) -> Result<Reading> {
        let (mut transaction, snapshot, tick) = self.begin(table)?;
        let found = hashes(&mut transaction, table, columns, keys)?;
        transaction.rollback().context("end the reading")?;
        let rows = keys.iter().map(|key| KeyHash((*key).to_owned(), found.get(*key).cloned())).collect();
        Ok(Reading { snapshot, tick, rows })
    }

    /// What the source has of some keys now, and what it has captured since the snapshot that the target
    /// shows, in one snapshot.
    pub(super) fn look_again(
        &mut self,
        table: &Attached,
        columns: &[String],
        keys: &[&str],
        shown: &Snapshot,
    ) -> Result<(BTreeMap<String, String>, CapturedSince)> {
        let (mut transaction, ..) = self.begin(table)?;
        let since = captured_since(&mut transaction, table, keys, shown)?;
        let rows = hashes(&mut transaction, table, columns, keys)?;
        transaction.rollback().context("end the reading")?;
        Ok((rows, since))
    }

    /// Fixes a snapshot. Fails where the table is not what it was: another form of it has other functions.
    fn begin(&mut self, table: &Attached) -> Result<(Transaction<'_>, Snapshot, Option<TickRef>)> {
        let mut transaction = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .context("begin to read rows")?;
        let row = transaction
            .query_one(
                "select pg_current_snapshot()::text,
                        exists (select from replication.attached a where (a.id, a.relation, a.shape_id) = ($1, $2::oid::regclass, $3))",
                &[&table.id, &table.relation, &table.shape.id],
            )
            .context("take a snapshot")?;
        ensure!(row.get::<_, bool>(1), "the table was altered or detached meanwhile");
        let Sight { tick, as_of, .. } = self.lookout.look(&mut transaction)?;
        Ok((transaction, Snapshot::try_from(row.get::<_, String>(0))?, as_of.map(|_| tick)))
    }
}

fn attached_table(row: &Row) -> Attached {
    Attached {
        id: row.get(0),
        relation: row.get(1),
        shape: Shape {
            id: row.get(2),
            schema: row.get(3),
            table: row.get(4),
            columns: row.get(5),
            key: row.get(6),
            types: row.get(7),
            generated: row.get(8),
            key_collations: row.get(9),
        },
    }
}

fn hashes(
    transaction: &mut Transaction<'_>,
    table: &Attached,
    columns: &[String],
    keys: &[&str],
) -> Result<BTreeMap<String, String>> {
    let rows = transaction
        .query(
            &format!("select key, hash from replication.verify_keys_{}($1, $2, $3)", table.id),
            &[&table.relation, &columns, &keys],
        )
        .context("read the rows of these keys")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Fails where it is not known any more, or the snapshot is none of this source's.
fn captured_since(
    transaction: &mut Transaction<'_>,
    table: &Attached,
    keys: &[&str],
    shown: &Snapshot,
) -> Result<CapturedSince> {
    let row = transaction
        .query_one(
            "select replication.is_later($1::text::pg_snapshot, pg_current_snapshot()),
                    replication.is_later((select t.snapshot from replication.tick t order by t.tick limit 1), $1::text::pg_snapshot),
                    replication.key_equality_is_textual($2::oid::regclass, $3)",
            &[&shown.as_str(), &table.relation, &table.shape.key],
        )
        .context("compare the target's snapshot with the source's")?;
    let (is_of_the_past, is_kept, keys_are_exact): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    ensure!(is_of_the_past, "the target claims to show what the source has not");
    ensure!(is_kept, "what was captured since has left the outbox: OUTBOX_RETENTION is too short to compare");
    let row = transaction
        .query_one(CAPTURED_SINCE, &[&shown.as_str(), &table.relation, &keys])
        .context("read what was captured since")?;
    let changed: Vec<String> = row.get(2);
    Ok(CapturedSince {
        anything: row.get(0),
        emptied: row.get(1),
        keys: changed.into_iter().collect(),
        keys_are_exact,
    })
}

/// The events that this transaction sees and the snapshot $1 does not: of transactions that were in progress
/// there, or began later. Of each form that the table ever had.
const CAPTURED_SINCE: &str = "
    with of_table as materialized (
        select s.id from replication.shape s
        join pg_class c on c.relname = s.table_name
        join pg_namespace n on n.oid = c.relnamespace and n.nspname = s.schema_name
        where c.oid = $2
        union select a.shape_id from replication.attached a where a.relation = $2::oid::regclass
    ), event as materialized (
        select e.operation, e.key_text
        from replication.outbox_event e
        where e.txid >= pg_snapshot_xmax($1::text::pg_snapshot) and e.shape_id in (select id from of_table)
        union all
        select e.operation, e.key_text
        from replication.outbox_event e
        where e.txid = any (array(select pg_snapshot_xip($1::text::pg_snapshot))) and e.shape_id in (select id from of_table)
    )
    select exists (select from event), exists (select from event where operation = 'T'),
           array(select distinct key_text from event where key_text = any ($3))";
