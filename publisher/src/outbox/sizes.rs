//! How large the outbox is.

use anyhow::{Context, Result};
use postgres::Client;

/// Numbers are of events.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) outbox_bytes: f64,
    pub(crate) unpublished: f64,
    pub(crate) unconfirmed: f64,
    pub(crate) growth_bytes_per_second: f64,
}

impl Sizes {
    /// Seconds until `room_bytes` are full, were nothing confirmed; more than anybody waits for where nothing grows.
    pub(crate) fn seconds_left(&self, room_bytes: u64) -> f64 {
        /// A hundred years.
        const FOREVER: f64 = 3.2e9;
        #[allow(clippy::cast_precision_loss)]
        let left_bytes = (room_bytes as f64 - self.outbox_bytes).max(0.0);
        (left_bytes / self.growth_bytes_per_second.max(1e-9)).min(FOREVER)
    }
}

/// Counts; that may take long on a large backlog.
///
/// The growth is that of the latest events, with the overhead of index and page, since the oldest of them.
pub(crate) fn look(client: &mut Client) -> Result<Sizes> {
    let row = client
        .query_one(
            "select pg_total_relation_size('replication.outbox_event')::float8,
                    (select count(*) from replication.outbox where processed = false)::float8,
                    (select count(*) from replication.outbox where confirmed = false)::float8,
                    (select coalesce(sum(e.bytes + 100) / greatest(extract(epoch from clock_timestamp() - min(e.created_at)), 1), 0)
                     from (select coalesce(pg_column_size(o.row_text), 0) + coalesce(pg_column_size(o.key_text), 0) as bytes, o.created_at
                           from replication.outbox_event o order by o.txid desc, o.id desc limit 10000) e)::float8",
            &[],
        )
        .context("look how large the outbox is")?;
    Ok(Sizes {
        outbox_bytes: row.get(0),
        unpublished: row.get(1),
        unconfirmed: row.get(2),
        growth_bytes_per_second: row.get(3),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_after_the_time_that_what_is_left_takes() {
        let sizes = |growth_bytes_per_second| Sizes {
            outbox_bytes: 100.0,
            unpublished: 0.0,
            unconfirmed: 0.0,
            growth_bytes_per_second,
        };
        assert!((sizes(10.0).seconds_left(1100) - 100.0).abs() < 1e-6);
        assert!((sizes(10.0).seconds_left(50)).abs() < 1e-6);
        assert!(sizes(0.0).seconds_left(1100) > 1e9);
    }
}
