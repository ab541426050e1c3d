//! What keeps a promise, and can be switched off.

/// One protection, which the model leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// What is known is not stored again.
    KnownIsKnown,
    /// What does not follow is not stored.
    GapIsSeen,
    /// A tick is applied when it is complete, not batch by batch.
    TicksAreWhole,
    /// A tick from the inbox is read after what completes it is stored, to its end, and the position moves
    /// only to a tick that was.
    StoredTicksAreReadToTheirEnd,
    /// An order to skip waits until an attempt that is under way has ended.
    OrdersWaitForTheAttempt,
    /// The quick way looks for orders to skip once it has locked the position.
    OrdersAreLookedUpUnderTheLock,
    /// While an order to skip is open, the quick way is closed.
    SkipsTakeCare,
    /// Whoever writes finds the position where it left it.
    PositionIsLocked,
    /// What the target lacks is sent again.
    Resends,
    /// A refused quick way is followed by the careful one.
    CareFollowsRefusal,
}

impl Protection {
    pub(crate) const ALL: [Protection; 10] = [
        Protection::KnownIsKnown,
        Protection::GapIsSeen,
        Protection::TicksAreWhole,
        Protection::StoredTicksAreReadToTheirEnd,
        Protection::OrdersWaitForTheAttempt,
        Protection::OrdersAreLookedUpUnderTheLock,
        Protection::SkipsTakeCare,
        Protection::PositionIsLocked,
        Protection::Resends,
        Protection::CareFollowsRefusal,
    ];

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Protection::KnownIsKnown => "what is known is not stored again",
            Protection::GapIsSeen => "what does not follow is not stored",
            Protection::TicksAreWhole => "a tick is applied when it is complete",
            Protection::StoredTicksAreReadToTheirEnd => "a tick is read from the inbox to its end",
            Protection::OrdersWaitForTheAttempt => "an order to skip waits for the attempt that is under way",
            Protection::OrdersAreLookedUpUnderTheLock => {
                "the quick way looks for orders once it has locked the position"
            }
            Protection::SkipsTakeCare => "an order to skip closes the quick way",
            Protection::PositionIsLocked => "the position moves only from where the session left it",
            Protection::Resends => "what the target lacks is sent again",
            Protection::CareFollowsRefusal => "the careful way follows a quick one that was refused",
        }
    }
}
