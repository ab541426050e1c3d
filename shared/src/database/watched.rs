//! A connection that is watched from this side: a server that accepts and then never answers (it was
//! stopped, its machine hangs, the network drops its packets) cannot keep a deadline of its own.
//!
//! While an answer is awaited and nothing comes for [`SUSPICIOUS_AFTER`], the server is *probed*: a
//! fresh connection asks for `select 1`. If that is answered, the statement merely takes long, which
//! its `statement_timeout` bounds. If not, the connection fails with a clear error, and so does
//! whatever was waiting on it. All of it happens inside the call that waits; there is no other thread,
//! and an operation that is answered in time costs a look at the clock.
//!
//! The stream comes to lie here by the crate's door for TLS: `sslnegotiation=direct` hands over the
//! socket before anything was said on it. What is handed back speaks plain text.

use super::frames::Frames;
use crate::stopping::stopping_for;
use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep, timeout};
use tokio_postgres::config::Config;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// A server that has been silent for so long is probed, and again after each probe.
const SUSPICIOUS_AFTER: Duration = Duration::from_secs(3);
/// A probe has this long to connect and to be answered.
const PROBE_DEADLINE: Duration = Duration::from_secs(4);
/// A statement that the server should have ended by its `statement_timeout` is given up after this
/// much more, whatever probes say.
const STATEMENT_GRACE: Duration = Duration::from_secs(10);
/// An answer that has not come this long after a stop was requested is not waited for.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// The end of a connection is not worth waiting for.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often a silence is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How the connections of one database are watched.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) address: Arc<str>,
    /// How to connect for a probe.
    pub(super) probe: Arc<Config>,
    pub(super) statement_timeout: Duration,
    /// When the connection that is being made must be ready.
    pub(super) ready_by: Instant,
}

impl MakeTlsConnect<Socket> for Watch {
    type Stream = Watched;
    type TlsConnect = Watch;
    type Error = Infallible;

    fn make_tls_connect(&mut self, _host: &str) -> Result<Watch, Infallible> {
        Ok(self.clone())
    }
}

impl TlsConnect<Socket> for Watch {
    type Stream = Watched;
    type Error = Infallible;
    type Future = Ready<Result<Watched, Infallible>>;

