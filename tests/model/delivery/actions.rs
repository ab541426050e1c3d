//! What can happen, and what then is.

use super::Delivery;
use super::protections::Protection;
use super::state::{Order, Session, State, TICKS};
use super::target::{Weather, has_work};
use outbox_publisher::rules::cursor::CursorPosition;
use outbox_publisher::rules::resend::Resends;
use shared::wire::{Confirm, FORMAT, formats_read};
use std::fmt;
use std::time::Instant;
use uuid::Uuid;

/// Messages that wait in the stream.
const STREAM_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Publish(usize),
    Lose(usize),
    Double(usize),
    Swap(usize),
    BeginSession,
    /// Takes so many messages; whether it dies before the stream releases them.
    Take {
        messages: usize,
        dies: bool,
    },
    ApplyWaiting {
        order_meanwhile: Option<i64>,
    },
    Confirm,
    Restart,
    TakeOver,
    StaleTakes,
    StaleApplies,
    Conflict,
    OrderToSkip(i64),
    Repair,
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = |message: &usize| {
            [
                "tick 1",
                "the first half of tick 2",
                "the second half of tick 2",
                "tick 2 as one batch",
                "tick 3",
            ][*message]
        };
        match self {
            Action::Publish(message) => write!(out, "The publisher publishes {}.", batch(message)),
            Action::Lose(at) => {
                write!(out, "NATS loses message {} of the stream, which it had acknowledged.", at + 1)
            }
            Action::Double(at) => {
                write!(out, "NATS delivers message {} of the stream once more, later.", at + 1)
            }
            Action::Swap(at) => {
                write!(out, "Messages {} and {} of the stream change places.", at + 1, at + 2)
            }
            Action::BeginSession => write!(out, "The processor begins a session."),
            Action::Take { messages, dies } => {
                write!(out, "The processor takes {messages} message(s) into the target")?;
                if *dies {
                    write!(out, ", and dies before the stream releases them.")
                } else {
                    write!(out, ".")
                }
            }
            Action::ApplyWaiting { order_meanwhile: None } => {
                write!(out, "The processor applies what waits in the inbox.")
            }
            Action::ApplyWaiting { order_meanwhile: Some(tick) } => write!(
                out,
                "The processor applies what waits in the inbox; meanwhile an operator orders to skip the transaction of tick {tick}."
            ),
            Action::Confirm => {
                write!(out, "The target confirms, and the publisher turns back to what it lacks.")
            }
            Action::Restart => write!(out, "The processor dies."),
            Action::TakeOver => {
                write!(out, "The processor is suspended and loses its lock; another one takes over.")
            }
            Action::StaleTakes => {
                write!(out, "The suspended processor wakes up and takes a message that it had pulled.")
            }
            Action::StaleApplies => {
                write!(out, "The suspended processor wakes up and applies what waits in the inbox.")
            }
            Action::Conflict => write!(out, "For a moment, another row of the target is in the way."),
            Action::OrderToSkip(tick) => {
                write!(out, "An operator orders to skip the transaction of tick {tick}.")
            }
            Action::Repair => write!(out, "An operator repairs what PostgreSQL refused."),
        }
    }
}

