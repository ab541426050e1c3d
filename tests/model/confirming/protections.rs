//! What keeps a promise, and can be switched off.

use super::faults::Fault;
use super::worlds::{ANY, COPIED, RESTORED, SPLIT, World};

/// One protection, which the model leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Only what is confirmed is pruned.
    PruningWaitsForTheConfirm,
    /// A claimed tick is compared by its id.
    TicksAreComparedById,
    /// What the target needs and was pruned is noticed.
    WhatIsGoneIsNoticed,
    /// What the target lacks is sent again.
    Resends,
    /// Only the bound target confirms.
    OnlyTheBoundTargetConfirms,
    /// While two processors confirm for one target, none counts.
    OneProcessorConfirms,
    /// What one confirm claims is not believed.
    OneConfirmProvesNothing,
    /// After a failover nothing is published before the target has shown its history.
    AFailoverClosesTheGate,
    /// It has shown it once it has received all that is under way.
    WhatIsUnderWayArrivesFirst,
    /// One idle confirm may be late.
    OneIdleConfirmIsNotEnough,
    /// A target that has reconnected is idle only once a pull has come back empty.
    ANewPullerKnowsNothing,
    /// What the target confirmed meanwhile is passed over by a resend.
    ResendsPassWhatIsPruned,
    /// What the target applied is part of what it received.
    WhatIsReceivedProvesWhatIsApplied,
    /// A session ends with its term.
    SessionsEndWithTheirTerm,
    /// Progress is stored by the publisher of the latest term only.
    ProgressIsOfTheLatestTerm,
    /// And on the timeline of that term only: a standby may give the number of a term again.
    ProgressIsOfOneTimeline,
}

/// Each, the world in which something depends on it, and how many faults that takes.
pub(crate) const PROTECTIONS: [(Protection, World, u8); 16] = {
    const FAILOVER: World = World { faults: &[Fault::FailOver, Fault::LateConfirm], ..ANY };
    [
        (Protection::PruningWaitsForTheConfirm, RESTORED, 0),
        (Protection::TicksAreComparedById, FAILOVER, 1),
        (Protection::WhatIsGoneIsNoticed, RESTORED, 1),
        (Protection::Resends, ANY, 1),
        (Protection::OnlyTheBoundTargetConfirms, ANY, 1),
        (Protection::OneProcessorConfirms, COPIED, 1),
        (Protection::OneConfirmProvesNothing, World { ticks: 2, ..ANY }, 1),
        (Protection::AFailoverClosesTheGate, FAILOVER, 1),
        (Protection::WhatIsUnderWayArrivesFirst, FAILOVER, 1),
        (Protection::OneIdleConfirmIsNotEnough, FAILOVER, 2),
        (Protection::ANewPullerKnowsNothing, World { faults: &[Fault::FailOver, Fault::LoseLink], ..ANY }, 2),
        (Protection::ResendsPassWhatIsPruned, World { ticks: 2, transactions: 0, ..ANY }, 1),
        (Protection::WhatIsReceivedProvesWhatIsApplied, RESTORED, 1),
        (Protection::SessionsEndWithTheirTerm, SPLIT, 1),
        (Protection::ProgressIsOfTheLatestTerm, SPLIT, 1),
        (
            Protection::ProgressIsOfOneTimeline,
            World { faults: &[Fault::EndPublisher, Fault::SplitBrain], ..SPLIT },
            2,
        ),
    ]
};

impl Protection {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Protection::PruningWaitsForTheConfirm => "only what is confirmed is pruned",
            Protection::TicksAreComparedById => "a claimed tick is compared by its id",
            Protection::WhatIsGoneIsNoticed => "what the target needs and was pruned is noticed",
            Protection::Resends => "what the target lacks is sent again",
            Protection::OnlyTheBoundTargetConfirms => "only the bound target confirms",
            Protection::OneProcessorConfirms => "while two processors confirm for one target, none counts",
            Protection::OneConfirmProvesNothing => "what one confirm claims is not believed",
            Protection::AFailoverClosesTheGate => {
                "after a failover nothing is published before the target has shown its history"
            }
            Protection::WhatIsUnderWayArrivesFirst => {
                "the target has shown its history only when nothing more is under way to it"
            }
            Protection::OneIdleConfirmIsNotEnough => "one idle confirm may be late, and does not show it",
            Protection::ANewPullerKnowsNothing => {
                "after a reconnect the target is idle once a pull came back empty"
            }
            Protection::ResendsPassWhatIsPruned => {
                "a resend passes over what was confirmed and pruned meanwhile"
            }
            Protection::WhatIsReceivedProvesWhatIsApplied => {
                "a tick that was applied and pruned is not compared, but a later one that was received"
            }
            Protection::SessionsEndWithTheirTerm => "a session of the publisher ends with its term",
            Protection::ProgressIsOfOneTimeline => "progress is stored on the timeline of its term only",
            Protection::ProgressIsOfTheLatestTerm => "only the publisher of the latest term stores progress",
        }
    }
}
