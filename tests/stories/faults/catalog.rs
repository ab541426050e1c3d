//! What can fail, and the schedule that a seed gives.

use super::field::{ALL_NODES, ZONE_A, ZONE_B};
use fastrand::Rng;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// kill -9.
    Kill,
    /// SIGSTOP, later SIGCONT.
    Freeze,
    /// As an operator stops it.
    Stop,
    /// Connections end.
    Cut,
    /// Nothing passes any more.
    BlackHole,
    Purge,
    Delete,
    Wipe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Publisher,
    Processor,
    Servers(&'static [&'static str]),
    /// One of the six NATS nodes.
    OneNode,
    Gateway,
    SourceLink,
    TargetLink,
    Stream,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) means: Means,
    pub(super) at: At,
}

/// One fault of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: &'static Kind,
    /// Which of the six nodes, where it is one.
    pub(super) node: usize,
    /// How long it lasts.
    pub(super) hold: Duration,
}

impl Fault {
    /// Whether there is anything to mend: else it is over as soon as it is done.
    pub(super) fn lasts(&self) -> bool {
        !matches!(self.kind.means, Means::Cut | Means::Purge | Means::Delete)
    }
}

const fn entry(name: &'static str, means: Means, at: At) -> Kind {
    Kind { name, means, at }
}

pub(super) static KINDS: [Kind; 28] = [
    entry("publisher killed", Means::Kill, At::Publisher),
    entry("processor killed", Means::Kill, At::Processor),
    entry("publisher restarted", Means::Stop, At::Publisher),
    entry("processor restarted", Means::Stop, At::Processor),
    entry("publisher frozen", Means::Freeze, At::Publisher),
    entry("processor frozen", Means::Freeze, At::Processor),
    entry("PostgreSQL A killed", Means::Kill, At::Servers(&["postgres-a"])),
    entry("PostgreSQL B killed", Means::Kill, At::Servers(&["postgres-b"])),
    entry("PostgreSQL A restarted", Means::Stop, At::Servers(&["postgres-a"])),
    entry("PostgreSQL B restarted", Means::Stop, At::Servers(&["postgres-b"])),
    entry("PostgreSQL A frozen", Means::Freeze, At::Servers(&["postgres-a"])),
    entry("PostgreSQL B frozen", Means::Freeze, At::Servers(&["postgres-b"])),
    entry("a NATS node killed", Means::Kill, At::OneNode),
    entry("a NATS node restarted", Means::Stop, At::OneNode),
    entry("a NATS node frozen", Means::Freeze, At::OneNode),
    entry("zone A killed", Means::Kill, At::Servers(&ZONE_A)),
    entry("zone B killed", Means::Kill, At::Servers(&ZONE_B)),
    entry("zone A frozen", Means::Freeze, At::Servers(&ZONE_A)),
    entry("zone B frozen", Means::Freeze, At::Servers(&ZONE_B)),
    entry("gateway cut", Means::Cut, At::Gateway),
    entry("gateway black-holed", Means::BlackHole, At::Gateway),
    entry("link to PostgreSQL A cut", Means::Cut, At::SourceLink),
    entry("link to PostgreSQL B cut", Means::Cut, At::TargetLink),
    entry("link to PostgreSQL A black-holed", Means::BlackHole, At::SourceLink),
    entry("link to PostgreSQL B black-holed", Means::BlackHole, At::TargetLink),
    entry("stream purged", Means::Purge, At::Stream),
    entry("stream deleted", Means::Delete, At::Stream),
    entry("NATS stores wiped", Means::Wipe, At::Servers(&ALL_NODES)),
];

pub(super) fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("no fault is called {name}"))
}

/// Every kind once, in an order, at nodes and for times that `rng` decides.
pub(super) fn round(rng: &mut Rng) -> Vec<Fault> {
    let mut faults: Vec<Fault> = KINDS
        .iter()
        .map(|kind| Fault {
            kind,
            node: rng.usize(..ALL_NODES.len()),
            // Now and then longer than what hangs may go unnoticed.
            hold: Duration::from_millis(if rng.u8(..4) == 0 { 12_000 } else { rng.u64(300..4000) }),
        })
        .collect();
    rng.shuffle(&mut faults);
    faults
}
