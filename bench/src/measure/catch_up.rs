//! Catch-up: replication paused, transactions committed, then the clock from the start of the
//! replication until the last of them is visible.

use super::Subject;
use crate::load::{Amount, Load};
use crate::place::{Place, Zone};
use crate::processes::{CpuSeconds, components, cpu_seconds, used};
use crate::samples::{Curve, Quantity, Samples};
use crate::system::{System, commit_marker};
use anyhow::{Context, Result, bail};
use postgres::Client;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Points of the curve.
const MARKS: i64 = 100;
/// A poll costs B less than 0.3 ms, so this costs some 2 % of a core.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const DEADLINE: Duration = Duration::from_secs(1800);

/// The result of one.
pub(crate) struct CatchUp {
    pub(crate) events: u64,
    pub(crate) took: Duration,
    pub(crate) curve: Curve,
    pub(crate) cpu: CpuSeconds,
}

impl CatchUp {
    pub(crate) fn events_per_s(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }
}

pub(crate) fn run(subject: &mut Subject, samples: &mut Samples) -> Result<()> {
    let amount = Amount::Transactions(subject.sizes.catch_up_transactions);
    let load = Load::new(subject.system.database(), amount, subject.seed);
    subject.system.pause()?;
    let done = catch_up(subject.place, subject.system, &load)?;
    subject.system.wait_until_ready()?;
    subject.say(&format!(
        "catch-up: {} events in {:.2} s, {:.0} events/s",
        done.events,
        done.took.as_secs_f64(),
        done.events_per_s()
    ));
    samples.add(subject.kind, Quantity::CatchUpRate, done.events_per_s());
    samples.add_cpu(subject.kind, &done.cpu, done.events);
    samples.curves.entry(subject.kind).or_default().push(done.curve);
    Ok(())
}

/// Commits a load and a marker behind a paused system, starts it, and follows it to the end.
pub(crate) fn catch_up(place: &Place, system: &mut dyn System, load: &Load) -> Result<CatchUp> {
    let mut source = place.session(Zone::A, system.database())?;
    let mut target = place.session(Zone::B, system.database())?;
    let events_before = changes(&mut source)?;
    load.run(place)?;
    let marker = commit_marker(&mut source)?;
    let events = changes(&mut source)? - events_before;
    let marks = marks(&mut source, &mut target)?;
    let visible = target.prepare("select id from users where id = any ($1)")?;
    place.checkpoint()?;

    let cpu_before = cpu_seconds(&components(place, system)?)?;
    let begun = Instant::now();
    system.resume()?;
    let mut curve = vec![(0.0, 0.0)];
    loop {
        std::thread::sleep(LOOK_EVERY);
        let seen = target.query(&visible, &[&marks])?;
        let at = begun.elapsed();
        curve.push((at.as_secs_f64(), seen.len() as f64 / marks.len() as f64));
        if seen.iter().any(|row| row.get::<_, Uuid>(0) == marker) {
            let cpu = used(&cpu_before, &cpu_seconds(&components(place, system)?)?);
            return Ok(CatchUp { events, took: at, curve, cpu });
        }
        if at > DEADLINE {
            bail!("it has not caught up after {} s", DEADLINE.as_secs());
        }
    }
}

/// Users of the backlog at even distances, the last one (the marker) among them.
fn marks(source: &mut Client, target: &mut Client) -> Result<Vec<Uuid>> {
    let newest = target
        .query_one("select coalesce(max(created_at), '-infinity')::text from users", &[])
        .context("read how far B is")?;
    let newest: String = newest.get(0);
    let rows = source
        .query(
            "select id from (
                 select id, row_number() over (order by created_at desc) as number, count(*) over () as total
                 from users where created_at > $1::text::timestamptz) u
             where (number - 1) % greatest(total / $2, 1) = 0",
            &[&newest, &MARKS],
        )
        .context("choose the marks")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The changes that the tables have seen, which can be counted: the load settles a payment at most once.
fn changes(source: &mut Client) -> Result<u64> {
    let row = source
        .query_one(
            "select (select count(*) from users) + count(*) + count(*) filter (where status = 'settled') from payments",
            &[],
        )
        .context("count the changes in A")?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
