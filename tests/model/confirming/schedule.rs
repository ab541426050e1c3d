//! Which actions are possible, with faults and once they have ended.

use super::Confirming;
use super::actions::Action;
use super::faults::Fault;
use super::publisher::{Publisher, Where, Who};
use super::source::Server;
use super::state::State;
use super::target::Link;

/// A publisher that ended is restarted, and ends again, until an operator does something.
const RESTARTS_MAX: u8 = 1;

/// What a system without faults does, the first that changes something.
const CALM: [Action; 14] = [
    Action::StartOver,
    Action::Adopt,
    Action::Reconnect,
    Action::DrainStream,
    Action::BeginTerm,
    Action::Commit,
    Action::TakeTick(Who::Leader),
    Action::Publish(Who::Leader),
    Action::Take,
    Action::Apply,
    Action::Store(Who::Leader),
    Action::Prune,
    Action::Beat,
    Action::Silence,
];

impl Confirming {
    pub(crate) fn list_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.truth.broken.is_some() {
            return;
        }
        let restarts = state.refused <= RESTARTS_MAX;
        actions.extend(CALM.iter().filter(|action| **action != Action::BeginTerm || restarts));
        if let Some(stale) = &state.stale {
            list_of_stale(stale, actions);
        }
        if state.late.is_some() {
            actions.push(Action::LateConfirm);
        }
        if state.copy.is_some() {
            actions.extend([Action::CopyTakes, Action::CopyApplies, Action::EndCopy]);
        }
        actions.retain(|action| state.is_possible(*action));
        if state.faults_left > 0 {
            self.list_faults(state, actions);
        }
    }

    fn list_faults(&self, state: &State, actions: &mut Vec<Action>) {
        // What was put by is for faults that are still to come.
        let reserved = u8::from(state.standby.is_some()) + u8::from(state.backup.is_some());
        let is_free = state.faults_left > reserved;
        let mut push = |fault: Fault, is_possible: bool, action: Action| {
            if is_possible && (is_free || action.uses_what_was_put_by()) && self.world.faults.contains(&fault)
            {
                actions.push(action);
            }
        };
        let link = state.target.session.link;
        let (leads, has_standby) = (state.leader.is_some(), state.standby.is_some());
        push(Fault::EndPublisher, leads, Action::EndPublisher);
        push(Fault::SuspendPublisher, leads && state.stale.is_none(), Action::SuspendPublisher);
        for (loses, former_lives) in [(false, false), (false, true), (true, false), (true, true)] {
            let fault = if former_lives { Fault::SplitBrain } else { Fault::FailOver };
            let is_possible = (has_standby || !loses) && (leads || !former_lives);
            push(fault, is_possible, Action::FailOver { loses, former_lives });
        }
        push(Fault::RestoreSource, has_standby, Action::RestoreSource);
        for at in 0..state.stream.len() {
            push(Fault::Lose, true, Action::Lose(at));
        }
        push(Fault::Lose, state.stream.len() > 1, Action::Wipe);
        push(Fault::LoseLink, link == Link::Up, Action::LoseLink);
        push(Fault::RestartProcessor, true, Action::RestartProcessor);
        push(Fault::LateConfirm, state.late.is_none(), Action::ReplaceProcessor);
        push(Fault::LateConfirm, state.late.is_none(), Action::DelayConfirm);
        push(Fault::RestoreTarget, state.backup.is_none(), Action::BackUp);
        push(Fault::RestoreTarget, state.backup.is_some(), Action::RestoreTarget);
        let is_bound = state.present.progress.target.is_some();
        push(Fault::Stranger, is_bound && !state.stream.is_empty(), Action::Stranger);
        push(Fault::Copy, state.copy.is_none(), Action::BeginCopy);
        let put_by = [Fault::FailOver, Fault::SplitBrain, Fault::RestoreSource];
        if let Some(fault) = put_by.into_iter().find(|fault| self.world.faults.contains(fault)) {
            push(fault, !has_standby && state.present.timeline == 1, Action::StandbyFallsBehind);
        }
    }

    /// Whether all arrives once faults have ended.
    pub(crate) fn arrives(&self, state: &State) -> bool {
        let mut calm = state.clone();
        // One more, so that nothing is found to be blocked only because nothing is to be sent.
        calm.transactions_left += 1;
        calm.faults_left = 0;
        (calm.copy, calm.late, calm.stale) = (None, None, None);
        calm.normalise();
        self.settling.reaches(&calm, State::all_arrived, |state| {
            let possible = CALM.iter().filter(|action| state.is_possible(**action));
            possible.filter_map(|action| self.perform(state, *action)).find(|next| next != state)
        })
    }
}

fn list_of_stale(stale: &Publisher, actions: &mut Vec<Action>) {
    let who = Who::Stale;
    actions.extend([Action::EndStale, Action::TakeTick(who), Action::Publish(who)]);
    // What is stored on the former server matters to nobody any more.
    if stale.is_connected_to(Where::Present) {
        actions.push(Action::Store(who));
    }
    if stale.reader == Where::Former {
        actions.push(Action::MoveReader);
    }
    if stale.listener.on == Where::Former {
        actions.push(Action::MoveListener);
    }
}

impl State {
    fn is_possible(&self, action: Action) -> bool {
        match action {
            Action::StartOver => self.must_start_over(),
            Action::Adopt => self.must_adopt(),
            Action::BeginTerm => self.leader.is_none(),
            Action::Commit => self.transactions_left > 0,
            Action::TakeTick(who) => {
                let server = self.publisher(who).and_then(|publisher| self.server(publisher.ticker?));
                server.is_some_and(Server::has_news)
            }
            Action::Publish(who) | Action::Store(who) => self.publisher(who).is_some(),
            Action::Prune => {
                self.leader.iter().chain(&self.stale).any(|any| any.is_connected_to(Where::Present))
            }
            Action::Take => !self.stream.is_empty() && !self.target.session.is_cut_off(),
            Action::CopyTakes => !self.stream.is_empty(),
            Action::Beat => !self.target.session.is_cut_off(),
            Action::Reconnect => self.target.session.is_cut_off(),
            Action::DrainStream => {
                let pulls_first = matches!(self.target.session.link, Link::New { .. });
                pulls_first && self.stream.is_empty()
            }
            _ => true,
        }
    }

    /// Whether the publisher has ended with an error that says so, or ignores the target because it follows
    /// another source: this one was restored to before it started over.
    fn must_start_over(&self) -> bool {
        let follows = self.target.database.history();
        self.refused > 0 || follows.is_some_and(|history| history > self.present.history)
    }

    /// Whether the source has started over and the target does not follow it yet.
    fn must_adopt(&self) -> bool {
        self.target.database.history().is_some_and(|history| history < self.present.history)
    }

    fn all_arrived(&self) -> bool {
        let arrived = self.target.database.has(self.present.contents());
        self.transactions_left == 0 && self.refused == 0 && arrived
    }
}
