//! What an action leads to.

use super::Confirming;
use super::actions::Action;
use super::protections::Protection;
use super::publisher::{Listener, Publisher, Where};
use super::source::Message;
use super::state::State;
use super::target::{Link, STRANGER, Said, Target};
use outbox_publisher::rules::silence::PROCESSOR_GONE_AFTER;
use std::time::Duration;

impl Confirming {
    /// None where nothing can come of it.
    pub(crate) fn perform(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        if action.is_fault() {
            next.faults_left -= 1;
        }
        self.act(&mut next, action)?;
        next.normalise();
        Some(next)
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Commit => {
                state.transactions_left -= 1;
                state.commit();
            }
            Action::TakeTick(who) => {
                let at = state.publisher(who)?.ticker?;
                state.server_mut(at)?.take_tick();
            }
            Action::BeginTerm => self.begin_term(state),
            Action::Publish(who) => self.publish(state, who)?,
            Action::Store(who) => self.store(state, who)?,
            Action::Prune => self.prune(state),
            Action::EndPublisher => state.leader = None,
            Action::SuspendPublisher => {
                state.stale = state.leader.take().map(|leader| Publisher { ticker: None, ..leader });
            }
            Action::EndStale => state.stale = None,
            Action::MoveReader => state.stale.as_mut()?.move_reader(),
            Action::MoveListener => {
                state.stale.as_mut()?.listener = Listener::begin(Where::Present, &state.present);
            }
            Action::StandbyFallsBehind => state.standby = Some(state.present.clone()),
            Action::FailOver { loses, former_lives } => state.fail_over(loses, former_lives)?,
            Action::RestoreSource => state.restore_source()?,
            Action::StartOver => state.start_over(),
            Action::Lose(at) => drop(state.stream.remove(at)),
            Action::Wipe => state.stream.clear(),
            action => self.act_at_target(state, action)?,
        }
        Some(())
    }

    fn act_at_target(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Take => take(&mut state.target, &mut state.stream)?,
            Action::CopyTakes => take(state.copy.as_mut()?, &mut state.stream)?,
            Action::Apply => {
                let applied = state.target.apply();
                state.truth.commit(&applied);
            }
            Action::CopyApplies => {
                let applied = state.copy.as_mut()?.apply();
                state.truth.commit(&applied);
            }
            Action::Beat => self.beat(state),
            Action::Silence => {
                state.pass(PROCESSOR_GONE_AFTER);
                state.truth.both_heard = Duration::ZERO;
            }
            Action::LoseLink => state.target.session.link = Link::Down { drained: state.stream.is_empty() },
            Action::Reconnect => {
                let Link::Down { drained } = state.target.session.link else { return None };
                let drained = drained && self.off(Protection::ANewPullerKnowsNothing);
                state.target.session.link = Link::New { drained };
            }
            Action::DrainStream => state.target.session.link = Link::Up,
            Action::RestartProcessor => state.begin_session(),
            Action::ReplaceProcessor => {
                state.late = Some(state.say());
                state.begin_session();
            }
            Action::DelayConfirm => state.late = Some(state.say()),
            Action::LateConfirm => {
                let late = state.late.take()?;
                self.hear(state, &late);
            }
            Action::BackUp => state.backup = Some(state.target.database.clone()),
            Action::RestoreTarget => {
                state.target.database = state.backup.take()?;
                state.begin_session();
            }
            Action::Stranger => self.hear_stranger(state)?,
            Action::BeginCopy => state.copy(),
            Action::EndCopy => state.copy = None,
            Action::Adopt => {
                state.target.database.adopt(state.present.history);
                state.begin_session();
            }
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn begin_term(&self, state: &mut State) {
        let mut publisher = Publisher::begin(&mut state.present);
        if self.off(Protection::SessionsEndWithTheirTerm)
            && let Some(stale) = state.stale.take()
        {
            publisher.listener = stale.listener;
        }
        state.leader = Some(publisher);
        state.truth.both_heard = Duration::ZERO;
    }

    /// Time passes, and everybody confirms.
    fn beat(&self, state: &mut State) {
        state.pass(self.world.beat);
        let said = state.say();
        self.hear(state, &said);
        let drained = state.stream.is_empty();
        match &mut state.copy {
            Some(copy) => {
                let said = copy.say(drained);
                self.hear(state, &said);
                state.truth.hear_both(self.world.beat);
            }
            None => state.truth.both_heard = Duration::ZERO,
        }
    }

    fn hear_stranger(&self, state: &mut State) -> Option<()> {
        let last = *state.stream.last()?;
        state.stream.clear();
        let said = Said {
            target: STRANGER,
            history: Some(last.history),
            received: Some(last.end),
            applied: last.end.is_complete().then_some(last.end.tick),
            gap: false,
            ..state.say()
        };
        self.hear(state, &said);
        Some(())
    }
}

fn take(target: &mut Target, stream: &mut Vec<Message>) -> Option<()> {
    target.take(stream.first()?);
    stream.remove(0);
    Some(())
}

impl State {
    /// The target's next confirm.
    fn say(&mut self) -> Said {
        self.target.say(self.stream.is_empty())
    }

    /// A copy of the target's server is started, with its processor.
    fn copy(&mut self) {
        self.incarnations += 1;
        let mut database = self.target.database.clone();
        let session = database.begin(self.incarnations);
        self.copy = Some(Target { database, session });
    }

    /// An operator starts over in the source. Nobody publishes meanwhile.
    fn start_over(&mut self) {
        self.leader = None;
        self.histories += 1;
        let lineage = self.new_lineage();
        self.present.start_over(self.histories, lineage);
        self.refused = 0;
    }

    fn fail_over(&mut self, loses: bool, former_lives: bool) -> Option<()> {
        let promoted = if loses { self.standby.take()? } else { self.present.clone() };
        self.standby = None;
        let (timeline, lineage) = (self.present.timeline + 1, self.new_lineage());
        let former = std::mem::replace(&mut self.present, promoted.continued(timeline, lineage));
        // Where it had not published anything yet, nothing tells that ticks were lost.
        self.truth.is_split |= self.present.progress.timeline.is_none();
        let leader = self.leader.take();
        self.former = former_lives.then_some(former);
        self.stale = leader.filter(|_| former_lives).map(Publisher::left_behind);
        Some(())
    }

    fn restore_source(&mut self) -> Option<()> {
        let (timeline, lineage) = (self.present.timeline, self.new_lineage());
        self.present = self.standby.take()?.continued(timeline, lineage);
        (self.leader, self.stale) = (None, None);
        // Nothing tells that ticks were lost.
        self.truth.is_split = true;
        Some(())
    }
}
