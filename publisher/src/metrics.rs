//! What outbox-publisher counts and shows to Prometheus. The names are listed in docs/monitoring.md.

use crate::leadership::Leadership;
use crate::sampling::Sampled;
use shared::metrics::{
    Counter, Family, Histogram, Queue, Reading, Readings, Registry, exact, labelled, queue_readings,
    since_1970, single,
};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

/// The counters of this process.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// No audit has ended in this term, or there is no term.
pub(crate) const UNKNOWN: i64 = -1;

type Reasons = Family<[(&'static str, &'static str); 1], Counter>;

pub(crate) struct Metrics {
    pub(crate) published_events: Counter,
    pub(crate) published_batches: Counter,
    pub(crate) published_bytes: Counter,
    pub(crate) published_transactions: Counter,
    resent_events: Reasons,
    publish_failures: Reasons,
    /// Seconds until the stream has acknowledged a message.
    pub(crate) publish_ack: Histogram,
    pub(crate) foreign_targets_seen: Counter,
    /// Problems that the last audit of this term found, or [`UNKNOWN`].
    pub(crate) capture_problems: AtomicI64,
}

impl Metrics {
    fn new() -> Metrics {
        let metrics = Metrics {
            published_events: Counter::default(),
            published_batches: Counter::default(),
            published_bytes: Counter::default(),
            published_transactions: Counter::default(),
            resent_events: Reasons::default(),
            publish_failures: Reasons::default(),
            publish_ack: Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            ]),
            foreign_targets_seen: Counter::default(),
            capture_problems: AtomicI64::new(UNKNOWN),
        };
        // So that what never happened is 0, and not unknown.
        for reason in [Resent::Gap, Resent::Idle, Resent::Unacknowledged] {
            metrics.resent(reason, 0);
        }
        for reason in
            [Failure::NoAcknowledgement, Failure::Refused, Failure::Connection, Failure::CannotTravel]
        {
            metrics.publish_failures.get_or_create(&[("reason", reason.name())]).inc_by(0);
        }
        metrics
    }

    /// So many events were handed to NATS that had been before.
    pub(crate) fn resent(&self, reason: Resent, events: u64) {
        self.resent_events.get_or_create(&[("reason", reason.name())]).inc_by(events);
    }

    /// A session of publishing has failed.
    pub(crate) fn failed(&self, reason: Failure) {
        self.publish_failures.get_or_create(&[("reason", reason.name())]).inc();
    }
}

/// Why something is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resent {
    /// The target reports that something is missing.
    Gap,
    /// The target is idle and lacks what was acknowledged.
    Idle,
    /// The stream has not acknowledged it.
    Unacknowledged,
}

impl Resent {
    fn name(self) -> &'static str {
        match self {
            Resent::Gap => "gap",
            Resent::Idle => "idle",
            Resent::Unacknowledged => "unacknowledged",
        }
    }
}

/// Why publishing has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No acknowledgement came in time.
    NoAcknowledgement,
    /// The answer was no acknowledgement.
    Refused,
    /// The connection was lost, or could not be made.
    Connection,
    /// The next event fits into no message.
    CannotTravel,
}

impl Failure {
    fn name(self) -> &'static str {
        match self {
            Failure::NoAcknowledgement => "no_acknowledgement",
            Failure::Refused => "refused",
            Failure::Connection => "connection",
            Failure::CannotTravel => "cannot_travel",
        }
    }
}

/// Registers what is counted and what is read.
pub(crate) fn register(
    registry: &mut Registry,
    leadership: &Arc<Leadership>,
    sampled: &Arc<Sampled>,
    queues: [Queue; 2],
) {
    let metrics = &*METRICS;
    registry.register(
        "published_events",
        "Events handed to NATS, those sent again included",
        metrics.published_events.clone(),
    );
    registry.register("published_batches", "Messages handed to NATS", metrics.published_batches.clone());
    registry.register(
        "published_bytes",
        "Bytes of these messages, compressed",
        metrics.published_bytes.clone(),
    );
    registry.register(
        "published_transactions",
        "Transactions in these messages; one that spans several counts in each",
        metrics.published_transactions.clone(),
    );
    registry.register("resent_events", "Events handed to NATS again", metrics.resent_events.clone());
    registry.register(
        "publish_failures",
        "Sessions of publishing that failed",
        metrics.publish_failures.clone(),
    );
    registry.register(
        "publish_ack_seconds",
        "Time until the stream has acknowledged a message",
        metrics.publish_ack.clone(),
    );
    registry.register(
        "foreign_targets_seen",
        "Confirms that were ignored, of targets that this source is not bound to",
        metrics.foreign_targets_seen.clone(),
    );
    registry.register_collector(Box::new(Readings::new(vec![
        ticks(leadership, sampled),
        gate(leadership),
        target_heard(leadership),
        Reading::gauge(
            "capture_problems",
            "What the audit found wrong with the capture of tables",
            &[],
            || {
                let problems = METRICS.capture_problems.load(Ordering::Acquire);
                single(u32::try_from(problems).ok().map(f64::from))
            },
        ),
    ])));
    registry.register_collector(Box::new(queue_readings(queues)));
    registry.register_collector(Box::new(sampled.readings()));
}

fn ticks(leadership: &Arc<Leadership>, sampled: &Arc<Sampled>) -> Reading {
    let (leadership, sampled) = (leadership.clone(), sampled.clone());
    Reading::gauge("tick", "The last tick of each stage", &["stage"], move || {
        let Some(term) = leadership.current() else { return Vec::new() };
        let progress = term.progress();
        let stage = |name, tick| labelled(name, exact(tick));
        let mut ticks =
            vec![stage("published", progress.published_tick), stage("confirmed", progress.confirmed_tick)];
        ticks.extend(sampled.taken_tick().map(|tick| stage("taken", tick)));
        ticks
    })
}

fn target_heard(leadership: &Arc<Leadership>) -> Reading {
    let leadership = leadership.clone();
    Reading::gauge(
        "target_heard_timestamp_seconds",
        "When a confirm of the target arrived last, by this clock; absent before the first one of a term",
        &[],
        move || single(leadership.current().and_then(|term| term.target_heard_at()).map(since_1970)),
    )
}

fn gate(leadership: &Arc<Leadership>) -> Reading {
    let leadership = leadership.clone();
    Reading::gauge(
        "timeline_gate_closed",
        "1 while nothing is published since the target has not shown its history after a failover",
        &[],
        move || {
            single(
                leadership
                    .current()
                    .map(|term| f64::from(u8::from(term.matched_timeline() != term.timeline()))),
            )
        },
    )
}
