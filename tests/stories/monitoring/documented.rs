//! The table of docs/monitoring.md, and what a service prints, in one form.

use std::collections::{BTreeMap, BTreeSet};

/// The service, and the metric's name without what each name begins with.
pub(super) type Name = (String, String);

/// The labels of a metric, and what they may say.
#[derive(Debug, Default)]
pub(super) struct Metric {
    labels: BTreeSet<String>,
    /// Of its one label; empty where that may say anything.
    values: BTreeSet<String>,
}

impl Metric {
    /// Fails unless it has these labels, and all of these values and no others.
    pub(super) fn assert_is(&self, printed: &Metric, name: &Name) {
        assert_eq!(self.labels, printed.labels, "the labels of {name:?}: documented, and printed");
        if !self.values.is_empty() {
            assert_eq!(self.values, printed.values, "the values of {name:?}: documented, and printed");
        }
    }
}

/// Rows such as ``| `a{of}`, `b{of}` | publisher: `this`, `that`; processor: `those` | what it means |``.
pub(super) fn documented() -> BTreeMap<Name, Metric> {
    let text = include_str!("../../../docs/monitoring.md");
    let (_, table) = text.split_once("## Metrics").unwrap();
    let mut metrics = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let [_, names, of, _] = row.splitn(4, '|').collect::<Vec<_>>()[..] else { panic!("no row: {row}") };
        for (service, values) in services(of) {
            for (name, labels) in quoted(names).iter().map(|name| name_and_labels(name)) {
                let before = metrics.insert(
                    (service.clone(), name.to_owned()),
                    Metric { labels: labels.map(str::to_owned).collect(), values: values.clone() },
                );
                assert!(before.is_none(), "docs/monitoring.md has {name} of {service} twice");
            }
        }
    }
    metrics
}

/// The services that a row names, with the values of the label where it lists them.
fn services(of: &str) -> Vec<(String, BTreeSet<String>)> {
    let parts = of.split(';').flat_map(|part| {
        let (names, values) = part.split_once(':').unwrap_or((part, ""));
        let values: BTreeSet<String> = quoted(values).into_iter().collect();
        let names = names.replace("all", "publisher, processor, generator");
        names.split(',').map(|name| (name.trim().to_owned(), values.clone())).collect::<Vec<_>>()
    });
    parts.collect()
}

fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn name_and_labels(text: &str) -> (&str, impl Iterator<Item = &str>) {
    let (name, labels) = text.split_once('{').unwrap_or((text, ""));
    (name, labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()))
}

/// What a service prints.
pub(super) fn printed(service: &str, text: &str) -> BTreeMap<Name, Metric> {
    let histograms: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram")).collect();
    let mut metrics: BTreeMap<Name, Metric> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let mut ends = ["_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end));
        let name = ends.rfind(|name| histograms.contains(name)).unwrap_or(name);
        let name = name.strip_prefix("replication_").or(name.strip_prefix("process_").and(Some(name)));
        let name = name.unwrap_or_else(|| panic!("not a name of this system: {line}"));
        let metric = metrics.entry((service.to_owned(), name.to_owned())).or_default();
        // No value has a quotation mark.
        for (label, value) in
            labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\""))
        {
            if label != "le" {
                metric.labels.insert(label.to_owned());
                metric.values.insert(value.trim_end_matches('"').to_owned());
            }
        }
    }
    metrics
}
