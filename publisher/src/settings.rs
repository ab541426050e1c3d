//! What the operator can set, read and checked once at start.

use crate::verifying::Budget;
use anyhow::{Result, bail};
use shared::broker::Broker;
use shared::config::Environment;
use shared::database::Database;
use shared::wire::SLICE_ROWS_MAX;
use std::time::Duration;

/// Confirms, progress, audit, pruner, and one to spare.
const POOLED_CONNECTIONS: u32 = 5;

/// The settings of outbox-publisher.
pub(crate) struct Settings {
    pub(crate) database: Database,
    pub(crate) broker: Broker,
    pub(crate) subject_prefix: String,
    /// The maximum poll interval while idle; NOTIFY normally wakes it sooner.
    pub(crate) poll_interval: Duration,
    pub(crate) batch_sizes: BatchSizes,
    /// The longest time that a statement may take. Reading a tick waits for the broker while it streams, and
    /// an open statement holds back vacuum: so it is canceled after this time and resumed from the cursor. If
    /// it returned no row, the next attempt gets more time.
    pub(crate) statement_timeout: Duration,
    /// How long confirmed events are kept.
    pub(crate) outbox_retention: Duration,
    /// Bytes of disk that the outbox may fill, to say when it will have; none where nobody has said it.
    pub(crate) outbox_disk_bytes: Option<u64>,
    /// How much of each table is compared with the target, and how often.
    pub(crate) verification: Budget,
}

/// How many events go into a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSizes {
    /// While all is caught up.
    pub(crate) caught_up: usize,
    /// The most, under backlog.
    pub(crate) max: usize,
}

impl Settings {
    pub(crate) fn from_env(environment: &Environment) -> Result<Settings> {
        let batch_sizes = BatchSizes {
            caught_up: environment.count("BATCH_SIZE", 25, 1..=10_000)?,
            max: environment.count("BATCH_SIZE_MAX", 2000, 1..=10_000)?,
        };
        if batch_sizes.caught_up > batch_sizes.max {
            bail!(
                "BATCH_SIZE={} is not allowed: it takes at most BATCH_SIZE_MAX, which is {}",
                batch_sizes.caught_up,
                batch_sizes.max
            );
        }
        let statement_timeout =
            Duration::from_secs(environment.count("SOURCE_STATEMENT_TIMEOUT", 30, 1..=3600)?);
        Ok(Settings {
            poll_interval: environment.seconds("POLL_INTERVAL", 0.5, 0.01..=60.0)?,
            subject_prefix: environment.nats_name("NATS_SUBJECT_PREFIX", "replication")?,
            database: Database::from_env(
                environment,
                "outbox-publisher",
                statement_timeout,
                POOLED_CONNECTIONS,
            )?,
            broker: Broker::from_env(environment, "outbox-publisher")?,
            batch_sizes,
            statement_timeout,
            outbox_retention: environment.seconds("OUTBOX_RETENTION", 86400.0, 1.0..=31_536_000.0)?,
            outbox_disk_bytes: environment.count_if_set("OUTBOX_DISK_BYTES", 1..=u64::MAX)?,
            verification: Budget {
                interval: environment.seconds("VERIFY_INTERVAL", 60.0, 0.0..=86_400.0)?,
                rows_max: environment.count("VERIFY_ROWS", 1000, 1..=SLICE_ROWS_MAX)?,
            },
        })
    }

    pub(crate) fn log(&self) {
        log::info!(
            "database {}, subjects {}.*, POLL_INTERVAL {} s, BATCH_SIZE {}, BATCH_SIZE_MAX {}, OUTBOX_RETENTION {} s, \
             SOURCE_STATEMENT_TIMEOUT {} s, VERIFY_INTERVAL {} s, VERIFY_ROWS {}",
            self.database.address(),
            self.subject_prefix,
            self.poll_interval.as_secs_f64(),
            self.batch_sizes.caught_up,
            self.batch_sizes.max,
            self.outbox_retention.as_secs_f64(),
            self.statement_timeout.as_secs(),
            self.verification.interval.as_secs_f64(),
            self.verification.rows_max
        );
    }
}
