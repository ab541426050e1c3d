//! What can go wrong.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    EndPublisher,
    SuspendPublisher,
    /// The former primary is stopped.
    FailOver,
    /// The former primary is not stopped.
    SplitBrain,
    RestoreSource,
    Lose,
    LoseLink,
    RestartProcessor,
    /// A confirm is delayed, or comes from a processor that lost its lock.
    LateConfirm,
    RestoreTarget,
    Stranger,
    Copy,
}
