//! The operator's settings, read and checked once at start.

use crate::pruner::Retention;
use anyhow::Result;
use shared::broker::Broker;
use shared::broker::jetstream::Stream;
use shared::config::Environment;
use shared::database::Database;
use shared::wire::{
    confirm_subject, events_subject, heartbeat_subject, refusal_subject, verified_subject, verify_subject,
};
use std::time::Duration;

/// The sessions that apply, verify and sample are not from the pool, which is for the pruner and for what the source says.
const POOLED_CONNECTIONS: u32 = 2;

/// The settings of inbox-processor.
pub(crate) struct Settings {
    pub(crate) database: Database,
    pub(crate) broker: Broker,
    pub(crate) stream: Stream,
    /// Where confirms are sent.
    pub(crate) confirm_subject: String,
    /// Where refusals of the source arrive.
    pub(crate) refusal_subject: String,
    /// Where heartbeats of the source arrive.
    pub(crate) heartbeat_subject: String,
    /// Where the source asks which rows the target has otherwise, and where that is answered.
    pub(crate) verify_subjects: (String, String),
    /// Under backlog, ticks are applied together up to about so many events.
    pub(crate) group_events_max: usize,
    pub(crate) retention: Retention,
    /// The longest time that a statement may take. One statement may apply a very large source transaction.
    pub(crate) statement_timeout: Duration,
}

impl Settings {
    pub(crate) fn from_env(environment: &Environment) -> Result<Settings> {
        let prefix = environment.nats_name("NATS_SUBJECT_PREFIX", "replication")?;
        let statement_timeout =
            Duration::from_secs(environment.count("TARGET_STATEMENT_TIMEOUT", 300, 1..=86_400)?);
        Ok(Settings {
            group_events_max: environment.count("BATCH_SIZE_MAX", 2000, 1..=10_000)?,
            stream: Stream {
                name: environment.nats_name("NATS_STREAM", "EVENTS")?,
                subject: events_subject(&prefix),
                replicas: environment.count("NATS_STREAM_REPLICAS", 3, 1..=5)?,
                max_bytes: environment.count("NATS_STREAM_MAX_BYTES", 1 << 30, 1 << 20..=i64::MAX)?,
                may_be_recreated: environment.flag("NATS_STREAM_RECREATE", true)?,
            },
            confirm_subject: confirm_subject(&prefix),
            refusal_subject: refusal_subject(&prefix),
            heartbeat_subject: heartbeat_subject(&prefix),
            verify_subjects: (verify_subject(&prefix), verified_subject(&prefix)),
            retention: Retention {
                inbox: environment.seconds("INBOX_RETENTION", 86400.0, 1.0..=31_536_000.0)?,
                outbox: environment.seconds("OUTBOX_RETENTION", 86400.0, 1.0..=31_536_000.0)?,
            },
            database: Database::from_env(
                environment,
                "inbox-processor",
                statement_timeout,
                POOLED_CONNECTIONS,
            )?,
            broker: Broker::from_env(environment, "inbox-processor")?,
            statement_timeout,
        })
    }

    pub(crate) fn log(&self) {
        log::info!(
            "database {}, stream {} ({} replicas, at most {} bytes), subject {}, BATCH_SIZE_MAX {}, INBOX_RETENTION {} s, \
             TARGET_STATEMENT_TIMEOUT {} s",
            self.database.address(),
            self.stream.name,
            self.stream.replicas,
            self.stream.max_bytes,
            self.stream.subject,
            self.group_events_max,
            self.retention.inbox.as_secs_f64(),
            self.statement_timeout.as_secs()
        );
    }
}