    fn connect(self, socket: Socket) -> Self::Future {
        ready(Ok(Watched {
            socket,
            watch: self,
            sent: Frames::of_client(),
            received: Frames::of_server(),
            requests: 0,
            unfinished: false,
            write_blocked: false,
            phase: Phase::Starting,
            silent_since: None,
            probed: None,
            probe: None,
            look: None,
            failed: None,
        }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not yet ready for the first statement.
    Starting,
    Ready,
    /// This side has said goodbye.
    Ending,
}

/// The stream between client and server.
pub(super) struct Watched {
    socket: Socket,
    watch: Watch,
    sent: Frames,
    received: Frames,
    /// Requests sent for which the server has not yet said that it is ready for the next.
    requests: u64,
    /// A request has begun and its end is not yet sent.
    unfinished: bool,
    write_blocked: bool,
    phase: Phase,
    /// Since when an answer is awaited and nothing moved.
    silent_since: Option<Instant>,
    /// When the last probe was answered in this silence.
    probed: Option<Instant>,
    probe: Option<JoinHandle<bool>>,
    look: Option<Pin<Box<Sleep>>>,
    /// Once failed, always failed: nothing is resumed on it.
    failed: Option<String>,
}

impl Watched {
    fn note_sent(&mut self, bytes: &[u8]) {
        let Watched { sent, requests, phase, unfinished, .. } = self;
        sent.pass(bytes, |kind| {
            *unfinished = true;
            match kind {
                // Startup, Query, Sync, FunctionCall: each is answered by one ReadyForQuery.
                0 | b'Q' | b'S' | b'F' => {
                    *requests += 1;
                    *unfinished = false;
                }
                // Terminate.
                b'X' => *phase = Phase::Ending,
                _ => {}
            }
        });
        self.unfinished |= self.sent.is_inside();
        self.note_progress();
    }

    fn note_received(&mut self, bytes: &[u8]) {
        let Watched { received, requests, phase, .. } = self;
        received.pass(bytes, |kind| {
            // ReadyForQuery.
            if kind == b'Z' {
                *requests = requests.saturating_sub(1);
                if *phase == Phase::Starting {
                    *phase = Phase::Ready;
                }
            }
        });
        self.note_progress();
    }

    fn note_progress(&mut self) {
        self.silent_since = None;
        self.probed = None;
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
    }

    fn is_answer_awaited(&self) -> bool {
        self.requests > 0 || self.unfinished || self.write_blocked || self.phase == Phase::Ending
    }

    /// To be called whenever nothing moves or an answer begins to be awaited; wakes the task to look
    /// again. Fails when the silence means that the server is gone.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.is_answer_awaited() {
            return Ok(());
        }
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        loop {
            if let Err(error) = self.poll_probe(context).and_then(|()| self.judge(since)) {
                self.failed = Some(error.clone());
                return Err(io::Error::new(io::ErrorKind::TimedOut, error));
            }
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK_INTERVAL)));
            if look.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            look.as_mut().reset(tokio::time::Instant::now() + LOOK_INTERVAL);
        }
    }

    fn poll_probe(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        let Some(probe) = &mut self.probe else { return Ok(()) };
        let Poll::Ready(answered) = Pin::new(probe).poll(context) else { return Ok(()) };
        self.probe = None;
        if answered.unwrap_or(false) {
            self.probed = Some(Instant::now());
            log::debug!("PostgreSQL at {} answers others: a statement takes long", self.watch.address);
            return Ok(());
        }
        Err(self.silence())
    }

    /// What the silence means by now; starts a probe when it is time for one.
    fn judge(&mut self, since: Instant) -> Result<(), String> {
        if stopping_for().is_some_and(|stopping| stopping > STOP_GRACE) && since.elapsed() > LOOK_INTERVAL {
            return Err("the answer is not waited for any longer: a stop is requested".to_owned());
        }
        match self.phase {
            Phase::Starting if Instant::now() > self.watch.ready_by => Err(self.silence()),
            Phase::Ending if since.elapsed() > FAREWELL => Err(self.silence()),
            Phase::Starting | Phase::Ending => Ok(()),
            Phase::Ready => {
                if since.elapsed() > self.watch.statement_timeout + STATEMENT_GRACE {
                    return Err(format!("{}, though it answers others", self.silence()));
                }
                if self.probe.is_none() && self.probed.unwrap_or(since).elapsed() > SUSPICIOUS_AFTER {
                    let config = self.watch.probe.clone();
                    self.probe = Some(tokio::spawn(async move {
                        timeout(PROBE_DEADLINE, is_answered(&config)).await.unwrap_or(false)
                    }));
                }
                Ok(())
            }
        }
    }

    fn silence(&self) -> String {
        let silent = self.silent_since.map(|since| since.elapsed()).unwrap_or_default();
        format!("PostgreSQL at {} has not answered for {} s", self.watch.address, silent.as_secs())
    }

    fn check_failed(&self) -> io::Result<()> {
        match &self.failed {
            Some(error) => Err(io::Error::new(io::ErrorKind::TimedOut, error.clone())),
            None => Ok(()),
        }
    }

    /// Lets a write, flush or shutdown that cannot go on fail when the server is gone.
    fn watch_write<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        self.write_blocked = written.is_pending();
        if written.is_pending() {
            self.poll_silence(context)?;
        }
        written
    }
}

/// Whether the server answers a fresh connection, be it by refusing it.
async fn is_answered(config: &Config) -> bool {
    let (client, connection) = match config.connect(NoTls).await {
        Ok(connected) => connected,
        Err(error) => return error.as_db_error().is_some(),
    };
    let connection = tokio::spawn(connection);
    let answer = client.simple_query("select 1").await;
    connection.abort();
    match answer {
        Ok(messages) => messages.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))),
        Err(error) => error.as_db_error().is_some(),
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_failed()?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        match read {
            Poll::Ready(Ok(())) => self.note_received(&buffer.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.poll_silence(context)?,
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_failed()?;
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = &written {
            self.note_sent(&bytes[..*written]);
            // The task may not look at the other direction again before something comes from there.
            self.poll_silence(context)?;
        }
        self.watch_write(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_failed()?;
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        self.watch_write(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_failed()?;
        let shut = Pin::new(&mut self.socket).poll_shutdown(context);
        self.watch_write(shut, context)
    }
}

impl TlsStream for Watched {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
