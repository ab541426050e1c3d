//! What was sampled, as metrics.

use super::{Sampled, Seen};
use crate::confirm_sender::ConfirmSender;
use crate::inbox::standing::Standing;
use shared::metrics::{Reading, Readings, exact, labelled, since_1970, single};
use std::sync::Arc;

type Value = fn(&Standing) -> Option<f64>;

/// Name, meaning, whether it only grows, and the value where it is known.
const SINGLE: [(&str, &str, bool, Value); 7] = [
    (
        "held_since_timestamp_seconds",
        "Since when apply is blocked; absent while it is not",
        false,
        |standing| standing.held_since_seconds,
    ),
    ("skipped_transactions", "Source transactions that were skipped on record", true, |standing| {
        Some(standing.skipped_transactions)
    }),
    ("quarantined_messages", "Messages that were ever quarantined", true, |standing| {
        Some(standing.quarantined_messages)
    }),
    ("quarantine_unseen", "Quarantined messages that nobody has acknowledged", false, |standing| {
        Some(standing.quarantine_unseen)
    }),
    ("paused", "1 while an operator has paused applying", false, |standing| {
        Some(f64::from(u8::from(standing.paused.is_some())))
    }),
    ("inbox_bytes", "Size of the inbox on disk", false, |standing| Some(standing.inbox_bytes)),
    (
        "source_time_timestamp_seconds",
        "As of when readers of the target see the source, by the source's clock",
        false,
        |standing| standing.source_time_seconds,
    ),
];

impl Sampled {
    pub(crate) fn readings(self: &Arc<Sampled>, confirms: &Arc<ConfirmSender>) -> Readings {
        let mut readings: Vec<Reading> = SINGLE
            .into_iter()
            .map(|(name, help, grows, value)| {
                let sampled = self.clone();
                let read = move || single(sampled.seen().and_then(|seen| value(&seen.standing)));
                if grows {
                    Reading::counter(name, help, &[], read)
                } else {
                    Reading::gauge(name, help, &[], read)
                }
            })
            .collect();
        readings.extend([
            self.lag_seconds(confirms),
            lag_ticks(confirms),
            self.lag_events(),
            self.drift(),
            self.looked_at(),
        ]);
        Readings::new(readings)
    }

    fn lag_seconds(self: &Arc<Sampled>, confirms: &Arc<ConfirmSender>) -> Reading {
        let (sampled, confirms) = (self.clone(), confirms.clone());
        Reading::gauge(
            "lag_seconds",
            "Age of what waits longest in the stage; 0 when nothing waits",
            &["stage"],
            move || {
                let received =
                    sampled.seen().map(|seen| labelled("receive_to_apply", seen.standing.unapplied_seconds));
                let unsent =
                    confirms.unconfirmed_seconds().map(|seconds| labelled("apply_to_confirm", seconds));
                let total = sampled.total_lag_seconds(&confirms).map(|seconds| labelled("total", seconds));
                received.into_iter().chain(unsent).chain(total).collect()
            },
        )
    }

    fn lag_events(self: &Arc<Sampled>) -> Reading {
        let sampled = self.clone();
        Reading::gauge("lag_events", "Events that wait in the stage", &["stage"], move || {
            let seen = sampled.seen();
            seen.map(|seen| labelled("receive_to_apply", seen.standing.unapplied_events))
                .into_iter()
                .collect()
        })
    }

    fn drift(self: &Arc<Sampled>) -> Reading {
        let sampled = self.clone();
        Reading::counter(
            "drift",
            "Rows that were not in the target as the source left them",
            &["kind"],
            move || {
                let Some(Seen { standing, .. }) = sampled.seen() else { return Vec::new() };
                vec![
                    labelled("deletes_missing", standing.deletes_missing),
                    labelled("inserts_overwritten", standing.inserts_overwritten),
                ]
            },
        )
    }

    fn looked_at(self: &Arc<Sampled>) -> Reading {
        let sampled = self.clone();
        Reading::gauge(
            "sample_timestamp_seconds",
            "When the database was looked at last",
            &["sample"],
            move || sampled.seen().map(|seen| labelled("lag", since_1970(seen.at))).into_iter().collect(),
        )
    }
}

fn lag_ticks(confirms: &Arc<ConfirmSender>) -> Reading {
    let confirms = confirms.clone();
    Reading::gauge("lag_ticks", "Ticks that wait in the stage", &["stage"], move || {
        let Some((received, applied)) = confirms.ticks() else { return Vec::new() };
        vec![labelled("receive_to_apply", exact((received - applied).max(0)))]
    })
}
