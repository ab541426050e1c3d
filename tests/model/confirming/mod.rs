//! Confirms and what follows from them: one source that fails over, loses ticks, is restored and prunes; its
//! publishers; a target that is restored, and others that go by its name; an operator who starts over.

mod actions;
mod clock;
mod faults;
mod performing;
mod protections;
mod publisher;
mod schedule;
mod sending;
mod source;
mod state;
mod target;
mod worlds;

use crate::checking::{assert_broken, assert_holds, faults};
use crate::settling::Settling;
use actions::Action;
use protections::{PROTECTIONS, Protection};
use state::{Broken, State};
use stateright::{Model, Property};
use worlds::{ANY, COPIED, RESTORED, SPLIT, World};

pub(crate) struct Confirming {
    world: World,
    faults_max: u8,
    off: Option<Protection>,
    settling: Settling,
}

impl Confirming {
    fn new(world: World, faults_max: u8, off: Option<Protection>) -> Confirming {
        Confirming { world, faults_max, off, settling: Settling::default() }
    }

    /// The source has been published, and has these ticks, of which none is.
    fn prepare(&self, state: &mut State) {
        self.begin_term(state);
        for _ in 0..self.world.ticks {
            state.commit();
            state.present.take_tick();
        }
        state.normalise();
    }

    fn off(&self, protection: Protection) -> bool {
        self.off == Some(protection)
    }
}

impl Model for Confirming {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::initial(self.world.transactions, self.faults_max);
        self.prepare(&mut state);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.list_actions(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.perform(state, action).filter(|next| next != state)
    }

    fn properties(&self) -> Vec<Property<Confirming>> {
        vec![
            Property::always(
                "a reader of the target sees a state that the source had",
                |_, state: &State| state.target.database.is_snapshot(),
            ),
            Property::always("nothing unconfirmed is pruned", |_, state: &State| {
                state.truth.broken != Some(Broken::PrunedUnconfirmed)
            }),
            Property::always("what counts as confirmed is committed", |_, state: &State| {
                let confirmed = state.present.progress.confirmed;
                confirmed == 0
                    || state.present.tick(confirmed).is_some_and(|tick| state.truth.was_committed(tick))
            }),
            Property::always("nothing is published beside another history", |_, state: &State| {
                state.truth.broken != Some(Broken::PublishedBesideAnotherHistory)
            }),
            Property::always("only a target that cannot continue is refused", |_, state: &State| {
                state.truth.broken != Some(Broken::RefusedForNothing)
            }),
            Property::always("of two databases of one identity neither confirms", |_, state: &State| {
                state.truth.broken != Some(Broken::CountedOneOfTwo)
            }),
            Property::always("when faults end, all arrives", |model: &Confirming, state| {
                model.arrives(state)
            }),
        ]
    }
}

#[test]
fn whoever_fails_or_confirms_nothing_is_lost_and_all_arrives() {
    for world in [ANY, RESTORED, SPLIT, COPIED] {
        assert_holds(world.name, Confirming::new(world, faults(world.faults_max), None));
    }
}

#[test]
fn without_any_one_protection_of_the_confirms_a_promise_is_broken() {
    for (protection, world, faults) in PROTECTIONS {
        assert_broken(protection.describe(), Confirming::new(world, faults, Some(protection)));
    }
}
