//! How every row of a table is deleted.

use super::table::Table;
use anyhow::{Context, Result};
use postgres::Transaction;

/// A table is emptied this many blocks (32 MiB) at a time: each of these deletes ends long before the
/// statement timeout, however large the table is.
const EMPTIED_BLOCKS: i64 = 4096;
/// How many blocks the table has, or the largest of its partitions; 0 where blocks say nothing about its
/// rows.
const BLOCKS: &str = "select case when bool_and(c.relkind = 'r' and m.amname = 'heap') then max(pg_relation_size(c.oid)) / current_setting('block_size')::int else 0 end
     from pg_class c left join pg_am m on m.oid = c.relam
     where c.relkind <> 'p' and (c.oid = $1 or c.oid in (select p.relid from pg_partition_tree($1::oid::regclass) p))";

impl Table {
    /// Deletes every row. TRUNCATE would lock readers out, and show older snapshots an empty table.
    pub(super) fn empty(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        self.empty_in_parts(transaction).with_context(|| format!("empty {}", self.name))
    }

    fn empty_in_parts(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        let blocks: i64 = transaction.query_one(BLOCKS, &[&self.relation])?.get(0);
        if blocks > EMPTIED_BLOCKS {
            // Readers are not blocked. Without the lock, a row that somebody moves into a finished part would
            // stay.
            transaction.execute(&format!("lock table {} in share row exclusive mode", self.name), &[])?;
        }
        let mut emptied = 0;
        while blocks - emptied > EMPTIED_BLOCKS {
            let end = emptied + EMPTIED_BLOCKS;
            let part =
                format!("delete from {} where ctid >= '({emptied},0)' and ctid < '({end},0)'", self.name);
            transaction.execute(&part, &[])?;
            emptied = end;
        }
        let rest = if emptied == 0 { String::new() } else { format!(" where ctid >= '({emptied},0)'") };
        transaction.execute(&format!("delete from {}{rest}", self.name), &[])?;
        Ok(())
    }
}
