//! Requests to JetStream, and its answers.

use crate::broker::{Connection, Incoming, status};
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// How long an answer is waited for.
pub(super) const API_TIMEOUT: Duration = Duration::from_millis(1500);
/// How often a call is made. The first answer to a new connection may get lost: another node of the cluster
/// gives it, and may not yet know where the connection is. All calls can be made twice.
const API_TRIES: u32 = 3;

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

/// Whether JetStream reports that there is no such stream.
pub fn is_gone(error: &anyhow::Error) -> bool {
    const STREAM_NOT_FOUND: u64 = 10_059;
    error.downcast_ref::<ApiError>().is_some_and(|error| error.code == STREAM_NOT_FOUND)
}

/// Whether JetStream reports that its store has no room for what was asked. A cluster says it among other
/// reasons why no node will do.
pub(super) fn is_without_room(error: &anyhow::Error) -> bool {
    const INSUFFICIENT_RESOURCES: [u64; 3] = [10_023, 10_028, 10_047];
    error.downcast_ref::<ApiError>().is_some_and(|error| {
        INSUFFICIENT_RESOURCES.contains(&error.code) || error.description.contains("insufficient storage")
    })
}

/// Whether JetStream reports that the stream keeps no such message.
pub(super) fn is_without_message(error: &anyhow::Error) -> bool {
    const NO_MESSAGE_FOUND: u64 = 10_037;
    error.downcast_ref::<ApiError>().is_some_and(|error| error.code == NO_MESSAGE_FOUND)
}

/// Makes a call; waits for an answer at most [`API_TRIES`] times [`API_TIMEOUT`].
pub(super) fn api(connection: &Connection, call: &str, request: &Value) -> Result<Value> {
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

pub(super) fn api_answer(call: &str, answer: &Incoming) -> Result<Value> {
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

/// Reads the answer to a publish to `subject`: the sequence under which the stream stored the message.
///
/// Anything that is not plainly a success is a failure.
pub fn stored_sequence(answer: &Incoming, subject: &str) -> Result<u64> {
    #[derive(Deserialize)]
    struct PubAck {
        #[serde(default)]
        seq: u64,
        error: Option<Value>,
    }
    match status(answer) {
        Some(503) => bail!(
            "no stream takes messages on {subject} (no responders): is inbox-processor running with the same \
             NATS_SUBJECT_PREFIX, are both NATS clusters up and joined?"
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
    fn only_a_plain_success_counts_as_stored() {
        assert_eq!(stored_sequence(&answer(r#"{"stream":"EVENTS","seq":7}"#), "events").unwrap(), 7);
        for refused in [
            r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"seq":0}"#,
            r#"{"error":{"code":500,"err_code":10158}}"#,
            r#"{"stream":"EVENTS","seq":0}"#,
            r#"{"stream":"EVENTS"}"#,
            "",
        ] {
            assert!(stored_sequence(&answer(refused), "events").is_err(), "{refused}");
        }
    }
}
