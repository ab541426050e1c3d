//! JetStream by its JSON API: creating the stream and consumers, pulling, releasing, and reading
//! acknowledgements. By hand, because the crate's own calls lack fields, block without a deadline,
//! or report rejections as success.

use super::{Connection, Incoming, status};
use crate::fault::Fault;
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// An answer is waited for this long, and asked for so often. The first one to a new connection may get
/// lost: another node of the cluster gives it, and may not yet know where the connection is. All calls
/// can be made twice.
const API_TIMEOUT: Duration = Duration::from_millis(1500);
const API_TRIES: u32 = 3;
/// A stream may take so long to listen after an election.
const LISTENING_TRIES: u32 = 10;
const LISTENING_PAUSE: Duration = Duration::from_millis(500);
/// A message stays until it is released (by a purge), whoever has read it.
const RETENTION: &str = "limits";
/// A consumer from which nothing was pulled for so long is removed by its server.
const CONSUMER_ABANDONED: Duration = Duration::from_secs(600);

/// The stream. It keeps every message until that is released.
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

/// A reader of the stream, from the first message that it keeps. It is nothing but a place to read from, kept by one
/// server in memory: what was read is in the target's position, and what it loses is read again by the next consumer.
#[derive(Debug)]
pub struct Consumer {
    stream: String,
    name: String,
}

impl Stream {
    /// Creates the stream where it is missing; leaves it as it is where it exists.
    pub fn ensure(&self, connection: &Connection) -> Result<()> {
        self.ensure_stream(connection).with_context(|| format!("create the stream {}", self.name))?;
        self.ensure_it_listens(connection)
    }

    /// Makes the stream anew where it answers and has a leader, and takes no messages. Seen with nats-server
    /// 2.9: a stream that was deleted and made again is assigned twice when its zone restarts, and nobody
    /// subscribes to its subject. What it held is sent again from the outbox.
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
        let info = api(connection, &format!("STREAM.INFO.{}", self.name), &Value::Null)?;
        if info["cluster"]["leader"].as_str().is_none_or(str::is_empty) {
            bail!("the stream {} has no leader", self.name);
        }
        log::warn!("the stream {} takes no messages although it has a leader: making it anew", self.name);
        api(connection, &format!("STREAM.DELETE.{}", self.name), &Value::Null)?;
        bail!("the stream {} took no messages, and is deleted", self.name)
    }

    fn ensure_stream(&self, connection: &Connection) -> Result<()> {
        match api(connection, &format!("STREAM.INFO.{}", self.name), &Value::Null) {
            Ok(info) => {
                self.check_subject(&info)?;
                if info["config"]["retention"] == RETENTION {
                    return check_release(&info);
                }
                log::warn!(
                    "the stream {} was made by an older version, for one consumer that acknowledges: making it anew; what it \
                     holds is sent again from the outbox",
                    self.name
                );
                api(connection, &format!("STREAM.DELETE.{}", self.name), &Value::Null)?;
                self.create_stream(connection)
            }
            Err(error) if is_gone(&error) => self.create_stream(connection),
            Err(error) => Err(error),
        }
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

    /// A consumer that is still to be made, under a name of its own: one that was made unheard can be deleted all the same.
    pub fn consumer(&self) -> Consumer {
        Consumer { stream: self.name.clone(), name: Uuid::new_v4().simple().to_string() }
    }

    /// Asks the stream to remove every message before `sequence`. The answer comes to `inbox`; [`released`] reads it.
    pub fn release(&self, connection: &Connection, inbox: &str, sequence: u64) -> Result<()> {
        let (subject, request) = self.release_request(sequence)?;
        connection.publish(&subject, Some(inbox), request)
    }

    /// The same, and waits for the answer, at most [`API_TIMEOUT`].
    pub fn release_now(&self, connection: &Connection, sequence: u64) -> Result<()> {
        let (subject, request) = self.release_request(sequence)?;
        released(&connection.request(&subject, request, API_TIMEOUT)?)
    }

    fn release_request(&self, sequence: u64) -> Result<(String, Vec<u8>)> {
        let request = serde_json::to_vec(&json!({ "seq": sequence }))?;
        Ok((self.release_subject(), request))
    }

    /// What is to be released is said on it.
    pub fn release_subject(&self) -> String {
        format!("$JS.API.STREAM.PURGE.{}", self.name)
    }

    /// What is pulled is asked for below it, by each consumer under its name.
    pub fn pull_subject(&self) -> String {
        format!("$JS.API.CONSUMER.MSG.NEXT.{}", self.name)
    }
}

/// What cannot be released would fill the stream, and be read again from its beginning by every consumer.
fn check_release(info: &Value) -> Result<()> {
    if info["config"]["deny_purge"] == true {
        return Err(anyhow!(
            "it is set to deny_purge, so that nothing can be released from it, and that cannot be taken back: delete it \
             and start again (it is made anew, and what it held is sent again from the outbox), or choose another \
             NATS_STREAM"
        )
        .context(Fault::Fatal));
    }
    Ok(())
}

/// Whether JetStream says that there is no such stream.
pub fn is_gone(error: &anyhow::Error) -> bool {
    const STREAM_NOT_FOUND: u64 = 10_059;
    error.downcast_ref::<ApiError>().is_some_and(|error| error.code == STREAM_NOT_FOUND)
}

/// Reads the answer to [`Stream::release`].
pub fn released(answer: &Incoming) -> Result<()> {
    api_answer("STREAM.PURGE", answer).map(drop)
}

