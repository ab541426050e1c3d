//! The servers of a cluster, dialled in turn.

use super::connection::Connection;
use super::identity::Identity;
use super::signing::Signing;
use crate::attempts::Attempts;
use crate::config::{Environment, Secret};
use crate::database::is_another_machine;
use crate::metrics::nats_reconnected;
use anyhow::{Context, Result, anyhow, bail};
use percent_encoding::percent_decode_str;

/// The servers of one cluster and how to log in.
#[derive(Clone, Debug)]
pub struct Broker {
    identity: Identity,
    servers: Vec<Server>,
    next: usize,
    signing: Signing,
    /// Whether the owner of this has had a connection.
    was_connected: bool,
}

#[derive(Clone, Debug)]
struct Server {
    url: String,
    /// Connections to it, and attempts at one.
    attempts: Attempts,
}

impl Broker {
    /// Reads `NATS_URL` (one or more, separated by commas), and how to log in: `NATS_USER` and `NATS_PASSWORD`, `NATS_TOKEN`,
    /// `NATS_CREDS_FILE` or `NATS_NKEY_FILE`; for TLS `NATS_CA_FILE`, `NATS_CERT_FILE` and `NATS_KEY_FILE`;
    /// `NATS_SIGNING_KEY_FILE` for signed messages.
    pub fn from_env(environment: &Environment, client_name: &str) -> Result<Broker> {
        let urls = environment.required("NATS_URL", "nats://127.0.0.1:4222")?;
        let (mut servers, mut logins) = (Vec::new(), Vec::new());
        for url in urls.split(',').map(str::trim) {
            let (server, login) = split_url(url)?;
            servers.push(Server { url: server, attempts: Attempts::default() });
            // Servers learned from another server carry no login: it belongs to the client.
            logins.extend(login);
        }
        let is_tls = servers.iter().any(|server| server.url.starts_with("tls://"));
        let identity = Identity::from_env(environment, client_name, logins, is_tls)?;
        let is_seen = || servers.iter().any(|server| is_another_machine(host(&server.url)));
        if !identity.tls.is_required && !environment.plain_text_is_accepted()? && is_seen() {
            log::warn!(
                next = "say tls:// and set NATS_CA_FILE, as docs/security.md says";
                "NATS_URL leads to another machine, and not by tls://: rows and the login can be read on the way, and changed"
            );
        }
        let next = fastrand::usize(..servers.len());
        Ok(Broker { identity, servers, next, signing: Signing::from_env(environment)?, was_connected: false })
    }

    /// How our messages are signed.
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// Dials the servers in turn, beginning after the one dialled last. Each gets a few seconds to answer.
    pub fn connect(&mut self) -> Result<Connection> {
        let mut last_error = anyhow!("no server");
        for _ in 0..self.servers.len() {
            let server = self.servers[self.next].clone();
            self.next = (self.next + 1) % self.servers.len();
            let Server { url, attempts } = &server;
            match Connection::open(&self.identity, url, attempts, self.signing.clone()) {
                Ok(connection) => {
                    log::info!("connected to {url}");
                    if std::mem::replace(&mut self.was_connected, true) {
                        nats_reconnected();
                    }
                    return Ok(connection);
                }
                Err(error) => last_error = error.context(format!("connect to {url}")),
            }
        }
        Err(last_error).with_context(|| format!("none of {} NATS servers can be used", self.servers.len()))
    }
}

/// What a URL may be. Its value is not shown: what cannot be read may be a password.
const ALLOWED: &str = "it takes nats://host:port, or several separated by commas, with nothing behind the port; a login \
                       is written nats://user:password@host:port, an @ in it %40, a comma %2C, a space %20";

/// Takes user and password out of a server's URL.
fn split_url(url: &str) -> Result<(String, Option<(String, Secret)>)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let (login, host) = match rest.rsplit_once('@') {
        None => (None, rest),
        Some((login, host)) => (Some(login), host),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    let has_space = login.is_some_and(|login| login.contains(char::is_whitespace));
    if !matches!(scheme, "nats" | "tls") || !is_address(host) || has_space {
        bail!("NATS_URL is not valid (its value is not shown, it may hold a password): {ALLOWED}");
    }
    let server = format!("{scheme}://{host}");
    let Some(login) = login else { return Ok((server, None)) };
    let (user, password) = login.split_once(':').with_context(|| {
        format!("NATS_URL has a login without a password (a token goes into NATS_TOKEN): {ALLOWED}")
    })?;
    Ok((server, Some((decoded(user)?, Secret::new(decoded(password)?)))))
}

/// The name or address in a URL without a login.
pub(super) fn host(url: &str) -> &str {
    let server = url.rsplit("://").next().unwrap_or(url);
    match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => server,
    }
}

/// A host with a port, or without one.
fn is_address(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%');
    !name.is_empty()
        && name.chars().all(fits)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// The text of a part of a URL, in which %40 is an @.
fn decoded(part: &str) -> Result<String> {
    let text = percent_decode_str(part).decode_utf8();
    Ok(text.context("the login in NATS_URL is not UTF-8 where it is decoded (%40 is an @)")?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_the_url() {
        let (server, login) = split_url("nats://replication:pass@word@127.0.0.1:4222").unwrap();
        assert_eq!(server, "nats://127.0.0.1:4222");
        let (user, password) = login.unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("replication", "pass@word"));
        let (_, login) = split_url("nats://us%3Aer:p%40ss%25@127.0.0.1:4222").unwrap();
        let (user, password) = login.unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("us:er", "p@ss%"));
        assert!(split_url("nats://u:%ff@127.0.0.1:4222").is_err());
        assert_eq!(split_url("127.0.0.1:4222").unwrap().0, "nats://127.0.0.1:4222");
        assert_eq!(split_url("tls://[::1]:4222/").unwrap().0, "tls://[::1]:4222");
        assert_eq!(split_url("nats-1.example.org").unwrap().0, "nats://nats-1.example.org");
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        for url in [
            "http://127.0.0.1:4222",
            "nats://",
            "nats://u:S3cret",
            "nats://S3cret@127.0.0.1:4222",
            "nats://127.0.0.1:4222/?token=S3cret",
            "nats://127.0.0.1:4222?S3cret",
            "nats://127.0.0.1:4222 nats://u:S3cret@127.0.0.1:4223",
            "nats://u:pass@127.0.0.1:0",
        ] {
            let error = format!("{:#}", split_url(url).unwrap_err());
            assert!(
                error.contains("it takes nats://host:port") && !error.contains("S3cret"),
                "{url}: {error}"
            );
        }
    }
}
