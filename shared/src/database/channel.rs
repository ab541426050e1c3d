//! The stream to a server, encrypted or not: what is below the [watch](super::watched).
//!
//! It comes about in the client's hook for TLS, which hands over the socket before anything was sent on it. So whether
//! TLS is asked for, and what a refusal means, is decided here and not in the client.

use super::binding;
use super::certificates::PROTOCOL;
use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Encrypted;

/// Asks a server whether it offers TLS: the length, and the number that stands for it.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How a connection is encrypted.
#[derive(Clone)]
pub(super) struct Encryption {
    pub(super) config: Arc<ClientConfig>,
    /// Without asking first.
    pub(super) is_direct: bool,
    pub(super) is_required: bool,
}

/// How streams to one server are made.
#[derive(Clone)]
pub(super) struct Channel {
    encryption: Option<Encryption>,
    host: String,
}

impl Channel {
    pub(super) fn plain() -> Channel {
        Channel { encryption: None, host: String::new() }
    }

    pub(super) fn encrypted(encryption: Encryption) -> Channel {
        Channel { encryption: Some(encryption), host: String::new() }
    }

    /// The same for the server of this name.
    pub(super) fn to(&self, host: &str) -> Channel {
        Channel { host: host.to_owned(), ..self.clone() }
    }

    /// Whether plain text will do where TLS does not come about.
    pub(super) fn may_be_plain(&self) -> bool {
        self.encryption.as_ref().is_some_and(|encryption| !encryption.is_required)
    }

    /// A stream over the socket. Waits for the server without a deadline.
    pub(super) async fn open(self, mut socket: Socket) -> Result<Stream, Failure> {
        let Some(encryption) = self.encryption else { return Ok(Stream::Plain(socket)) };
        if !encryption.is_direct && !is_offered(&mut socket).await? {
            if encryption.is_required {
                return Err(Failure::refusal(
                    "the server offers no TLS (ssl is off), and sslmode requires it",
                ));
            }
            return Ok(Stream::Plain(socket));
        }
        let connector = TlsConnector::from(encryption.config);
        let stream = connector
            .connect(server_name(&self.host), socket)
            .await
            .map_err(|error| Failure::of_handshake(&error))?;
        if encryption.is_direct && stream.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
            return Err(Failure::refusal(
                "the server speaks TLS and not PostgreSQL; sslnegotiation=direct takes PostgreSQL 17",
            ));
        }
        Ok(Stream::Encrypted(Box::new(stream)))
    }
}

/// Reads one byte and no more: whatever a stranger puts behind it is no part of what is said within TLS.
async fn is_offered(socket: &mut Socket) -> Result<bool, Failure> {
    socket.write_all(&REQUEST).await.map_err(|error| Failure::of_socket(&error))?;
    let mut answer = [0];
    socket.read_exact(&mut answer).await.map_err(|error| Failure::of_socket(&error))?;
    match answer {
        [b'S'] => Ok(true),
        [b'N'] => Ok(false),
        _ => Err(Failure::refusal("the server answers with an error where it is asked for TLS")),
    }
}

/// A name that is no DNS name is no part of any certificate; where certificates are not verified by name, it will do.
fn server_name(host: &str) -> ServerName<'static> {
    let unknown = || ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    ServerName::try_from(host.to_owned()).unwrap_or_else(|_| unknown())
}

/// Why there is no stream.
#[derive(Debug)]
pub(super) struct Failure {
    reason: String,
    /// The server has answered, and what it said will not do.
    pub(super) is_answer: bool,
}

impl Failure {
    pub(super) fn silence(reason: String) -> Failure {
        Failure { reason, is_answer: false }
    }

    fn refusal(reason: &str) -> Failure {
        Failure { reason: reason.to_owned(), is_answer: true }
    }

    fn of_socket(error: &io::Error) -> Failure {
        Failure { reason: format!("the connection ended as TLS was asked for: {error}"), is_answer: false }
    }

    fn of_handshake(error: &io::Error) -> Failure {
        match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(cause) => Failure { reason: words(cause), is_answer: true },
            None => Failure {
                reason: format!("the connection ended during the TLS handshake: {error}"),
                is_answer: false,
            },
        }
    }

    /// Of an error of a connection that was being made.
    pub(super) fn within(error: &postgres::Error) -> Option<&Failure> {
        std::error::Error::source(error)?.downcast_ref()
    }
}

fn words(error: &rustls::Error) -> String {
    use rustls::CertificateError::{BadSignature, UnknownIssuer};
    match error {
        // The latter of another authority with the same name.
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            format!("the server's certificate is not signed by an authority in sslrootcert ({error})")
        }
        rustls::Error::InvalidCertificate(certificate) if certificate.to_string().contains("CaUsedAsEndEntity") => {
            "the server's certificate is that of an authority (CA:TRUE): give the server one of its own, signed by it".to_owned()
        }
        error => format!("TLS with the server failed: {error}"),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}

/// What bytes pass through.
pub(super) enum Stream {
    Plain(Socket),
    Encrypted(Box<Encrypted<Socket>>),
}

impl MakeTlsConnect<Socket> for Channel {
    type Stream = Stream;
    type TlsConnect = Channel;
    type Error = Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<Channel, Infallible> {
        Ok(self.to(host))
    }
}

impl TlsConnect<Socket> for Channel {
    type Stream = Stream;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Failure>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(self.open(socket))
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        let Stream::Encrypted(stream) = self else { return ChannelBinding::none() };
        let certificate =
            stream.get_ref().1.peer_certificates().and_then(|certificates| certificates.first());
        certificate
            .and_then(|certificate| binding::of_certificate(certificate))
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
