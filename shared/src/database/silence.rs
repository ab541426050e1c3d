//! What it means when nothing comes although an answer is awaited.

use super::channel::{Channel, Failure};
use super::conversation::Phase;
use crate::stopping::stopping_for;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep, timeout};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::config::Config;

/// A server that has been silent for so long is probed, and again after each probe.
const SUSPICIOUS_AFTER: Duration = Duration::from_secs(3);
/// A probe has this long to connect and to be answered.
const PROBE_DEADLINE: Duration = Duration::from_secs(4);
/// A statement that the server should have ended by its `statement_timeout` fails after this much more,
/// whatever probes say.
const STATEMENT_GRACE: Duration = Duration::from_secs(10);
/// How long an answer is still waited for after a stop was requested.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// Maximum wait for a clean end of a session.
const END_DEADLINE: Duration = Duration::from_secs(1);
/// How often a silence is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// How the connections of one server are watched.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) address: Arc<str>,
    /// How the stream below is made, for a probe as well.
    pub(super) channel: Channel,
    /// How to connect for a probe.
    pub(super) probe: Arc<Config>,
    pub(super) statement_timeout: Duration,
    /// When the connection that is being made must be ready.
    pub(super) ready_by: Instant,
}

/// The time since something moved on a connection, while an answer is awaited.
pub(super) struct Silence {
    watch: Watch,
    since: Option<Instant>,
    /// When the last probe was answered in this silence.
    answered: Option<Instant>,
    probe: Option<JoinHandle<bool>>,
    check: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub(super) fn new(watch: Watch) -> Silence {
        Silence { watch, since: None, answered: None, probe: None, check: None }
    }

    /// To be called when something moved.
    pub(super) fn end(&mut self) {
        self.since = None;
        self.answered = None;
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
    }

    /// To be called when nothing moves although an answer is awaited; wakes the task for the next check.
    /// Fails when the silence means that the server is gone.
    pub(super) fn poll(&mut self, phase: Phase, context: &mut Context<'_>) -> Result<(), String> {
        let since = *self.since.get_or_insert_with(Instant::now);
        loop {
            self.poll_probe(context)?;
            self.judge(phase, since)?;
            let check = self.check.get_or_insert_with(|| Box::pin(sleep(CHECK_INTERVAL)));
            if check.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            check.as_mut().reset(tokio::time::Instant::now() + CHECK_INTERVAL);
        }
    }

    fn poll_probe(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        let Some(probe) = &mut self.probe else { return Ok(()) };
        let Poll::Ready(answered) = Pin::new(probe).poll(context) else { return Ok(()) };
        self.probe = None;
        if answered.unwrap_or(false) {
            self.answered = Some(Instant::now());
            log::debug!("PostgreSQL at {} answers others: a statement takes long", self.watch.address);
            return Ok(());
        }
        Err(self.description())
    }

    /// What the silence means by now; starts a probe when it is time for one.
    fn judge(&mut self, phase: Phase, since: Instant) -> Result<(), String> {
        if stopping_for().is_some_and(|stopping| stopping > STOP_GRACE) && since.elapsed() > CHECK_INTERVAL {
            return Err("the answer is not awaited any longer: a stop is requested".to_owned());
        }
        match phase {
            Phase::Starting if Instant::now() > self.watch.ready_by => Err(self.description()),
            Phase::Ending if since.elapsed() > END_DEADLINE => Err(self.description()),
            Phase::Starting | Phase::Ending => Ok(()),
            Phase::Ready => self.judge_statement(since),
        }
    }

    fn judge_statement(&mut self, since: Instant) -> Result<(), String> {
        if since.elapsed() > self.watch.statement_timeout + STATEMENT_GRACE {
            return Err(format!("{}, though it answers others", self.description()));
        }
        if self.probe.is_none() && self.answered.unwrap_or(since).elapsed() > SUSPICIOUS_AFTER {
            let (config, channel) = (self.watch.probe.clone(), self.watch.channel.clone());
            self.probe = Some(tokio::spawn(async move {
                timeout(PROBE_DEADLINE, is_answered(&config, channel)).await.unwrap_or(false)
            }));
        }
        Ok(())
    }

    fn description(&self) -> String {
        let silent = self.since.map(|since| since.elapsed()).unwrap_or_default();
        has_not_answered(&self.watch.address, silent)
    }
}

/// To whole seconds: a deadline may end a moment early.
pub(super) fn has_not_answered(address: &str, silent: Duration) -> String {
    format!("PostgreSQL at {address} has not answered for {:.0} s", silent.as_secs_f32())
}

/// Whether the server answers a fresh connection, be it by refusing it.
async fn is_answered(config: &Config, channel: Channel) -> bool {
    let (client, connection) = match config.connect(channel).await {
        Ok(connected) => connected,
        Err(error) => {
            return error.as_db_error().is_some() || Failure::within(&error).is_some_and(|it| it.is_answer);
        }
    };
    let connection = tokio::spawn(connection);
    let answer = client.simple_query("select 1").await;
    connection.abort();
    match answer {
        Ok(messages) => messages.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))),
        Err(error) => error.as_db_error().is_some(),
    }
}
