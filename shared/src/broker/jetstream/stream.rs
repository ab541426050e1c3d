//! The stream: created, checked, purged.

use super::api::{API_TIMEOUT, api, api_answer, is_gone};
use super::consumer::Consumer;
use crate::broker::{Connection, Incoming, status};
use crate::fault::Fault;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// A stream may take so long to listen after an election.
const LISTENING_TRIES: u32 = 10;
const LISTENING_PAUSE: Duration = Duration::from_millis(500);
/// A message stays until it is purged, whoever has read it.
const RETENTION: &str = "limits";

/// The stream. It keeps every message until that is released, by a purge.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Name of the stream.
    pub name: String,
    /// The one subject that it stores.
    pub subject: String,
    /// Copies, each on a node of its own.
    pub replicas: u32,
    /// A full stream refuses messages, which then wait in the outbox.
    pub max_bytes: i64,
}

impl Stream {
    /// Creates the stream where it is missing; leaves it as it is where it exists.
    pub fn ensure(&self, connection: &Connection) -> Result<()> {
        self.ensure_stream(connection).with_context(|| format!("create the stream {}", self.name))?;
        self.ensure_it_listens(connection)
    }

    /// Deletes the stream where it has a leader and takes no messages; the next attempt creates it. Seen with
    /// nats-server 2.9: a stream that was deleted and created again is assigned twice when its zone restarts,
    /// and nobody subscribes to its subject. Its messages are sent again from the outbox.
    fn ensure_it_listens(&self, connection: &Connection) -> Result<()> {
        // The leader refuses it, which is an answer; where nobody listens, the server says so.
        let refused = Some(("Nats-Expected-Stream", "none of this name"));
        for _ in 0..LISTENING_TRIES {
            let answer = connection.request_with(&self.subject, refused, Vec::new(), API_TIMEOUT)?;
            if status(&answer) != Some(503) {
                return Ok(());
            }
            std::thread::sleep(LISTENING_PAUSE);
        }
        let info = self.info(connection)?;
        if info["cluster"]["leader"].as_str().is_none_or(str::is_empty) {
            bail!("the stream {} has no leader", self.name);
        }
        log::warn!("the stream {} has a leader and takes no messages: recreating it", self.name);
        self.delete(connection)?;
        bail!("the stream {} took no messages and was deleted", self.name)
    }

    fn ensure_stream(&self, connection: &Connection) -> Result<()> {
        match self.info(connection) {
            Ok(info) => {
                self.check_subject(&info)?;
                if info["config"]["retention"] == RETENTION {
                    return check_release(&info);
                }
                log::warn!(
                    "the stream {} was created by an older version, for one consumer that acknowledges: recreating it; its \
                     messages are sent again from the outbox",
                    self.name
                );
                self.delete(connection)?;
                self.create_stream(connection)
            }
            Err(error) if is_gone(&error) => self.create_stream(connection),
            Err(error) => Err(error),
        }
    }

    fn info(&self, connection: &Connection) -> Result<Value> {
        api(connection, &format!("STREAM.INFO.{}", self.name), &Value::Null)
    }

    fn delete(&self, connection: &Connection) -> Result<Value> {
        api(connection, &format!("STREAM.DELETE.{}", self.name), &Value::Null)
    }

    fn create_stream(&self, connection: &Connection) -> Result<()> {
        let config = json!({
            "name": self.name,
            "subjects": [self.subject],
            "retention": RETENTION,
            "storage": "file",
            "discard": "new",
            "max_bytes": self.max_bytes,
            "num_replicas": self.replicas,
        });
        api(connection, &format!("STREAM.CREATE.{}", self.name), &config)?;
        log::info!("created the stream {} (subject {}, {} replicas)", self.name, self.subject, self.replicas);
        Ok(())
    }

    fn check_subject(&self, info: &Value) -> Result<()> {
        let subjects = &info["config"]["subjects"];
        if *subjects != json!([self.subject]) {
            bail!("it exists and stores {subjects} instead of {}: choose another NATS_STREAM", self.subject);
        }
        Ok(())
    }

    /// A new consumer, not yet created.
    pub fn consumer(&self) -> Consumer {
        Consumer::new(&self.name)
    }

    /// Asks the stream to purge every message before `sequence`. The answer comes to `inbox`;
    /// [`released`] reads it.
    pub fn release(&self, connection: &Connection, inbox: &str, sequence: u64) -> Result<()> {
        let (subject, request) = self.release_request(sequence)?;
        connection.publish(&subject, Some(inbox), request)
    }

    /// The same, and waits for the answer, at most 1.5 s.
    pub fn release_now(&self, connection: &Connection, sequence: u64) -> Result<()> {
        let (subject, request) = self.release_request(sequence)?;
        released(&connection.request(&subject, request, API_TIMEOUT)?)
    }

    fn release_request(&self, sequence: u64) -> Result<(String, Vec<u8>)> {
        let request = serde_json::to_vec(&json!({ "seq": sequence }))?;
        Ok((self.release_subject(), request))
    }

    /// The subject of purges.
    pub fn release_subject(&self) -> String {
        format!("$JS.API.STREAM.PURGE.{}", self.name)
    }

    /// The subject below which each consumer pulls, under its name.
    pub fn pull_subject(&self) -> String {
        format!("$JS.API.CONSUMER.MSG.NEXT.{}", self.name)
    }
}

/// A stream that cannot be purged would fill up, and every consumer would read it from its beginning.
fn check_release(info: &Value) -> Result<()> {
    if info["config"]["deny_purge"] == true {
        return Err(anyhow!(
            "it is set to deny_purge, which cannot be unset, so nothing can be purged from it: delete it and start again (it \
             is recreated, and its messages are sent again from the outbox), or choose another NATS_STREAM"
        )
        .context(Fault::Fatal));
    }
    Ok(())
}

/// Reads the answer to [`Stream::release`].
pub fn released(answer: &Incoming) -> Result<()> {
    api_answer("STREAM.PURGE", answer).map(drop)
}
