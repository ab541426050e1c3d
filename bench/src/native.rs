//! PostgreSQL's own logical replication: a publication in A, a subscription in B.

use crate::place::{Place, Zone};
use crate::system::{System, wait_for};
use anyhow::{Context, Result};
use shared::schema::DEMO_TABLES;

const DATABASE: &str = "bench_native";

pub(crate) struct Native {
    place: Place,
}

impl Native {
    /// `options` are added to those of `create subscription`.
    pub(crate) fn create(place: &Place, options: &str) -> Result<Native> {
        remove_leftovers(place)?;
        let mut source = place.create_database(Zone::A, DATABASE)?;
        source.batch_execute(DEMO_TABLES).context("create the tables in A")?;
        source
            .batch_execute("create publication bench for table users, payments")
            .context("create the publication")?;
        let mut target = place.create_database(Zone::B, DATABASE)?;
        target.batch_execute(DEMO_TABLES).context("create the tables in B")?;
        target
            .batch_execute(&format!(
                "create subscription bench connection '{}' publication bench with (copy_data = false{options})",
                place.database_url(Zone::A, DATABASE)
            ))
            .context("create the subscription")?;
        let mut native = Native { place: place.clone() };
        native.wait_until_ready()?;
        Ok(native)
    }

    fn alter_subscription(&self, change: &str) -> Result<()> {
        self.place
            .session(Zone::B, DATABASE)?
            .batch_execute(&format!("alter subscription bench {change}"))
            .with_context(|| format!("alter subscription bench {change}"))
    }

    fn walsenders(&self) -> Result<i64> {
        let row = self.place.session(Zone::A, "postgres")?.query_one(
            "select count(*) from pg_stat_replication where application_name = 'bench' and state = 'streaming'",
            &[],
        )?;
        Ok(row.get(0))
    }
}

/// Removes the subscription first, since it holds its slot in A, then the slot; also after an interrupted
/// run.
fn remove_leftovers(place: &Place) -> Result<()> {
    if place.database_exists(Zone::B, DATABASE)? {
        let mut target = place.session(Zone::B, DATABASE)?;
        let found = target.query(
            "select from pg_subscription s join pg_database d on d.oid = s.subdbid where d.datname = $1",
            &[&DATABASE],
        )?;
        if !found.is_empty() {
            target
                .batch_execute("alter subscription bench disable")
                .and_then(|()| target.batch_execute("alter subscription bench set (slot_name = none)"))
                .and_then(|()| target.batch_execute("drop subscription bench"))
                .context("drop the subscription")?;
        }
    }
    let mut source = place.session(Zone::A, "postgres")?;
    wait_for("the replication slot is dropped", || {
        // The walsender of a subscription that was just disabled holds it for a moment.
        source.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and not active",
            &[&DATABASE],
        )?;
        let left = source.query("select from pg_replication_slots where database = $1", &[&DATABASE])?;
        Ok(left.is_empty().then_some(()))
    })
}

impl System for Native {
    fn database(&self) -> &'static str {
        DATABASE
    }

    fn pause(&mut self) -> Result<()> {
        self.alter_subscription("disable")?;
        wait_for("the end of the walsender", || Ok((self.walsenders()? == 0).then_some(())))
    }

    fn resume(&mut self) -> Result<()> {
        self.alter_subscription("enable")
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        wait_for("the subscription is streaming", || Ok((self.walsenders()? == 1).then_some(())))
    }

    fn processes(&self) -> Vec<(&'static str, u32)> {
        Vec::new()
    }

    fn remove(&mut self) -> Result<()> {
        remove_leftovers(&self.place)?;
        self.place.drop_database(Zone::A, DATABASE)?;
        self.place.drop_database(Zone::B, DATABASE)
    }

    fn applies_with(&self, place: &Place) -> Result<String> {
        let row = place
            .session(Zone::B, DATABASE)?
            .query_one("select subsynccommit from pg_subscription where subname = 'bench'", &[])?;
        Ok(row.get(0))
    }
}
