//! Metrics, in the text format of Prometheus.
//!
//! Counters belong to the process, as the log does: each module counts in its crate's statics, and a scrape reads them.
//! What comes from a database is sampled by a thread; a scrape never asks a server.

mod connections;
mod process;
mod queues;
mod readings;

pub(crate) use connections::{
    database_connected, database_lost, is_database_connected, is_nats_connected, nats_closed, nats_opened,
    nats_reconnected,
};
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::histogram::Histogram;
pub use prometheus_client::registry::Registry;
pub use queues::{Queue, queue_readings};
pub use readings::{Labelled, Reading, Readings, exact, labelled, since_1970, single};

use crate::http::Answer;
use prometheus_client::encoding::prometheus_text::{self, CONTENT_TYPE};

/// A registry with what every service has: the build, the process, its connections.
pub(crate) fn registry(service: &'static str, has_nats: bool) -> Registry {
    let mut registry = Registry::with_prefix("replication");
    registry.register_collector(Box::new(Readings::new(vec![Reading::gauge(
        "build_info",
        "The version of the program",
        &["service", "version"],
        move || vec![(vec![service.to_owned(), env!("CARGO_PKG_VERSION").to_owned()], 1.0)],
    )])));
    registry.register_collector(Box::new(connections::readings(has_nats)));
    registry
}

/// What a scrape gets.
pub(crate) fn scrape(registries: &[&Registry]) -> Answer {
    let mut text = String::new();
    for registry in registries {
        if let Err(error) = prometheus_text::encode(&mut text, registry) {
            log::error!("cannot write the metrics: {error}");
        }
    }
    Answer::ok(CONTENT_TYPE, text)
}

/// The process's own, under the names that all Prometheus clients use.
pub(crate) fn process() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(process::readings()));
    registry
}
