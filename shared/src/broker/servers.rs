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
        let mut login = match (environment.optional("NATS_USER"), environment.optional("NATS_PASSWORD")) {
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

/// Takes user and password out of a server's URL.
fn split_url(url: &str) -> Result<(String, Option<(String, Secret)>)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    if !matches!(scheme, "nats" | "tls") || rest.is_empty() {
        bail!("NATS_URL is not valid: it takes nats://host:port, or several separated by commas");
    }
    match rest.rsplit_once('@') {
        None => Ok((format!("{scheme}://{rest}"), None)),
        Some((login, host)) => {
            let (user, password) = login.split_once(':').context(
                "NATS_URL has a login without a password: it takes nats://user:password@host:port",
            )?;
            let login = (decoded(user)?, Secret::new(decoded(password)?));
            Ok((format!("{scheme}://{host}"), Some(login)))
        }
    }
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
        assert!(split_url("http://127.0.0.1:4222").is_err());
    }
}
