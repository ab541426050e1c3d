//! Whatever tables there are, and whatever sessions do to them at the same time: B ends as A, by value,
//! column for column.
//!
//! `PROPERTY_CASES` (30) and `PROPERTY_SEED` (at random, printed) choose how many cases, and which. A failure
//! is made smaller before it is shown. One replication serves many cases, each in a schema of its own.

mod model;
mod sql;
mod two_ways;

use crate::harness::{DEADLINE, Replication, attach, compare, count};
use model::{Action, Case, SESSIONS, case};
use postgres::Client;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use shared::config::Environment;
use std::cell::RefCell;
use std::time::Instant;

/// A failure is made smaller by so many tries, and for so long.
const SHRINKING_TRIES: u32 = 300;
const SHRINKING_MS: u32 = 300_000;

#[test]
fn any_tables_and_any_transactions_end_the_same_in_source_and_target() {
    let mut place = Place::default();
    run_cases(&case(), |case| place.check(case), script);
    println!("{:?}", place.statistics);
}

/// Nothing, or what is wrong.
type Outcome = Result<(), String>;

/// Checks as many cases as wanted. Panics at one that fails, made smaller, with its `script`.
fn run_cases<S: Strategy>(
    cases: &S,
    check: impl FnMut(&S::Value) -> Outcome,
    script: impl Fn(&S::Value) -> String,
) {
    let environment = Environment::read();
    let number = environment.count("PROPERTY_CASES", 30, 1..=1_000_000).unwrap();
    let seed = environment.count("PROPERTY_SEED", fastrand::u64(..), 0..=u64::MAX).unwrap();
    println!("PROPERTY_CASES={number} PROPERTY_SEED={seed}");
    let config = Config {
        cases: number,
        max_shrink_iters: SHRINKING_TRIES,
        max_shrink_time: SHRINKING_MS,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let check = RefCell::new(check);
    let outcome = TestRunner::new_with_rng(config, rng)
        .run(cases, |case| (*check.borrow_mut())(&case).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => {
            panic!("{reason}\nthe smallest case: {case:#?}\n{}", script(&case))
        }
        Err(error) => panic!("{error}"),
    }
}

/// Where cases are run.
#[derive(Default)]
struct Place {
    /// None before the first case, and after one that never arrived.
    replication: Option<Replication>,
    number: u32,
    statistics: Statistics,
}

#[derive(Debug, Default)]
struct Statistics {
    statements: u32,
    refused: u32,
    commits: u32,
    rows_compared: usize,
}

impl Place {
    fn check(&mut self, case: &Case) -> Outcome {
        self.number += 1;
        let name = format!("property_{}", self.number);
        let replication = self.replication.take().unwrap_or_else(|| Replication::start(&name));
        let schema = format!("case_{}", self.number);
        for (mut client, sql) in
            [(replication.source(), case.create_in_source()), (replication.target(), case.create_in_target())]
        {
            client
                .batch_execute(&format!("create schema {schema}; set search_path = {schema}; {sql}"))
                .unwrap();
        }
        let tables: Vec<String> =
            case.table_names().iter().map(|table| format!("{schema}.{table}")).collect();
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        attach(&replication, &tables);
        self.run(case, &replication, &schema)?;
        wait_until_arrived(&replication)?;
        let rows = tables.iter().map(|table| compare(&replication, table)).sum::<Result<usize, String>>();
        for table in &tables {
            let detach = format!("select replication.detach('{table}')");
            replication.source().batch_execute(&detach).unwrap();
        }
        let drop = format!("set client_min_messages = warning; drop schema {schema} cascade");
        replication.source().batch_execute(&drop).unwrap();
        replication.target().batch_execute(&drop).unwrap();
        self.replication = Some(replication);
        rows.map(|rows| self.statistics.rows_compared += rows)
    }

    /// One thread drives all sessions, so that a case always runs alike: a statement that would wait for
    /// another session is refused soon.
    fn run(&mut self, case: &Case, replication: &Replication, schema: &str) -> Outcome {
        let mut first = replication.source();
        first.batch_execute(&format!("set search_path = {schema}; {}", case.fill())).unwrap();
        wait_until_arrived(replication)?;
        let mut sessions: Vec<Client> = (0..SESSIONS).map(|_| replication.source()).collect();
        for session in &mut sessions {
            session
                .batch_execute(&format!(
                    "set search_path = {schema}; set lock_timeout = '20ms'; begin; savepoint kept"
                ))
                .unwrap();
        }
        for (session, action) in &case.actions {
            if matches!(action, Action::Arrive) {
                wait_until_arrived(replication)?;
            } else {
                self.act(&mut sessions[*session], case, action);
            }
        }
        for session in &mut sessions {
            self.act(session, case, &Action::Commit);
        }
        Ok(())
    }

    fn act(&mut self, session: &mut Client, case: &Case, action: &Action) {
        match action {
            Action::Do(table, change) => {
                self.statistics.statements += 1;
                let statement = case.statement(*table, change);
                session.batch_execute("savepoint statement").unwrap();
                if session.batch_execute(&statement).is_err() {
                    self.statistics.refused += 1;
                    session.batch_execute("rollback to statement").unwrap();
                }
            }
            Action::Savepoint => session.batch_execute("savepoint kept").unwrap(),
            Action::RollbackToSavepoint => session.batch_execute("rollback to kept").unwrap(),
            Action::Commit => {
                // A deferred constraint may refuse it.
                let committed = session.batch_execute("commit").is_ok();
                self.statistics.commits += u32::from(committed);
                session.batch_execute("rollback; begin; savepoint kept").unwrap();
            }
            Action::Rollback => session.batch_execute("rollback; begin; savepoint kept").unwrap(),
            Action::Arrive => {}
        }
    }
}

/// Waits until everything that is committed has arrived. Says what is wrong as soon as it is known.
fn wait_until_arrived(replication: &Replication) -> Outcome {
    let (mut source, mut target) = (replication.source(), replication.target());
    let deadline = Instant::now() + DEADLINE;
    while count(&mut source, "select count(*) from outbox where not confirmed") > 0 {
        let held = target
            .query_opt("select held_error from replication.target_status where held_error is not null", &[]);
        if let Some(row) = held.unwrap() {
            return Err(format!("held: {}", row.get::<_, String>(0)));
        }
        if Instant::now() > deadline {
            return Err(format!("still not everything has arrived after {} s", DEADLINE.as_secs()));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(())
}

/// The case for people, as it runs.
fn script(case: &Case) -> String {
    let actions = case.actions.iter().map(|(session, action)| {
        let sql = match action {
            Action::Do(table, change) => case.statement(*table, change),
            other => format!("{other:?}"),
        };
        format!("session {session}: {sql}")
    });
    let lines: Vec<String> = [case.create_in_source(), case.fill()].into_iter().chain(actions).collect();
    format!("in SQL:\n{}", lines.join(";\n"))
}
