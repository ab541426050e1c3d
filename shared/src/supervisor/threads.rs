//! The threads of one process: started, watched, told to stop and joined.

use super::context::{Stop, ThreadContext};
use super::health::{Health, HealthFile};
use super::notify::Notify;
use crate::config::Environment;
use crate::stopping;
use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGUSR1, SIGUSR2};
use signal_hook::flag;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long to wait for the failure that made a thread end.
const CAUSE_DEADLINE: Duration = Duration::from_millis(500);
/// How long a stop waits for the threads.
const JOIN_DEADLINE: Duration = Duration::from_secs(10);
/// How many threads can end before the first end is read.
const OUTCOMES: usize = 64;

/// Owns the threads of one process.
pub struct Supervisor {
    stop: Stop,
    /// Dropped to tell every thread to stop.
    running: Option<Sender<Infallible>>,
    signals: Receiver<()>,
    outcomes: (Sender<Outcome>, Receiver<Outcome>),
    health: Health,
    health_file: Option<HealthFile>,
    turn: Turn,
    notify: Notify,
    status: Box<dyn Fn() -> String>,
    threads: Vec<(String, JoinHandle<()>)>,
}

/// When the supervisor's loop turned last.
#[derive(Clone)]
pub(super) struct Turn {
    since: Instant,
    at_ms: Arc<AtomicU64>,
}

impl Turn {
    fn new() -> Turn {
        Turn { since: Instant::now(), at_ms: Arc::default() }
    }

    fn note(&self) {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at_ms.store(now_ms, Ordering::Release);
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.at_ms.load(Ordering::Acquire)))
    }
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
    pub(super) fn new(environment: &Environment) -> Result<Supervisor> {
        let (running, stopped) = bounded(0);
        Ok(Supervisor {
            stop: Stop(stopped),
            running: Some(running),
            signals: signals()?,
            outcomes: bounded(OUTCOMES),
            health: Health::default(),
            health_file: HealthFile::from_env(environment),
            turn: Turn::new(),
            notify: Notify::from_env(environment)?,
            status: Box::new(|| "ok".to_owned()),
            threads: Vec::new(),
        })
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Starts a thread. It is expected to run until [`Stop`] is requested: an earlier end, an
    /// error or a panic stops the whole process.
    pub fn spawn(
        &mut self,
        name: &str,
        body: impl FnOnce(&ThreadContext) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let context = ThreadContext::new(name, self.stop.clone(), self.health.clone());
        context.starting();
        let outcomes = self.outcomes.0.clone();
        let thread = name.to_owned();
        let handle = Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let end = End::of(|| body(&context));
                // The channel holds more outcomes than there are threads, so this never waits.
                let _ = outcomes.try_send(Outcome { thread, end });
            })
            .with_context(|| format!("start thread {name}"))?;
        self.threads.push((name.to_owned(), handle));
        Ok(())
    }

    /// What the service manager shows of this service while all is well, such as its position. Called once a second; must
    /// not block.
    pub fn describe(&mut self, status: impl Fn() -> String + 'static) {
        self.status = Box::new(status);
    }

    pub(super) fn run(mut self, service: &str) -> ExitCode {
        let code = self.wait_for_end(service);
        stopping::begin();
        self.notify.stopping();
        self.running = None;
        let stuck = self.join_all();
        if let Some(file) = &self.health_file {
            file.remove();
        }
        if stuck.is_empty() {
            log::info!("{service} stopped");
            ExitCode::from(code)
        } else {
            log::error!("{service} exits although these threads did not stop in time: {}", stuck.join(", "));
            ExitCode::from(code.max(1))
        }
    }

    /// Waits for a signal or for the first thread that ends; returns the exit code.
    fn wait_for_end(&mut self, service: &str) -> u8 {
        loop {
            self.turn.note();
            crossbeam_channel::select! {
                recv(self.signals) -> _ => {
                    log::info!("{service}: stop requested");
                    return 0;
                }
                recv(self.outcomes.1) -> outcome => {
                    return outcome.map_or(1, |outcome| self.cause(outcome).report());
                }
                default(self.notify.interval()) => self.report(),
            }
        }
    }

    /// A thread whose neighbour failed ends, too, and may report first: the cause is the one that failed.
    fn cause(&self, mut outcome: Outcome) -> Outcome {
        while let End::Finished = outcome.end {
            match self.outcomes.1.recv_timeout(CAUSE_DEADLINE) {
                Ok(other) => outcome = other,
                Err(_) => break,
            }
        }
        outcome
    }

    /// Waits for all threads, at most [`JOIN_DEADLINE`]; returns those that still run.
    fn join_all(&mut self) -> Vec<String> {
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
        stuck
    }

    fn report(&mut self) {
        if let Some(file) = &self.health_file {
            file.write(&self.health);
        }
        self.notify.turn(self.health.trouble().as_deref(), &self.status, Instant::now());
    }
}

/// Receives the signals that ask the process to stop (SIGINT, SIGTERM, SIGHUP). Those that log rotation and
/// process managers also send, and that end a process by default, are ignored: nothing is reopened or reread.
fn signals() -> Result<Receiver<()>> {
    for ignored in [SIGUSR1, SIGUSR2] {
        flag::register(ignored, Arc::default()).context("ignore a signal")?;
    }
    let (signal, signals) = bounded(1);
    ctrlc::set_handler(move || {
        // A second signal while the first is handled changes nothing.
        let _ = signal.try_send(());
    })
    .context("install the signal handler")?;
    Ok(signals)
}

impl End {
    fn of(body: impl FnOnce() -> Result<()>) -> End {
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => End::Finished,
            Ok(Err(error)) => End::Failed(error),
            Err(panic) => End::Panicked(panic_text(panic.as_ref())),
        }
    }
}

impl Outcome {
    /// Logs it; returns the exit code.
    fn report(&self) -> u8 {
        let thread = &self.thread;
        match &self.end {
            End::Finished => {
                log::error!("thread {thread} ended without a stop request");
                1
            }
            End::Failed(error) => {
                log::error!(error:% = format!("{error:#}"); "thread {thread} failed");
                1
            }
            End::Panicked(text) => {
                log::error!(error = text.as_str(); "thread {thread} panicked");
                101
            }
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
