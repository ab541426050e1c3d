//! A connection that is watched from this side: a server that accepts and then never answers (it was
//! stopped, its machine hangs, the network drops its packets) cannot keep a deadline of its own.
//!
//! While an answer is awaited and nothing comes for 3 s, the server is *probed*: a fresh connection asks for
//! `select 1`. If that is answered, the statement merely takes long, which its `statement_timeout` bounds.
//! If not, the connection fails with a clear error, and so does whatever waits on it. All of it happens
//! inside the call that waits; there is no other thread, and an operation that is answered in time costs a
//! look at the clock.
//!
//! The stream comes here by the client's hook for TLS: `sslnegotiation=direct` hands over the socket before
//! anything was sent on it. What is handed back speaks plain text on this side; the [channel](super::channel) below it may
//! encrypt.

use super::channel::{Failure, Stream};
use super::conversation::Conversation;
use super::silence::{Silence, Watch, has_not_answered};
use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout_at;

impl MakeTlsConnect<Socket> for Watch {
    type Stream = Watched;
    type TlsConnect = Watch;
    type Error = Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<Watch, Infallible> {
        Ok(Watch { channel: self.channel.to(host), ..self.clone() })
    }
}

impl TlsConnect<Socket> for Watch {
    type Stream = Watched;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Watched, Failure>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(self.open(socket))
    }
}

impl Watch {
    async fn open(self, socket: Socket) -> Result<Watched, Failure> {
        let begun = Instant::now();
        let opened = timeout_at(self.ready_by.into(), self.channel.clone().open(socket)).await;
        let stream =
            opened.map_err(|_| Failure::silence(has_not_answered(&self.address, begun.elapsed())))??;
        Ok(Watched {
            stream,
            conversation: Conversation::new(),
            silence: Silence::new(self),
            write_blocked: false,
            failed: None,
        })
    }
}

/// The stream between client and server.
pub(super) struct Watched {
    stream: Stream,
    conversation: Conversation,
    silence: Silence,
    write_blocked: bool,
    /// Once failed, always failed: nothing is resumed on it.
    failed: Option<String>,
}

impl Watched {
    /// To be called whenever nothing moves or an answer begins to be awaited. Fails when the server is gone.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.conversation.is_answer_awaited() && !self.write_blocked {
            return Ok(());
        }
        self.silence.poll(self.conversation.phase(), context).map_err(|error| {
            self.failed = Some(error.clone());
            io::Error::new(io::ErrorKind::TimedOut, error)
        })
    }

    fn check_failed(&self) -> io::Result<()> {
        match &self.failed {
            Some(error) => Err(io::Error::new(io::ErrorKind::TimedOut, error.clone())),
            None => Ok(()),
        }
    }

    /// Lets a write, flush or shutdown that is blocked fail when the server is gone.
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

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_failed()?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match read {
            Poll::Ready(Ok(())) => {
                self.conversation.note_received(&buffer.filled()[before..]);
                self.silence.end();
            }
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = &written {
            self.conversation.note_sent(&bytes[..*written]);
            self.silence.end();
            // The task may not look at the other direction again before something comes from there.
            self.poll_silence(context)?;
        }
        self.watch_write(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_failed()?;
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch_write(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_failed()?;
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch_write(shut, context)
    }
}

impl TlsStream for Watched {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}
