//! What was sampled, as metrics.

use super::{Sampled, Seen};
use crate::outbox::verified::VerifiedTable;
use crate::outbox::waiting::Waiting;
use shared::metrics::{Labelled, Reading, Readings, labelled, since_1970, single};
use std::sync::Arc;

type Value = fn(&Sampled) -> Option<f64>;

/// Name, meaning, and the value where it is known.
const SINGLE: [(&str, &str, Value); 7] = [
    ("outbox_bytes", "Size of the outbox on disk", |sampled| Some(sampled.sizes()?.value.outbox_bytes)),
    (
        "outbox_growth_bytes_per_second",
        "How fast the outbox grows while nothing is confirmed, by its latest events",
        |sampled| Some(sampled.sizes()?.value.growth_bytes_per_second),
    ),
    (
        "outbox_oldest_unconfirmed_timestamp_seconds",
        "When the oldest tick was taken that the target has not confirmed; the time of the look where there is none",
        |sampled| Some(sampled.waiting()?.value.oldest_unconfirmed_seconds),
    ),
    (
        "disk_free_seconds",
        "Until the outbox fills OUTBOX_DISK_BYTES while nothing is confirmed",
        Sampled::seconds_left,
    ),
    (
        "oldest_transaction_age_seconds",
        "How long the oldest running transaction has been seen that has a number: it holds back the rows that it writes",
        Sampled::oldest_transaction_seconds,
    ),
    ("target_heard_tick", "The last tick that the target says it has stored", |sampled| {
        Some(sampled.waiting()?.value.received_tick)
    }),
    ("paused", "1 while an operator has paused publishing", |sampled| {
        Some(f64::from(u8::from(sampled.waiting()?.value.paused.is_some())))
    }),
];

impl Sampled {
    pub(crate) fn readings(self: &Arc<Sampled>) -> Readings {
        let mut readings: Vec<Reading> = SINGLE
            .into_iter()
            .map(|(name, help, value)| {
                let sampled = self.clone();
                Reading::gauge(name, help, &[], move || single(value(&sampled)))
            })
            .collect();
        readings.push(self.of_stages(
            "lag_seconds",
            "Age of the oldest tick that waits in the stage; 0 when nothing waits",
            |waiting| {
                vec![
                    labelled("capture_to_publish", waiting.unpublished_seconds),
                    labelled("publish_to_receive", waiting.unreceived_seconds),
                    labelled("total", waiting.total_seconds),
                ]
            },
        ));
        readings.push(self.of_stages("lag_ticks", "Ticks that wait in the stage", |waiting| {
            vec![
                labelled("capture_to_publish", waiting.unpublished_ticks),
                labelled("publish_to_receive", waiting.unreceived_ticks),
                labelled("total", waiting.unconfirmed_ticks),
            ]
        }));
        readings.extend(self.events());
        readings.extend(self.tables());
        readings.push(self.looked_at());
        Readings::new(readings)
    }

    fn of_stages(
        self: &Arc<Sampled>,
        name: &'static str,
        help: &'static str,
        values: fn(&Waiting) -> Vec<Labelled>,
    ) -> Reading {
        let sampled = self.clone();
        Reading::gauge(name, help, &["stage"], move || {
            sampled.waiting().map(|seen| values(&seen.value)).unwrap_or_default()
        })
    }

    fn events(self: &Arc<Sampled>) -> [Reading; 2] {
        let (of_stages, of_states) = (self.clone(), self.clone());
        [
            Reading::gauge(
                "lag_events",
                "Events that wait in the stage, as counted last",
                &["stage"],
                move || {
                    let Some(Seen { value, .. }) = of_stages.sizes() else { return Vec::new() };
                    vec![
                        labelled("capture_to_publish", value.unpublished),
                        labelled("total", value.unconfirmed),
                    ]
                },
            ),
            Reading::gauge(
                "outbox_events",
                "Events in the outbox, by what they wait for",
                &["state"],
                move || {
                    let Some(Seen { value, .. }) = of_states.sizes() else { return Vec::new() };
                    vec![
                        labelled("unpublished", value.unpublished),
                        labelled("unconfirmed", value.unconfirmed),
                    ]
                },
            ),
        ]
    }

    fn tables(self: &Arc<Sampled>) -> [Reading; 2] {
        let (verified, differing) = (self.clone(), self.clone());
        [
            Reading::gauge(
                "verified_timestamp_seconds",
                "When a round of the verification of the table was complete last",
                &["table"],
                move || of_tables(&verified.verified(), |table| table.verified_at_seconds),
            ),
            Reading::gauge(
                "differing_rows",
                "Rows of the table that differ in the target, as far as their keys are kept; absent where that is not known now",
                &["table"],
                move || of_tables(&differing.verified(), |table| table.differing_rows),
            ),
        ]
    }

    fn looked_at(self: &Arc<Sampled>) -> Reading {
        let sampled = self.clone();
        Reading::gauge(
            "sample_timestamp_seconds",
            "When the database was looked at last",
            &["sample"],
            move || {
                let lag = sampled.waiting().map(|seen| labelled("lag", since_1970(seen.at)));
                let sizes = sampled.sizes().map(|seen| labelled("sizes", since_1970(seen.at)));
                lag.into_iter().chain(sizes).collect()
            },
        )
    }
}

fn of_tables(tables: &[VerifiedTable], value: fn(&VerifiedTable) -> Option<f64>) -> Vec<Labelled> {
    tables.iter().filter_map(|table| Some(labelled(&table.table, value(table)?))).collect()
}
