//! What can happen, in words.

use super::publisher::Who;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Commit,
    TakeTick(Who),
    BeginTerm,
    Publish(Who),
    Store(Who),
    Prune,
    EndPublisher,
    SuspendPublisher,
    EndStale,
    MoveReader,
    MoveListener,
    StandbyFallsBehind,
    /// Whether the standby lacks what came since it fell behind, and whether the former server goes on.
    FailOver {
        loses: bool,
        former_lives: bool,
    },
    RestoreSource,
    Lose(usize),
    Wipe,
    Take,
    Apply,
    Beat,
    Silence,
    LoseLink,
    Reconnect,
    DrainStream,
    RestartProcessor,
    ReplaceProcessor,
    DelayConfirm,
    LateConfirm,
    BackUp,
    RestoreTarget,
    Stranger,
    BeginCopy,
    CopyTakes,
    CopyApplies,
    EndCopy,
    StartOver,
    Adopt,
}

impl Action {
    pub(crate) fn is_fault(self) -> bool {
        matches!(
            self,
            Action::EndPublisher
                | Action::SuspendPublisher
                | Action::FailOver { .. }
                | Action::RestoreSource
                | Action::Lose(_)
                | Action::Wipe
                | Action::LoseLink
                | Action::RestartProcessor
                | Action::ReplaceProcessor
                | Action::DelayConfirm
                | Action::RestoreTarget
                | Action::Stranger
                | Action::BeginCopy
        )
    }

    /// The standby that fell behind, or a backup.
    pub(crate) fn uses_what_was_put_by(self) -> bool {
        matches!(self, Action::FailOver { loses: true, .. } | Action::RestoreSource | Action::RestoreTarget)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let publisher = |who: &Who| match who {
            Who::Leader => "The publisher",
            Who::Stale => "The publisher that does not lead any more",
        };
        match self {
            Action::Commit => write!(out, "The application commits a transaction."),
            Action::TakeTick(who) => write!(out, "{} takes a tick.", publisher(who)),
            Action::BeginTerm => write!(out, "A publisher begins a term."),
            Action::Publish(who) => write!(out, "{} publishes the next batch.", publisher(who)),
            Action::Store(who) => write!(out, "{} stores its progress in the source.", publisher(who)),
            Action::Prune => write!(out, "The source is pruned."),
            Action::EndPublisher => write!(out, "The publisher dies."),
            Action::SuspendPublisher => write!(out, "The publisher is suspended, and loses its lock."),
            Action::EndStale => write!(out, "The publisher that does not lead any more notices it."),
            Action::MoveReader => {
                write!(
                    out,
                    "The reader of the publisher that does not lead any more reconnects to the source."
                )
            }
            Action::MoveListener => {
                write!(
                    out,
                    "The listener of the publisher that does not lead any more reconnects to the source."
                )
            }
            Action::StandbyFallsBehind => {
                write!(out, "The standby stops following, or a backup of the source is made.")
            }
            Action::FailOver { loses, former_lives } => {
                write!(out, "The source fails over to a standby that ")?;
                write!(out, "{}", if *loses { "lacks what came last" } else { "lacks nothing" })?;
                write!(out, "{}", if *former_lives { "; nobody stops the former primary." } else { "." })
            }
            Action::RestoreSource => {
                write!(out, "The source is restored from its backup, on the same timeline.")
            }
            Action::Lose(at) => {
                write!(out, "NATS loses message {} of the stream, which it had acknowledged.", at + 1)
            }
            Action::Wipe => write!(out, "The stream is wiped."),
            Action::Take => write!(out, "The processor stores a message."),
            Action::Apply => write!(out, "The processor applies what is complete."),
            Action::Beat => write!(out, "Time passes, and who serves the target confirms."),
            Action::Silence => write!(out, "No confirm arrives for some seconds."),
            Action::LoseLink => write!(out, "The processor loses its connection to NATS."),
            Action::Reconnect => write!(out, "The processor connects to NATS again."),
            Action::DrainStream => write!(out, "A pull of the processor comes back empty."),
            Action::RestartProcessor => write!(out, "The processor dies, and another one takes over."),
            Action::ReplaceProcessor => write!(
                out,
                "The processor is suspended and loses its lock; another one takes over. It will confirm once more."
            ),
            Action::DelayConfirm => write!(out, "The processor confirms, which is delayed on its way."),
            Action::LateConfirm => write!(out, "The late confirm arrives."),
            Action::BackUp => write!(out, "A backup of the target is made."),
            Action::RestoreTarget => write!(out, "The target is restored from its backup."),
            Action::Stranger => {
                write!(out, "The processor of another target takes all messages, and confirms everything.")
            }
            Action::BeginCopy => write!(out, "A copy of the target's server is started with its processor."),
            Action::CopyTakes => write!(out, "The copy's processor stores a message."),
            Action::CopyApplies => write!(out, "The copy's processor applies what is complete."),
            Action::EndCopy => write!(out, "The copy is stopped."),
            Action::StartOver => write!(out, "An operator starts over in the source."),
            Action::Adopt => write!(out, "An operator has the target adopt the source."),
        }
    }
}
