//! What is measured: a replication from a database in A to one in B, which can be paused.

use crate::place::{Place, Zone};
use anyhow::{Context, Result, bail};
use postgres::Client;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// No wait is longer. A system that needs more is broken, not slow.
const DEADLINE: Duration = Duration::from_secs(900);

/// A replication of the demo's tables. Running after it was created; removed with `remove`.
pub(crate) trait System {
    /// The database, of the same name in A and in B.
    fn database(&self) -> &'static str;
    /// Stops publishing and applying; returns when both have stopped.
    fn pause(&mut self) -> Result<()>;
    /// Starts publishing and applying; does not wait.
    fn resume(&mut self) -> Result<()>;
    /// Waits until it publishes and applies.
    fn wait_until_ready(&mut self) -> Result<()>;
    /// Processes of its own, by component, beside those of the servers.
    fn processes(&self) -> Vec<(&'static str, u32)>;
    /// Ends it and removes its databases and everything else of it in the servers.
    fn remove(&mut self) -> Result<()>;
    /// `synchronous_commit` of the sessions that apply.
    fn applies_with(&self, place: &Place) -> Result<String>;
}

/// Commits one more user in A, after all that was committed so far; returns its id.
pub(crate) fn commit_marker(source: &mut Client) -> Result<Uuid> {
    let id = Uuid::new_v4();
    source
        .execute(
            "insert into users (id, name, email) values ($1, 'marker', $2)",
            &[&id, &format!("{id}@marker.example.org")],
        )
        .context("commit a marker in A")?;
    Ok(id)
}

/// Commits a marker in A and waits until it is visible in B: then all before it is, too.
pub(crate) fn wait_until_caught_up(place: &Place, system: &dyn System) -> Result<()> {
    let marker = commit_marker(&mut place.session(Zone::A, system.database())?)?;
    let mut target = place.session(Zone::B, system.database())?;
    let visible = target.prepare("select from users where id = $1")?;
    wait_for("the last transaction visible in B", || {
        Ok((!target.query(&visible, &[&marker])?.is_empty()).then_some(()))
    })
}

/// Polls every 10 ms until `condition` gives a value; fails with `what` after the deadline.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if begun.elapsed() > DEADLINE {
            bail!("still waiting after {} s: {what}", DEADLINE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