impl Consumer {
    /// Has a server make it; where one has, nothing changes.
    pub fn ensure(&self, connection: &Connection) -> Result<()> {
        let request = json!({
            "stream_name": self.stream,
            "config": {
                "name": self.name,
                "deliver_policy": "all",
                "ack_policy": "none",
                "replay_policy": "instant",
                "inactive_threshold": u64::try_from(CONSUMER_ABANDONED.as_nanos())?,
                "num_replicas": 1,
                "mem_storage": true,
            },
        });
        api(connection, &format!("CONSUMER.CREATE.{}.{}", self.stream, self.name), &request).with_context(
            || format!("create a consumer of the stream {0} ($JS.API.CONSUMER.CREATE.{0}.*)", self.stream),
        )?;
        Ok(())
    }

    /// Asks for up to `messages` messages of `max_bytes` in all, to be sent to `inbox` as they
    /// come. The request ends after `expires`.
    pub fn pull(
        &self,
        connection: &Connection,
        inbox: &str,
        messages: usize,
        max_bytes: usize,
        expires: Duration,
    ) -> Result<()> {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.name);
        let request = json!({
            "batch": messages,
            "max_bytes": max_bytes,
            "expires": u64::try_from(expires.as_nanos())?,
        });
        connection.publish(&subject, Some(inbox), serde_json::to_vec(&request)?)
    }

    /// Asks its server to forget it, and does not wait for the answer.
    pub fn delete(&self, connection: &Connection) -> Result<()> {
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", self.stream, self.name);
        connection.publish(&subject, Some(&Connection::new_inbox()), Vec::new())
    }
}

/// The sequence under which the stream holds a message that was pulled: told in its reply subject, which is
/// `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.…`, or the same with domain and account behind `ACK`.
pub fn sequence(message: &Incoming) -> Result<u64> {
    let reply = message.reply.as_deref().unwrap_or_default();
    let words: Vec<&str> = reply.split('.').collect();
    let place = if words.len() == 9 { 5 } else { 7 };
    words
        .get(place)
        .filter(|_| reply.starts_with("$JS.ACK."))
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("a message with the reply subject '{reply}', which tells no sequence"))
}

/// The bytes that acknowledge a message, to be published to its reply subject.
pub const ACK: &[u8] = b"+ACK";

#[derive(Debug)]
struct ApiError {
    code: u64,
    description: String,
}

impl std::error::Error for ApiError {}

impl std::fmt::Display for ApiError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "JetStream refuses: {} (code {})", self.description, self.code)
    }
}

fn api(connection: &Connection, call: &str, request: &Value) -> Result<Value> {
    let payload = if request.is_null() { Vec::new() } else { serde_json::to_vec(request)? };
    let subject = format!("$JS.API.{call}");
    let mut answer = connection.request(&subject, payload.clone(), API_TIMEOUT);
    for _ in 1..API_TRIES {
        if answer.is_err() {
            answer = connection.request(&subject, payload.clone(), API_TIMEOUT);
        }
    }
    api_answer(call, &answer?)
}

fn api_answer(call: &str, answer: &Incoming) -> Result<Value> {
    if let Some(status) = status(answer) {
        bail!(
            "JetStream does not answer {call} (status {status}): is it enabled for this account, and is there a leader?"
        );
    }
    let answer: Value =
        serde_json::from_slice(&answer.data).with_context(|| format!("read the answer to {call}"))?;
    if let Some(error) = answer.get("error") {
        return Err(anyhow!(ApiError {
            code: error["err_code"].as_u64().unwrap_or(0),
            description: error["description"].as_str().unwrap_or("no reason given").to_owned(),
        }));
    }
    Ok(answer)
}

/// Reads the answer to a publish: the sequence under which the stream stored the message.
///
/// Anything that is not plainly a success is a failure.
pub fn stored_sequence(answer: &Incoming) -> Result<u64> {
    #[derive(Deserialize)]
    struct PubAck {
        #[serde(default)]
        seq: u64,
        error: Option<Value>,
    }
    match status(answer) {
        Some(503) => bail!(
            "no stream takes the messages (no responders): is inbox-processor running, are both NATS clusters up and joined?"
        ),
        Some(status) => bail!("the publish was answered with status {status}"),
        None => {}
    }
    let ack: PubAck = serde_json::from_slice(&answer.data).context("read a PubAck")?;
    match ack {
        PubAck { error: Some(error), .. } => bail!("the stream refused a message: {error}"),
        PubAck { seq: 0, .. } => bail!("a PubAck without a sequence"),
        PubAck { seq, .. } => Ok(seq),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(data: &str) -> Incoming {
        Incoming::new("_INBOX.1", None, data, None)
    }

    #[test]
    fn a_message_tells_its_sequence() {
        let told = |reply| sequence(&Incoming::new("_INBOX.1", Some(reply), "", None)).ok();
        assert_eq!(told("$JS.ACK.EVENTS.qZ3kT.1.4711.12.1700000000000000000.0"), Some(4711));
        assert_eq!(told("$JS.ACK.ZONE_B.hash.EVENTS.qZ3kT.1.4711.12.1700000000000000000.0"), Some(4711));
        assert_eq!(
            told("$JS.ACK.ZONE_B.hash.EVENTS.qZ3kT.1.4711.12.1700000000000000000.0.token"),
            Some(4711)
        );
        assert_eq!(told("_INBOX.1"), None);
        assert_eq!(told("of.somebody.who.publishes.to.an.inbox.1.2.3"), None);
    }

    #[test]
    fn only_a_plain_success_counts_as_stored() {
        assert_eq!(stored_sequence(&answer(r#"{"stream":"EVENTS","seq":7}"#)).unwrap(), 7);
        for refused in [
            r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"seq":0}"#,
            r#"{"error":{"code":500,"err_code":10158}}"#,
            r#"{"stream":"EVENTS","seq":0}"#,
            r#"{"stream":"EVENTS"}"#,
            "",
        ] {
            assert!(stored_sequence(&answer(refused)).is_err(), "{refused}");
        }
    }
}
