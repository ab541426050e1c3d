//! The stream of a replication, as cluster B has it.

use super::{Replication, wait_for};
use serde_json::Value;
use shared::broker::{Broker, Connection};
use shared::config::Environment;
use std::time::Duration;

/// The user of nats-config who may do everything with messages and streams.
pub(super) const OPERATOR: &str = "operator";

impl Replication {
    /// A connection to cluster B of the test's own.
    pub(crate) fn nats_b(&self) -> Connection {
        self.nats_b_with(&[])
    }

    /// The same, with these settings as well.
    pub(crate) fn nats_b_with(&self, settings: &[(&str, &str)]) -> Connection {
        let variables = [
            ("NATS_URL", self.servers.nats_b.as_str()),
            ("NATS_USER", OPERATOR),
            ("NATS_PASSWORD", self.servers.operator_password.as_str()),
        ];
        let variables =
            variables.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut broker = Broker::from_env(&Environment::from_pairs(variables), "test").unwrap();
        wait_for("a server of cluster B takes connections", || broker.connect().ok())
    }

    /// Deletes the stream with all that is in it.
    pub(crate) fn delete_stream(&self) {
        jetstream(&self.nats_b(), &format!("STREAM.DELETE.{}", self.name), &Value::Null);
    }

    /// Deletes all that is in the stream.
    pub(crate) fn purge_stream(&self) {
        jetstream(&self.nats_b(), &format!("STREAM.PURGE.{}", self.name), &Value::Null);
    }
}

/// What JetStream answers to this call; asks again where no answer comes: only the zone's leader answers
/// where there is no such stream, and its answer to a connection that is new to it may get lost.
pub(crate) fn jetstream(nats: &Connection, call: &str, request: &Value) -> Value {
    let request = if request.is_null() { Vec::new() } else { request.to_string().into_bytes() };
    let answer = wait_for(&format!("JetStream answers {call}"), || {
        nats.request(&format!("$JS.API.{call}"), request.clone(), Duration::from_secs(2)).ok()
    });
    serde_json::from_slice(&answer.data).unwrap()
}

/// How many messages the stream has.
pub(crate) fn messages(nats: &Connection, stream: &str) -> u64 {
    let info = jetstream(nats, &format!("STREAM.INFO.{stream}"), &Value::Null);
    info["state"]["messages"].as_u64().unwrap()
}

/// How many consumers the stream has.
pub(crate) fn consumers(nats: &Connection, stream: &str) -> usize {
    consumer_list(nats, stream).len()
}

/// How many messages of the stream were delivered to its consumers.
pub(crate) fn delivered(nats: &Connection, stream: &str) -> u64 {
    let consumers = consumer_list(nats, stream);
    consumers.iter().filter_map(|each| each["delivered"]["stream_seq"].as_u64()).max().unwrap_or(0)
}

fn consumer_list(nats: &Connection, stream: &str) -> Vec<Value> {
    let mut list = jetstream(nats, &format!("CONSUMER.LIST.{stream}"), &Value::Null);
    list["consumers"].as_array_mut().map_or_else(Vec::new, std::mem::take)
}
