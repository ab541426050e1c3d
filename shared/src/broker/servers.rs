//! The servers of a cluster, dialled in turn.

use super::connection::Connection;
use super::link::Identity;
use crate::attempts::Attempts;
use crate::config::{Environment, Secret};
use anyhow::{Context, Result, anyhow, bail};
use percent_encoding::percent_decode_str;

/// The servers of one cluster and how to log in.
#[derive(Clone, Debug)]
pub struct Broker {
    identity: Identity,
    servers: Vec<Server>,
    next: usize,
}

#[derive(Clone, Debug)]
struct Server {
    url: String,
    /// Connections to it, and attempts at one.
    attempts: Attempts,
}

impl Broker {
    /// Reads `NATS_URL` (one or more, separated by commas), `NATS_USER` and `NATS_PASSWORD`.
    pub fn from_env(environment: &Environment, client_name: &str) -> Result<Broker> {
        let urls = environment.required("NATS_URL", "nats://127.0.0.1:4222")?;
        let mut login = match (environment.line("NATS_USER")?, environment.line("NATS_PASSWORD")?) {
            (Some(user), Some(password)) => Some((user.to_owned(), Secret::new(password))),
            (None, None) => None,
            _ => bail!("NATS_USER and NATS_PASSWORD go together: set both or neither"),
        };
        let mut servers = Vec::new();
        for url in urls.split(',').map(str::trim) {
            let (server, own_login) = split_url(url)?;
            servers.push(Server { url: server, attempts: Attempts::default() });
            // Servers learned from another server carry no login: it belongs to the client.
            login = own_login.or(login);
        }
        let next = fastrand::usize(..servers.len());
        Ok(Broker { identity: Identity { client_name: client_name.to_owned(), login }, servers, next })
    }

    /// Dials the servers in turn, beginning after the one dialled last. Each gets a few seconds to answer.
    pub fn connect(&mut self) -> Result<Connection> {
        let mut last_error = anyhow!("no server");
        for _ in 0..self.servers.len() {
            let server = self.servers[self.next].clone();
            self.next = (self.next + 1) % self.servers.len();
            let Server { url, attempts } = &server;
            match Connection::open(&self.identity, url, attempts) {
                Ok(connection) => {
                    log::info!("connected to {url}");
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
        format!("NATS_URL has a login without a password (tokens are not supported): {ALLOWED}")
    })?;
    Ok((server, Some((decoded(user)?, Secret::new(decoded(password)?)))))
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
