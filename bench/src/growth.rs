//! `--growth`: whether this system stays as fast and as small with more data: larger backlogs (native with
//! the same ones for comparison), a large retained outbox, 20 tables, one very large transaction.

mod outcome;

use crate::equality;
use crate::kind::Kind;
use crate::load::{Amount, Load};
use crate::measure::EVENTS_PER_TRANSACTION;
use crate::measure::catch_up::catch_up;
use crate::options::Options;
use crate::ours::Ours;
use crate::picture::thousands;
use crate::place::{Place, Zone};
use crate::processes::memory_mib;
use crate::system::{System, wait_until_caught_up};
use anyhow::{Context, Result, bail};
use outcome::{Outcome, report};
use std::fmt::Write;
use std::time::{Duration, Instant};

const BACKLOGS: [u64; 5] = [10_000, 100_000, 1_000_000, 5_000_000, 10_000_000];
/// The backlog of the other measures, in events.
const BACKLOG: u64 = 100_000;
/// Events of the retained outbox, as a multiple of the largest backlog.
const RETAINED_PER_BACKLOG: u64 = 2;
const TABLES: usize = 20;
/// Tables that one transaction writes.
const TABLES_PER_TRANSACTION: usize = 5;

pub(crate) fn run(place: &Place, options: &Options) -> Result<()> {
    let backlogs: Vec<u64> = BACKLOGS.into_iter().filter(|events| *events <= options.events_max).collect();
    if backlogs.is_empty() {
        bail!("--events-max is less than {}", BACKLOGS[0]);
    }
    let most = options.events_max;
    let mut outcomes = Vec::new();
    let mut note = |outcome: Outcome| {
        println!("  {}", outcome.line());
        outcomes.push(outcome);
    };
    for events in backlogs {
        note(backlog(place, events).context("a backlog")?);
    }
    note(retained(place, most * RETAINED_PER_BACKLOG).context("a retained outbox")?);
    note(many_tables(place).context("many tables")?);
    note(large_transaction(place, most.min(1_000_000)).context("a large transaction")?);

    let text = report(place, &outcomes)?;
    std::fs::create_dir_all(&place.results)?;
    let file = place.results.join("growth.md");
    std::fs::write(&file, &text).with_context(|| format!("write {}", file.display()))?;
    println!("\n{text}\nWritten to {}", file.display());
    Ok(())
}

fn backlog(place: &Place, events: u64) -> Result<Outcome> {
    let native = behind(place, Kind::Native, events)?;
    let ours = behind(place, Kind::Ours, events)?;
    Ok(Outcome { native: Some(native.events_per_s()), ..ours })
}

fn behind(place: &Place, kind: Kind, events: u64) -> Result<Outcome> {
    let mut system = kind.create(place)?;
    warm_up(place, &*system)?;
    system.pause()?;
    let load = load_of(system.database(), events);
    follow(place, &mut *system, format!("a backlog of {}", thousands(events as f64)), &load)
        .with_context(|| kind.label())
}

fn retained(place: &Place, rows: u64) -> Result<Outcome> {
    let mut ours = Ours::create(place)?;
    warm_up(place, &ours)?;
    ours.pause()?;
    // Of transactions before the first tick: as rows that were confirmed long ago, only more of them.
    let rows_of_outbox = i64::try_from(rows)?;
    place
        .session(Zone::A, ours.database())?
        .execute(
            "insert into replication.outbox_event (txid, shape_id, operation, key_text, row_text)
             select '3', (select min(id) from replication.shape), 'I', '(' || gen_random_uuid() || ')', repeat('x', 150)
             from generate_series(1, $1::bigint)",
            &[&rows_of_outbox],
        )
        .context("fill the outbox")?;
    place.session(Zone::A, ours.database())?.batch_execute("vacuum analyze replication.outbox_event")?;
    let what =
        format!("{} beside an outbox that retains {}", thousands(BACKLOG as f64), thousands(rows as f64));
    let load = load_of(ours.database(), BACKLOG);
    follow(place, &mut ours, what, &load)
}

