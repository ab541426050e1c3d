//! The stream: created, checked, purged.

use super::api::{API_TIMEOUT, api, api_answer, is_gone, is_without_room};
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
    /// It may be deleted and created again where it does not work.
    pub may_be_recreated: bool,
}

/// The nodes that keep a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// All of them.
    pub all: u32,
    /// Those that are there and have what the leader has, itself included.
    pub current: u32,
}

impl Nodes {
    /// A server that is in no cluster keeps it alone, and says nothing of that.
    fn of(info: &Value) -> Nodes {
        let cluster = &info["cluster"];
        let others = cluster["replicas"].as_array().map_or(&[][..], Vec::as_slice);
        let is_current = |node: &&Value| node["current"] == true && node["offline"] != true;
        let has_leader = cluster.is_null() || cluster["leader"].as_str().is_some_and(|name| !name.is_empty());
        let count = |nodes: usize| u32::try_from(nodes).unwrap_or(u32::MAX);
        Nodes {
            all: count(others.len()).saturating_add(1),
            current: count(others.iter().filter(is_current).count()).saturating_add(u32::from(has_leader)),
        }
    }
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
        let refused = Some(("Nats-Expected-Stream", "none of this name".to_owned()));
        for _ in 0..LISTENING_TRIES {
            let answer = connection.request_with(&self.subject, refused.clone(), Vec::new(), API_TIMEOUT)?;
            if status(&answer) != Some(503) {
                return Ok(());
            }
            std::thread::sleep(LISTENING_PAUSE);
        }
        let info = self.info(connection)?;
        if info["cluster"]["leader"].as_str().is_none_or(str::is_empty) {
            bail!("the stream {} has no leader", self.name);
        }
        let reason = "it has a leader and takes no messages";
        self.delete_because(reason, connection)?;
        bail!("the stream {} took no messages and was deleted", self.name)
    }

    fn ensure_stream(&self, connection: &Connection) -> Result<()> {
        match self.info(connection) {
            Ok(info) => {
                self.check_subject(&info)?;
                if info["config"]["retention"] == RETENTION {
                    return check_release(&info);
                }
                let reason = format!(
                    "its retention is {}, not \"{RETENTION}\" (an older version created it so)",
                    info["config"]["retention"]
                );
                self.delete_because(&reason, connection)?;
                self.create_stream(connection)
            }
            Err(error) if is_gone(&error) => self.create_stream(connection),
            Err(error) => Err(error),
        }
    }

    fn info(&self, connection: &Connection) -> Result<Value> {
        api(connection, &format!("STREAM.INFO.{}", self.name), &Value::Null)
    }

    /// How many nodes keep the stream, and how many of these are there and current. Waits at most 1.5 s.
    pub fn nodes(&self, connection: &Connection) -> Result<Nodes> {
        Ok(Nodes::of(&self.info(connection)?))
    }

    /// The sequence of the last message that the stream has; none where it has none, or where single ones were deleted from
    /// it, so that the last one may be among them.
    pub fn last_stored(&self, connection: &Connection) -> Result<Option<u64>> {
        let info = self.info(connection)?;
        let count = |name: &str| info["state"][name].as_u64().unwrap_or(0);
        Ok(Some(count("last_seq")).filter(|_| count("messages") > 0 && count("num_deleted") == 0))
    }

    /// Deletes it where that is allowed, with a word in the log; else fails, with what to do. [`Stream::ensure`] makes it anew.
    pub fn delete_because(&self, reason: &str, connection: &Connection) -> Result<()> {
        if !self.may_be_recreated {
            bail!(
                "the stream {} cannot be used: {reason}. NATS_STREAM_RECREATE=false keeps this program from deleting it: delete \
                 it yourself (it is recreated, and its messages are sent again from the outbox), or set it to true",
                self.name
            );
        }
        log::warn!(
            "the stream {} cannot be used: {reason}. Recreating it; its messages are sent again from the outbox",
            self.name
        );
        api(connection, &format!("STREAM.DELETE.{}", self.name), &Value::Null).map(drop)
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
        api(connection, &format!("STREAM.CREATE.{}", self.name), &config).map_err(|error| {
            if !is_without_room(&error) {
                return error;
            }
            error.context(format!(
                "each of {} replicas reserves NATS_STREAM_MAX_BYTES, {} bytes: set it lower, or give the servers a larger \
                 max_file_store",
                self.replicas, self.max_bytes
            ))
        })?;
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

    /// A new consumer, not yet created: from the first message on, or `from` this sequence.
    pub fn consumer(&self, from: Option<u64>) -> Consumer {
        Consumer::new(&self.name, from)
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

/// A stream that cannot be purged would fill up, and every consumer would read it from its beginning. One that
/// is sealed takes nothing, either.
fn check_release(info: &Value) -> Result<()> {
    for setting in ["sealed", "deny_purge"] {
        if info["config"][setting] == true {
            return Err(anyhow!(
                "it is set to {setting}, which cannot be unset, so nothing can be purged from it: delete it and start again \
                 (it is recreated, and its messages are sent again from the outbox), or choose another NATS_STREAM"
            )
            .context(Fault::Fatal));
        }
    }
    Ok(())
}

/// Reads the answer to [`Stream::release`].
pub fn released(answer: &Incoming) -> Result<()> {
    api_answer("STREAM.PURGE", answer).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_counts_while_it_is_there_and_current() {
        let nodes = |info: Value| {
            let Nodes { current, all } = Nodes::of(&info);
            (current, all)
        };
        assert_eq!(nodes(json!({})), (1, 1));
        assert_eq!(nodes(json!({"cluster": {"leader": "n1"}})), (1, 1));
        let replica = |current: bool, offline: bool| json!({"current": current, "offline": offline});
        let cluster =
            |leader: &str, replicas: [Value; 2]| json!({"cluster": {"leader": leader, "replicas": replicas}});
        assert_eq!(nodes(cluster("n1", [replica(true, false), replica(true, false)])), (3, 3));
        assert_eq!(nodes(cluster("n1", [replica(false, false), replica(true, true)])), (1, 3));
        assert_eq!(nodes(cluster("", [replica(true, false), replica(true, false)])), (2, 3));
    }
}
