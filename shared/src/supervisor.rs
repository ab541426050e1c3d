//! The one owner of a service's threads.
//!
//! Threads are started here and nowhere else. A signal, an error or a panic in any of them stops
//! all; all are joined; the exit code says which it was. While they run, each thread reports its
//! health, and the whole is written to `HEALTH_FILE` once a second for the scripts and for
//! containers to read.

use crate::config::Environment;
use crate::database::Database;
use crate::fault::{Fault, fault_of};
use crate::retry::{Backoff, Complaint};
use crate::schema::{Side, migrate};
use crate::stopping;
use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// How often the health file is rewritten.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// A health file older than this belongs to a process that hangs or is gone.
const HEALTH_FRESH: Duration = Duration::from_secs(5);
/// The longest statement of a migration.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);
/// How long to wait for the failure that made a thread end.
const CAUSE_DEADLINE: Duration = Duration::from_millis(500);
/// How long a stop waits for the threads.
const JOIN_DEADLINE: Duration = Duration::from_secs(10);

/// Runs a service: `health` as the only argument asks about the running one, `migrate` brings its side of
/// the schema up to date and ends, no argument runs it.
///
/// `start` reads the configuration and spawns the threads. The process ends with 0 after a
/// signal, 1 when a thread failed, 2 when it could not start, 101 when a thread panicked.
pub fn run_service(
    service: &'static str,
    side: Side,
    start: impl FnOnce(&Environment, &mut Supervisor) -> Result<()>,
) -> ExitCode {
    let environment = Environment::read();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["health"] => return report_health(&environment),
        ["migrate"] => return run_migration(&environment, service, side),
        _ => {
            eprintln!(
                "usage: {service} [health|migrate]\nSettings come from the environment; .env.example lists them all."
            );
            return ExitCode::from(2);
        }
    }
    crate::logging::start();
    let started = Supervisor::new(&environment).and_then(|mut supervisor| {
        start(&environment, &mut supervisor)?;
        Ok(supervisor)
    });
    match started {
        Ok(supervisor) => supervisor.run(service),
        Err(error) => {
            log::error!("{service} cannot start: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run_migration(environment: &Environment, service: &str, side: Side) -> ExitCode {
    crate::logging::start();
    let migrated = Database::from_env(environment, service, MIGRATION_TIMEOUT, 1).and_then(|database| {
        migrate(&mut database.session()?, side)?;
        Ok(database)
    });
    match migrated {
        Ok(database) => {
            log::info!("the schema \"replication\" in {} is up to date", database.address());
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the first line of the health file; succeeds when it is fresh and says `ok`.
fn report_health(environment: &Environment) -> ExitCode {
    let health = environment.required("HEALTH_FILE", "/run/replication/health").and_then(read_health);
    match health {
        Ok(line) => {
            println!("{line}");
            if line == "ok" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read_health(path: &str) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("no health in {path}; is the service running?"))?;
    let written = std::fs::metadata(path)?.modified()?;
    match SystemTime::now().duration_since(written) {
        Ok(age) if age > HEALTH_FRESH => {
            bail!("{path} was last written {} s ago; the service hangs or is gone", age.as_secs())
        }
        // A service that runs has written it again since the clock was set back.
        Err(ahead) if ahead.duration() > HEALTH_FRESH => bail!(
            "{path} was last written {} s in the future: the clock was set back, and the service has hung since or is gone",
            ahead.duration().as_secs()
        ),
        _ => {}
    }
    Ok(text.lines().next().unwrap_or("empty").to_owned())
}

/// Owns the threads of one process.
pub struct Supervisor {
    stop: Stop,
    /// Dropped to tell every thread to stop.
    running: Option<Sender<Infallible>>,
    signals: Receiver<()>,
    outcomes: (Sender<Outcome>, Receiver<Outcome>),
    health: Health,
    health_file: Option<PathBuf>,
    threads: Vec<(String, JoinHandle<()>)>,
}

struct Outcome {
    thread: String,
    end: End,
}

enum End {
    Finished,
    Failed(anyhow::Error),
    Panicked(String),
}

impl Supervisor {
    fn new(environment: &Environment) -> Result<Supervisor> {
        let (running, stopped) = bounded(0);
        let (signal, signals) = bounded(1);
        ctrlc::set_handler(move || {
            // A second signal while the first is being obeyed changes nothing.
            let _ = signal.try_send(());
        })
        .context("install the signal handler")?;
        Ok(Supervisor {
            stop: Stop(stopped),
            running: Some(running),
            signals,
            outcomes: bounded(64),
            health: Health::default(),
            health_file: environment.optional("HEALTH_FILE").map(PathBuf::from),
            threads: Vec::new(),
        })
    }

    /// Starts a thread. It is expected to run until [`Stop`] is requested: an earlier end, an
    /// error or a panic stops the whole process.
    pub fn spawn(
        &mut self,
        name: &str,
        body: impl FnOnce(&ThreadContext) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let context =
            ThreadContext { name: name.to_owned(), stop: self.stop.clone(), health: self.health.clone() };
        let outcomes = self.outcomes.0.clone();
        let thread = name.to_owned();
        let handle = Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let end = match catch_unwind(AssertUnwindSafe(|| body(&context))) {
                    Ok(Ok(())) => End::Finished,
                    Ok(Err(error)) => End::Failed(error),
                    Err(panic) => End::Panicked(panic_text(panic.as_ref())),
                };
                // The channel holds more outcomes than there are threads, so this never waits.
                let _ = outcomes.try_send(Outcome { thread, end });
            })
            .with_context(|| format!("start thread {name}"))?;
        self.threads.push((name.to_owned(), handle));
        Ok(())
    }

    fn run(mut self, service: &str) -> ExitCode {
        let code = self.wait_for_end(service);
        stopping::begin();
        self.running = None;
        let deadline = Instant::now() + JOIN_DEADLINE;
        let mut stuck = Vec::new();
        for (name, handle) in self.threads.drain(..) {
            while !handle.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            if handle.is_finished() {
                // A panic was already caught and reported inside the thread.
                let _ = handle.join();
            } else {
                stuck.push(name);
            }
        }
        if let Some(path) = &self.health_file {
            let _ = std::fs::remove_file(path);
        }
        if stuck.is_empty() {
            log::info!("{service} stopped");
            ExitCode::from(code)
        } else {
            log::error!("{service} ends although these threads did not stop in time: {}", stuck.join(", "));
            ExitCode::from(code.max(1))
        }
    }

    /// Waits for a signal or for the first thread that ends; returns the exit code.
    fn wait_for_end(&self, service: &str) -> u8 {
        loop {
            crossbeam_channel::select! {
                recv(self.signals) -> _ => {
                    log::info!("{service} is asked to stop");
                    return 0;
                }
                recv(self.outcomes.1) -> outcome => return outcome.map_or(1, |outcome| report(&self.cause(outcome))),
                default(HEALTH_INTERVAL) => self.write_health(),
            }
        }
    }

    /// A thread that finds its neighbour gone ends, too, and may be heard of first: the cause is the one that
    /// failed.
    fn cause(&self, mut outcome: Outcome) -> Outcome {
        while let End::Finished = outcome.end {
            match self.outcomes.1.recv_timeout(CAUSE_DEADLINE) {
                Ok(other) => outcome = other,
                Err(_) => break,
            }
        }
        outcome
    }

    fn write_health(&self) {
        let Some(path) = &self.health_file else { return };
        let fresh = path.with_extension("new");
        let written =
            std::fs::write(&fresh, self.health.summary()).and_then(|()| std::fs::rename(&fresh, path));
        if let Err(error) = written {
            log::warn!("cannot write the health file {}: {error}", path.display());
        }
    }
}

fn report(outcome: &Outcome) -> u8 {
    let thread = &outcome.thread;
    match &outcome.end {
        End::Finished => {
            log::error!("thread {thread} ended although nobody asked it to");
            1
        }
        End::Failed(error) => {
            log::error!("thread {thread} failed: {error:#}");
            1
        }
        End::Panicked(text) => {
            log::error!("thread {thread} panicked: {text}");
            101
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

/// The request to stop, as the threads see it.
#[derive(Clone)]
pub struct Stop(Receiver<Infallible>);

impl Stop {
    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits up to `duration`; returns true as soon as a stop is requested.
    pub fn wait(&self, duration: Duration) -> bool {
        self.0.recv_timeout(duration) == Err(RecvTimeoutError::Disconnected)
    }

    /// For `select!`: becomes ready when a stop is requested, and never carries anything.
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.0
    }
}

/// What each thread reports about itself; a thread that has not yet reported is starting.
#[derive(Clone, Default)]
struct Health(Arc<Mutex<BTreeMap<String, String>>>);

impl Health {
    fn set(&self, thread: &str, trouble: Option<&str>) {
        let mut troubles = self.0.lock();
        match trouble {
            None => troubles.remove(thread),
            Some(trouble) => troubles.insert(thread.to_owned(), trouble.to_owned()),
        };
    }

    fn summary(&self) -> String {
        let troubles = self.0.lock();
        if troubles.is_empty() {
            return "ok\n".to_owned();
        }
        let list: Vec<String> = troubles
            .iter()
            .map(|(thread, trouble)| format!("{thread}: {}", trouble.replace('\n', " ")))
            .collect();
        format!("degraded: {}\n", list.join("; "))
    }
}

/// What a thread knows of its surroundings.
pub struct ThreadContext {
    name: String,
    stop: Stop,
    health: Health,
}

impl ThreadContext {
    /// The request to stop.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Reports that this thread does its work.
    pub fn healthy(&self) {
        self.health.set(&self.name, None);
    }

    /// Reports why this thread cannot do its work now.
    pub fn unhealthy(&self, trouble: &str) {
        self.health.set(&self.name, Some(trouble));
    }

    /// Runs `session` until a stop is requested, again after each temporary failure.
    ///
    /// Pauses grow from 0.1 s to 5 s, with jitter, and start over once a session has reported
    /// itself healthy. A repeated error is logged when it changes and then once a minute. An error
    /// that carries [`Fault::Fatal`] is returned.
    pub fn keep_trying(&self, what: &str, mut session: impl FnMut() -> Result<()>) -> Result<()> {
        let mut backoff = Backoff::default();
        let mut complaint = Complaint::default();
        self.unhealthy("starting");
        while !self.stop.requested() {
            let Err(error) = session() else { continue };
            if fault_of(&error) == Fault::Fatal {
                return Err(error);
            }
            if self.stop.requested() {
                // What was given up for the stop is no news.
                log::debug!("{what}: {error:#}");
                break;
            }
            if self.health.0.lock().get(&self.name).is_none() {
                backoff = Backoff::default();
            }
            let text = format!("{what}: {error:#}");
            self.unhealthy(&text);
            let pause = backoff.next_pause();
            if complaint.is_due(&text) {
                log::warn!("{text}; trying again");
            }
            self.stop.wait(pause);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn health_names_the_thread_and_its_trouble() {
        let health = Health::default();
        health.set("ticker", Some("no\nserver"));
        assert_eq!(health.summary(), "degraded: ticker: no server\n");
        health.set("ticker", None);
        assert_eq!(health.summary(), "ok\n");
    }

    #[test]
    fn health_that_was_written_long_ago_or_in_the_future_counts_for_nothing() {
        let path = std::env::temp_dir().join(format!("health-{}", std::process::id()));
        std::fs::write(&path, "ok\n").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let (now, long) = (SystemTime::now(), Duration::from_secs(60));
        let read = |written| {
            file.set_modified(written).unwrap();
            read_health(path.to_str().unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(read(now).as_deref(), Ok("ok"));
        assert_eq!(read(now + Duration::from_secs(2)).as_deref(), Ok("ok"));
        assert!(read(now - long).unwrap_err().contains("s ago"));
        assert!(read(now + long).unwrap_err().contains("in the future"));
        std::fs::remove_file(&path).unwrap();
    }
}
