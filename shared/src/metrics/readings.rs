//! Metrics that are read when they are scraped.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The values of the labels, and the value.
pub type Labelled = (Vec<String>, f64);

/// A value without labels; none where it is unknown.
pub fn single(value: Option<f64>) -> Vec<Labelled> {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

/// A value with one label.
pub fn labelled(label: &str, value: f64) -> Labelled {
    (vec![label.to_owned()], value)
}

/// A count or a tick as metrics have it: exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
pub fn exact(number: i64) -> f64 {
    number as f64
}

/// A time as metrics have it, in seconds.
pub fn since_1970(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A metric, and how it is read. What is unknown is left out.
pub struct Reading {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    labels: &'static [&'static str],
    read: Box<dyn Fn() -> Vec<Labelled> + Send + Sync>,
}

impl Reading {
    /// What goes up and down.
    pub fn gauge(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        read: impl Fn() -> Vec<Labelled> + Send + Sync + 'static,
    ) -> Reading {
        Reading { name, help, kind: MetricType::Gauge, labels, read: Box::new(read) }
    }

    /// What only goes up; `_total` is added to the name.
    pub fn counter(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        read: impl Fn() -> Vec<Labelled> + Send + Sync + 'static,
    ) -> Reading {
        Reading { kind: MetricType::Counter, ..Reading::gauge(name, help, labels, read) }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let values = (self.read)();
        if values.is_empty() {
            return Ok(());
        }
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (labels, value) in values {
            let labels: Vec<(&str, String)> = self.labels.iter().copied().zip(labels).collect();
            let one = metric.encode_family(&labels)?;
            match self.kind {
                MetricType::Counter => ConstCounter::new(value).encode(one)?,
                _ => ConstGauge::new(value).encode(one)?,
            }
        }
        Ok(())
    }
}

/// Several of them.
pub struct Readings(Vec<Reading>);

impl Readings {
    /// In the order in which they are shown.
    pub fn new(readings: Vec<Reading>) -> Readings {
        Readings(readings)
    }
}

impl fmt::Debug for Readings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.0.iter().map(|reading| reading.name)).finish()
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|reading| reading.encode(&mut encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::prometheus_text::encode;
    use prometheus_client::registry::Registry;

    #[test]
    fn what_is_unknown_is_left_out_and_the_rest_is_in_the_text_format() {
        let mut registry = Registry::with_prefix("replication");
        registry.register_collector(Box::new(Readings::new(vec![
            Reading::gauge("tick", "Ticks", &["stage"], || vec![(vec!["ta\"ken".to_owned()], 4.0)]),
            Reading::gauge("unknown", "Unknown", &[], || single(None)),
            Reading::counter("lost", "Lost", &[], || single(Some(2.0))),
        ])));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert_eq!(
            text,
            "# HELP replication_tick Ticks\n# TYPE replication_tick gauge\nreplication_tick{stage=\"ta\\\"ken\"} 4.0\n\
             # HELP replication_lost_total Lost\n# TYPE replication_lost_total counter\nreplication_lost_total 2.0\n"
        );
    }
}
