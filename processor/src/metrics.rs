//! What inbox-processor counts and shows to Prometheus. The names are listed in docs/monitoring.md.

use crate::confirm_sender::ConfirmSender;
use crate::sampling::Sampled;
use inbox_processor::rules::applied::AppliedTick;
use parking_lot::Mutex;
use shared::metrics::{
    Counter, Family, Histogram, Queue, Reading, Readings, Registry, exact, labelled, queue_readings,
    since_1970, single,
};
use shared::wire::Heartbeat;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

/// The counters of this process.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const LATENCY_SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const GROUP_EVENTS: [f64; 9] = [1.0, 5.0, 25.0, 100.0, 500.0, 2000.0, 10_000.0, 100_000.0, 1_000_000.0];
/// A heartbeat that is older says nothing of now.
const HEARD_WITHIN: Duration = Duration::from_secs(15);

type Labels = [(&'static str, &'static str); 1];

pub(crate) struct Metrics {
    received_batches: Family<Labels, Counter>,
    applied_events: Counter,
    applied_ticks: Counter,
    applied_transactions: Counter,
    apply: Histogram,
    apply_group_events: Histogram,
    latency: Family<Labels, Histogram, fn() -> Histogram>,
    /// Ticks that were applied from the inbox, since the quick way could not.
    pub(crate) slow_path: Counter,
    pub(crate) hold_attempts: Counter,
    heard: Mutex<Option<Heard>>,
}

/// What the last heartbeat of the source said.
#[derive(Clone, Copy)]
pub(crate) struct Heard {
    /// The source's last tick.
    pub(crate) tick: i64,
    /// By how much this clock is ahead of the source's, with the time that the heartbeat took.
    pub(crate) clock_skew_seconds: f64,
    at: Instant,
    at_time: SystemTime,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its events are in the inbox, or applied.
    Stored,
    /// They were before.
    Known,
    /// Something before it is missing.
    Gap,
    /// It is of another source or history.
    Foreign,
    Undecodable,
    /// A key is set, and it is not signed with it.
    Unsigned,
}

impl Outcome {
    const ALL: [Outcome; 6] = [
        Outcome::Stored,
        Outcome::Known,
        Outcome::Gap,
        Outcome::Foreign,
        Outcome::Undecodable,
        Outcome::Unsigned,
    ];

    fn name(self) -> &'static str {
        match self {
            Outcome::Stored => "stored",
            Outcome::Known => "known",
            Outcome::Gap => "gap",
            Outcome::Foreign => "foreign",
            Outcome::Undecodable => "undecodable",
            Outcome::Unsigned => "unsigned",
        }
    }
}

impl Metrics {
    fn new() -> Metrics {
        let metrics = Metrics {
            received_batches: Family::default(),
            applied_events: Counter::default(),
            applied_ticks: Counter::default(),
            applied_transactions: Counter::default(),
            apply: Histogram::new(SECONDS),
            apply_group_events: Histogram::new(GROUP_EVENTS),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_SECONDS)),
            slow_path: Counter::default(),
            hold_attempts: Counter::default(),
            heard: Mutex::default(),
        };
        // So that what never happened is 0, and not unknown.
        for outcome in Outcome::ALL {
            metrics.received_batches.get_or_create(&[("outcome", outcome.name())]).inc_by(0);
        }
        metrics
    }

    /// A group of messages is committed.
    pub(crate) fn received(&self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.received_batches.get_or_create(&[("outcome", outcome.name())]).inc();
        }
    }

    /// These ticks were applied in one transaction.
    pub(crate) fn applied(&self, ticks: &[AppliedTick], transactions: u64, took: Duration) {
        if ticks.is_empty() {
            return;
        }
        let events: i64 = ticks.iter().map(|tick| tick.events).sum();
        self.applied_events.inc_by(events.unsigned_abs());
        self.applied_ticks.inc_by(ticks.len() as u64);
        self.applied_transactions.inc_by(transactions);
        self.apply.observe(took.as_secs_f64());
        self.apply_group_events.observe(exact(events));
        let latency = self.latency.get_or_create(&[("stage", "total")]);
        let now = since_1970(SystemTime::now());
        for tick in ticks {
            latency.observe((now - micros(tick.taken_at_us)).max(0.0));
        }
    }

    /// A heartbeat of the source that this target follows has arrived.
    pub(crate) fn heard(&self, heartbeat: &Heartbeat) {
        let (at, at_time) = (Instant::now(), SystemTime::now());
        let clock_skew_seconds = since_1970(at_time) - micros(heartbeat.looked_at_us);
        *self.heard.lock() = Some(Heard { tick: heartbeat.tick.number, clock_skew_seconds, at, at_time });
    }

    /// When the source was heard last; none where this process has never heard it.
    fn heard_at(&self) -> Option<SystemTime> {
        self.heard.lock().map(|heard| heard.at_time)
    }

    /// What the source said, if it did lately.
    pub(crate) fn last_heard(&self) -> Option<Heard> {
        self.heard.lock().filter(|heard| heard.at.elapsed() < HEARD_WITHIN)
    }
}

