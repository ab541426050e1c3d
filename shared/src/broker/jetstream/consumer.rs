//! Reading the stream.

use super::api::api;
use crate::broker::{Connection, Incoming};
use anyhow::{Context, Result};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// A consumer from which nothing was pulled for so long is removed by its server.
const CONSUMER_ABANDONED: Duration = Duration::from_secs(600);

/// A reader of the stream, from the first message that it keeps, or from a later one: only a cursor, in the memory of one server.
/// What was read is in the target's position; what the cursor loses, the next consumer reads again.
#[derive(Debug)]
pub struct Consumer {
    stream: String,
    name: String,
    from: Option<u64>,
}

impl Consumer {
    /// Not yet created, under a new name: so it can be deleted even if the answer to its creation was lost.
    pub(super) fn new(stream: &str, from: Option<u64>) -> Consumer {
        Consumer { stream: stream.to_owned(), name: Uuid::new_v4().simple().to_string(), from }
    }

    /// Creates it where it is missing.
    pub fn ensure(&self, connection: &Connection) -> Result<()> {
        let mut request = json!({
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
        if let Some(from) = self.from {
            request["config"]["deliver_policy"] = json!("by_start_sequence");
            request["config"]["opt_start_seq"] = json!(from);
        }
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

    /// Asks its server to delete it. Does not wait for the answer.
    pub fn delete(&self, connection: &Connection) -> Result<()> {
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", self.stream, self.name);
        connection.publish(&subject, Some(&Connection::new_inbox()), Vec::new())
    }
}

/// The stream's sequence of a message that was pulled: a token of its reply subject, which is
/// `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.…`, or that with domain and account behind `ACK`.
pub fn sequence(message: &Incoming) -> Result<u64> {
    let reply = message.reply.as_deref().unwrap_or_default();
    let tokens: Vec<&str> = reply.split('.').collect();
    let index = if tokens.len() == 9 { 5 } else { 7 };
    tokens
        .get(index)
        .filter(|_| reply.starts_with("$JS.ACK."))
        .and_then(|token| token.parse().ok())
        .with_context(|| format!("a message with the reply subject '{reply}', which has no sequence"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
