//! Small systems to explore: each has what a few kinds of faults need.

use super::faults::Fault;
use shared::wire::CONFIRM_INTERVAL;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) faults: &'static [Fault],
    /// Ticks that the source has taken, of which none is published.
    pub(crate) ticks: u8,
    /// Transactions that the application will commit.
    pub(crate) transactions: u8,
    /// Between two confirms of a processor.
    pub(crate) beat: Duration,
    /// Faults in one schedule of the ordinary run.
    pub(crate) faults_max: u8,
}

/// A failover whose former primary is stopped, a source or a target that is restored, services that die or
/// are suspended, a stream that loses, and others that confirm.
pub(crate) const ANY: World = World {
    name: "confirming, any fault",
    faults: &[
        Fault::EndPublisher,
        Fault::SuspendPublisher,
        Fault::FailOver,
        Fault::RestoreSource,
        Fault::Lose,
        Fault::LoseLink,
        Fault::RestartProcessor,
        Fault::LateConfirm,
        Fault::RestoreTarget,
        Fault::Stranger,
    ],
    ticks: 1,
    transactions: 1,
    beat: CONFIRM_INTERVAL,
    faults_max: 1,
};

/// A target that is restored to before, or behind, what was pruned.
pub(crate) const RESTORED: World = World {
    name: "confirming, a restored target",
    faults: &[Fault::RestoreTarget],
    ticks: 3,
    transactions: 0,
    ..ANY
};

/// A failover whose former primary goes on, with the publisher that leads there.
pub(crate) const SPLIT: World = World {
    name: "confirming, a former primary that goes on",
    faults: &[Fault::SplitBrain],
    ticks: 0,
    ..ANY
};

/// Two databases of one identity, and a third. Fewer of their confirms arrive: that makes it smaller.
pub(crate) const COPIED: World = World {
    name: "confirming, two databases of one identity",
    faults: &[Fault::Copy],
    transactions: 0,
    beat: CONFIRM_INTERVAL.saturating_mul(5).checked_div(2).unwrap(),
    faults_max: 2,
    ..ANY
};