fn many_tables(place: &Place) -> Result<Outcome> {
    let mut ours = Ours::create(place)?;
    let (mut tables, mut attach) = (String::new(), String::new());
    for number in 0..TABLES {
        let columns = "id uuid primary key default gen_random_uuid(), note text not null";
        let _ = writeln!(tables, "create table thing_{number} ({columns});");
        let _ = writeln!(attach, "select replication.attach('public.thing_{number}');");
    }
    place.session(Zone::B, ours.database())?.batch_execute(&tables)?;
    place
        .session(Zone::A, ours.database())?
        .batch_execute(&(tables + &attach))
        .context("attach the tables")?;
    warm_up(place, &ours)?;
    ours.pause()?;

    let script = script_over_tables();
    let transactions = BACKLOG / TABLES_PER_TRANSACTION as u64;
    let load =
        Load::new(ours.database(), Amount::Transactions(transactions), 1).with_script(&script).unflushed();
    let what = format!(
        "{} in {TABLES} tables, {TABLES_PER_TRANSACTION} in a transaction",
        thousands(BACKLOG as f64)
    );
    let mut outcome = follow(place, &mut ours, what, &load)?;
    outcome.events = transactions * TABLES_PER_TRANSACTION as u64 + 1;
    Ok(outcome)
}

/// Each transaction inserts one row into each of five neighbouring tables, from a random one on.
fn script_over_tables() -> String {
    let mut script = format!("\\set first random(0, {})\nbegin;\n", TABLES - 1);
    for first in 0..TABLES {
        let _ = writeln!(script, "\\if :first = {first}");
        for step in 0..TABLES_PER_TRANSACTION {
            let _ = writeln!(
                script,
                "insert into thing_{} (note) values ('one of the twenty tables');",
                (first + step) % TABLES
            );
        }
        script.push_str("\\endif\n");
    }
    script + "commit;\n"
}

fn large_transaction(place: &Place, rows: u64) -> Result<Outcome> {
    let mut ours = Ours::create(place)?;
    warm_up(place, &ours)?;
    ours.pause()?;
    ours.resume()?;
    ours.wait_until_ready()?;
    let begun = Instant::now();
    place
        .session(Zone::A, ours.database())?
        .execute(
            "insert into users (name, email) select 'one of many', i || '@many.example.org' from generate_series(1, $1::bigint) i",
            &[&i64::try_from(rows)?],
        )
        .context("commit a large transaction")?;
    let committed = Instant::now();
    wait_until_caught_up(place, &ours)?;
    println!("  the large transaction itself took {:.1} s in A", (committed - begun).as_secs_f64());
    finish(
        place,
        &mut ours,
        format!("one transaction of {}", thousands(rows as f64)),
        rows,
        committed.elapsed(),
    )
}

/// About so many events.
fn load_of(database: &str, events: u64) -> Load<'_> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a positive number of transactions
    let transactions = (events as f64 / EVENTS_PER_TRANSACTION).ceil() as u64;
    Load::new(database, Amount::Transactions(transactions), 1).unflushed()
}

fn warm_up(place: &Place, system: &dyn System) -> Result<()> {
    Load::new(system.database(), Amount::Transactions(1000), 0).run(place)?;
    wait_until_caught_up(place, system)
}

/// Puts the load behind the paused system and lets it catch up.
fn follow(place: &Place, system: &mut dyn System, what: String, load: &Load) -> Result<Outcome> {
    let done = catch_up(place, system, load)?;
    finish(place, system, what, done.events, done.took)
}

/// Reads the memory of the services, compares A and B, and removes the system.
fn finish(
    place: &Place,
    system: &mut dyn System,
    what: String,
    events: u64,
    took: Duration,
) -> Result<Outcome> {
    let mut most = [0.0; 2];
    for (service, pid) in system.processes() {
        most[usize::from(service == "inbox-processor")] = memory_mib(pid)?.1;
    }
    wait_until_caught_up(place, system)?;
    if let Some(difference) = equality::difference(place, system)? {
        bail!("A DOES NOT EQUAL B after {what}: {difference}");
    }
    system.remove()?;
    Ok(Outcome { what, events, took, native: None, publisher_mib: most[0], processor_mib: most[1] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_written_as_often_as_the_others() {
        let script = script_over_tables();
        for number in 0..TABLES {
            let inserts = script.matches(&format!("into thing_{number} ")).count();
            assert_eq!(inserts, TABLES_PER_TRANSACTION, "thing_{number}");
        }
    }

    #[test]
    fn a_load_has_at_least_the_events_that_were_asked_for() {
        match load_of("any", 10_000).amount {
            Amount::Transactions(number) => assert_eq!(number, 1924),
            Amount::For(_) => panic!("not a number of transactions"),
        }
    }
}