impl Delivery {
    pub(crate) fn list_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.stream.len() < STREAM_MAX {
            actions.extend(self.publishable(state).map(Action::Publish));
        }
        match &state.session {
            None => actions.push(Action::BeginSession),
            Some(session) => Delivery::list_of_session(state, session, actions),
        }
        if state.stale.is_some() {
            actions.extend([Action::StaleTakes, Action::StaleApplies]);
        }
        if state.database.is_held {
            actions.push(Action::Repair);
            actions.extend(self.skippable(state).map(Action::OrderToSkip));
        }
        if state.faults_left > 0 {
            self.list_faults(state, actions);
        }
    }

    fn list_of_session(state: &State, session: &Session, actions: &mut Vec<Action>) {
        // Pulling is paused while apply is blocked; what was pulled before is taken.
        for messages in 1..=state.stream.len().min(2) {
            actions.push(Action::Take { messages, dies: false });
        }
        if has_work(session) {
            actions.push(Action::ApplyWaiting { order_meanwhile: None });
        }
        actions.push(Action::Confirm);
    }

    fn list_faults(&self, state: &State, actions: &mut Vec<Action>) {
        for at in 0..state.stream.len() {
            actions.extend([Action::Lose(at), Action::Double(at)]);
            if at + 1 < state.stream.len() {
                actions.push(Action::Swap(at));
            }
        }
        if let Some(session) = &state.session {
            actions.push(Action::Restart);
            if !state.stream.is_empty() {
                actions.push(Action::Take { messages: 1, dies: true });
            }
            if state.stale.is_none() {
                actions.push(Action::TakeOver);
            }
            if has_work(session) && state.database.is_held && self.off(Protection::OrdersWaitForTheAttempt) {
                let meanwhile = |tick| Action::ApplyWaiting { order_meanwhile: Some(tick) };
                actions.extend(self.skippable(state).map(meanwhile));
            }
        }
        if !state.conflict {
            actions.push(Action::Conflict);
        }
    }

    /// How the next event may be cut into a batch.
    fn publishable(&self, state: &State) -> impl Iterator<Item = usize> {
        let next = state.place.next;
        (0..self.batches.len()).filter(move |message| {
            let batch = &self.batches[*message];
            (batch.tick.number, batch.first) == (next.tick, next.ordinal + 1)
        })
    }

    /// The transactions that wait while apply is blocked.
    fn skippable(&self, state: &State) -> impl Iterator<Item = i64> {
        let database = &state.database;
        let applied = database.applied();
        (1..=TICKS).filter(move |tick| {
            let is_stored = database.inbox.iter().any(|piece| self.batches[piece.0].tick.number == *tick);
            *tick > applied && is_stored && database.order(*tick) == Order::None
        })
    }

    pub(crate) fn perform(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Publish(message) => {
                next.stream.push(message);
                let end = CursorPosition::after(&self.batches[message].end());
                next.place.advance(next.place.epoch, end);
                next.place.acknowledge(next.place.epoch, end);
            }
            Action::Lose(at) => drop(next.stream.remove(at)),
            Action::Double(at) => next.stream.push(next.stream[at]),
            Action::Swap(at) => next.stream.swap(at, at + 1),
            Action::BeginSession => next.session = Some(self.begin(&next.database)),
            Action::Take { messages, dies } => self.perform_take(&mut next, messages, dies),
            Action::ApplyWaiting { order_meanwhile } => self.perform_apply(&mut next, order_meanwhile),
            Action::Confirm => self.perform_confirm(&mut next),
            Action::Restart => next.session = None,
            Action::TakeOver => next.stale = next.session.replace(self.begin(&state.database)),
            Action::StaleTakes => {
                let message = *next.stream.first()?;
                let mut stale = next.stale.take()?;
                let taken = self.take(&mut stale, &mut next.database, &[message], calm(state));
                next.stale = taken.is_ok().then_some(stale);
            }
            Action::StaleApplies => {
                let mut stale = next.stale.take()?;
                let applied = self.apply_waiting(&mut stale, &mut next.database, calm(state));
                next.stale = applied.is_ok().then_some(stale);
            }
            Action::Conflict => next.conflict = true,
            Action::OrderToSkip(tick) => next.database.set_order(tick, Order::Open),
            Action::Repair => next.refused = None,
        }
        if action.is_fault() {
            next.faults_left -= 1;
        }
        Some(next)
    }

    fn perform_take(&self, state: &mut State, messages: usize, dies: bool) {
        let Some(mut session) = state.session.take() else { return };
        let group: Vec<usize> = state.stream[..messages].to_vec();
        let weather = calm(state);
        let taken = self.take(&mut session, &mut state.database, &group, weather);
        state.conflict = false;
        if taken.is_ok() && !dies {
            state.stream.drain(..messages);
            state.session = Some(session);
        }
    }

    fn perform_apply(&self, state: &mut State, order: Option<i64>) {
        let Some(mut session) = state.session.take() else { return };
        let weather = calm(state);
        let applied = self.apply_waiting(&mut session, &mut state.database, weather);
        state.conflict = false;
        if let Some(tick) = order {
            state.database.set_order(tick, Order::Open);
        }
        if applied.is_ok() {
            state.session = Some(session);
        }
    }

    /// Two confirms, between which nothing happens.
    fn perform_confirm(&self, state: &mut State) {
        let Some(session) = &state.session else { return };
        if self.off(Protection::Resends) {
            return;
        }
        let confirm = Confirm {
            format: FORMAT,
            target: "1/b".to_owned(),
            incarnation: Uuid::nil(),
            term: 1,
            counter: 1,
            source: None,
            received: session.position.as_ref().map(|position| position.received),
            applied: session.position.as_ref().and_then(|position| position.applied),
            gap: session.gap,
            idle: inbox_processor::rules::ways::is_idle(
                state.stream.is_empty(),
                0,
                session.blocked.is_some(),
            ),
            reads: formats_read(),
            status: None,
            figures: None,
        };
        let (mut resends, now) = (Resends::default(), Instant::now());
        let acknowledged = state.place.acknowledged;
        let wanted = resends
            .wanted(&confirm, acknowledged, now)
            .or_else(|| resends.wanted(&confirm, acknowledged, now));
        if let Some(position) = wanted {
            state.place = outbox_publisher::rules::cursor::Place::new(state.place.epoch, position);
        }
    }

    /// What a system without faults does next; none where it has nothing to do.
    pub(crate) fn step_without_faults(&self, state: &State) -> Option<State> {
        let steps = self.steps_without_faults(state);
        steps.into_iter().filter_map(|action| self.perform(state, action)).find(|next| next != state)
    }

    fn steps_without_faults(&self, state: &State) -> Vec<Action> {
        let Some(session) = &state.session else { return vec![Action::BeginSession] };
        let mut steps = Vec::new();
        if !state.stream.is_empty() && session.blocked.is_none() {
            steps.push(Action::Take { messages: 1, dies: false });
        }
        if has_work(session) {
            steps.push(Action::ApplyWaiting { order_meanwhile: None });
        }
        if state.database.is_held
            && state.refused.is_some_and(|tick| state.database.order(tick) == Order::None)
        {
            steps.push(Action::Repair);
        }
        if state.stream.len() < STREAM_MAX {
            steps.extend(self.publishable(state).next().map(Action::Publish));
        }
        steps.push(Action::Confirm);
        steps
    }
}

impl Action {
    fn is_fault(&self) -> bool {
        match self {
            Action::Lose(_)
            | Action::Double(_)
            | Action::Swap(_)
            | Action::Restart
            | Action::TakeOver
            | Action::Conflict => true,
            Action::Take { dies, .. } => *dies,
            Action::ApplyWaiting { order_meanwhile } => order_meanwhile.is_some(),
            _ => false,
        }
    }
}

fn calm(state: &State) -> Weather {
    Weather { refused: state.refused, conflict: state.conflict }
}
