//! Whether A and B hold the same rows.

use crate::place::{Place, Zone};
use crate::system::System;
use anyhow::{Context, Result};
use postgres::Client;

/// The difference between A and B, in words; none if every row of every table is the same. Call it when
/// the system has caught up.
pub(crate) fn difference(place: &Place, system: &dyn System) -> Result<Option<String>> {
    let mut source = place.session(Zone::A, system.database())?;
    let mut target = place.session(Zone::B, system.database())?;
    let mut differences = Vec::new();
    for table in tables(&mut source)? {
        let (ours, theirs) = (Digest::of(&mut source, &table)?, Digest::of(&mut target, &table)?);
        if ours != theirs {
            differences.push(format!("{table}: {} rows in A, {} in B", ours.rows, theirs.rows));
        }
    }
    Ok((!differences.is_empty()).then(|| differences.join("; ")))
}

fn tables(source: &mut Client) -> Result<Vec<String>> {
    let rows = source
        .query("select quote_ident(tablename) from pg_tables where schemaname = 'public' order by 1", &[])
        .context("list the tables")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[derive(PartialEq)]
struct Digest {
    rows: i64,
    /// The sum of a 64-bit hash of every row's text.
    sum: String,
}

impl Digest {
    fn of(session: &mut Client, table: &str) -> Result<Digest> {
        let row = session
            .query_one(
                &format!("select count(*), coalesce(sum(hashtextextended(t::text, 6)), 0)::text from public.{table} t"),
                &[],
            )
            .with_context(|| format!("read all rows of {table}"))?;
        Ok(Digest { rows: row.get(0), sum: row.get(1) })
    }
}