/// Registers what is counted and what is read.
pub(crate) fn register(
    registry: &mut Registry,
    confirms: &Arc<ConfirmSender>,
    sampled: &Arc<Sampled>,
    queues: [Queue; 2],
) {
    let metrics = &*METRICS;
    registry.register(
        "received_batches",
        "Messages, by what became of them",
        metrics.received_batches.clone(),
    );
    registry.register("applied_events", "Events that were applied", metrics.applied_events.clone());
    registry.register("applied_ticks", "Ticks that were applied", metrics.applied_ticks.clone());
    registry.register(
        "applied_transactions",
        "Source transactions that were applied",
        metrics.applied_transactions.clone(),
    );
    registry.register(
        "apply_seconds",
        "Time that a transaction took which applied ticks",
        metrics.apply.clone(),
    );
    registry.register(
        "apply_group_events",
        "Events that one transaction applied",
        metrics.apply_group_events.clone(),
    );
    registry.register(
        "latency_seconds",
        "From the tick in the source, a moment after the commit, until readers of the target see it; by both clocks",
        metrics.latency.clone(),
    );
    registry.register(
        "slow_path",
        "Times that ticks were applied by staging, since the quick way was refused",
        metrics.slow_path.clone(),
    );
    registry.register("hold_attempts", "Attempts to apply that were refused", metrics.hold_attempts.clone());
    let blocked = confirms.clone();
    registry.register_collector(Box::new(Readings::new(vec![
        ticks(confirms),
        source_heard(confirms),
        Reading::gauge("held", "1 while apply is blocked", &[], move || {
            single(blocked.is_leading().then(|| f64::from(u8::from(blocked.is_blocked()))))
        }),
        Reading::gauge(
            "clock_skew_seconds",
            "By how much this clock is ahead of the source's, with the time that a heartbeat takes",
            &[],
            || single(METRICS.last_heard().map(|heard| heard.clock_skew_seconds)),
        ),
    ])));
    registry.register_collector(Box::new(queue_readings(queues)));
    registry.register_collector(Box::new(sampled.readings(confirms)));
}

fn ticks(confirms: &Arc<ConfirmSender>) -> Reading {
    let confirms = confirms.clone();
    Reading::gauge("tick", "The last tick of each stage", &["stage"], move || {
        let Some((received, applied)) = confirms.ticks() else { return Vec::new() };
        vec![labelled("received", exact(received)), labelled("applied", exact(applied))]
    })
}

fn source_heard(confirms: &Arc<ConfirmSender>) -> Reading {
    let confirms = confirms.clone();
    Reading::gauge(
        "source_heard_timestamp_seconds",
        "When a heartbeat of the source arrived last, by this clock; absent before the first one",
        &[],
        move || single(METRICS.heard_at().filter(|_| confirms.is_leading()).map(since_1970)),
    )
}

fn micros(us: i64) -> f64 {
    exact(us) / 1e6
}
