//! Delivery and apply: one source of three ticks, of which the second has two events in one or two batches; a
//! stream that loses, doubles and reorders; a target that stores, applies in every way, is blocked, is told
//! to skip, and crashes; a processor that lost its lock and has not noticed.

mod actions;
mod protections;
mod state;
mod target;

use crate::checking::{assert_broken, assert_holds, faults};
use crate::settling::Settling;
use crate::world::{SOURCE, batch, tick};
use actions::Action;
use protections::Protection;
use shared::wire::Batch;
use state::{EVENTS, Order, State};
use stateright::{Model, Property};
use std::sync::Arc;

pub(crate) struct Delivery {
    batches: Vec<Arc<Batch>>,
    off: Option<Protection>,
    /// Whether a tick of two events is too large to be kept in memory.
    two_events_are_large: bool,
    faults: u8,
    settling: Settling,
}

impl Delivery {
    fn new(two_events_are_large: bool, off: Option<Protection>) -> Delivery {
        let cut = [(1, 1, 1, 1), (2, 1, 1, 2), (2, 2, 2, 2), (2, 1, 2, 2), (3, 1, 1, 1)];
        let batches = cut
            .iter()
            .map(|(number, first, last, total)| {
                batch(SOURCE, tick(*number, 0), tick(number - 1, 0).id, (*first, *last, *total), 1)
            })
            .collect();
        let faults = faults(if two_events_are_large { 2 } else { 1 });
        Delivery { batches, off, two_events_are_large, faults, settling: Settling::default() }
    }

    fn off(&self, protection: Protection) -> bool {
        self.off == Some(protection)
    }

    fn arrives(&self, state: &State) -> bool {
        self.settling.reaches(state, State::all_arrived, |state| self.step_without_faults(state))
    }
}

impl Model for Delivery {
    type State = State;
    type Action = Action;

    /// PostgreSQL refuses one of the transactions, or none.
    fn init_states(&self) -> Vec<State> {
        [None, Some(1), Some(2), Some(3)].map(|refused| State::initial(refused, self.faults)).to_vec()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.list_actions(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.perform(state, action).filter(|next| next != state)
    }

    fn properties(&self) -> Vec<Property<Delivery>> {
        vec![
            Property::always("nothing that is applied is lost", |_, state: &State| {
                events(state).all(|(tick, written, order)| {
                    tick > state.database.applied() || order == Order::Done || written > 0
                })
            }),
            Property::always("nothing is applied twice", |_, state: &State| {
                events(state).all(|(_, written, _)| written <= 1)
            }),
            Property::always("a reader of the target sees whole ticks, in order", |_, state: &State| {
                events(state).all(|(tick, written, _)| tick <= state.database.applied() || written == 0)
            }),
            Property::always("a transaction is skipped whole, or not", |_, state: &State| {
                events(state).all(|(tick, written, order)| {
                    tick > state.database.applied()
                        || match order {
                            Order::None => true,
                            Order::Open => false,
                            Order::Done => written == 0,
                        }
                })
            }),
            Property::always("when faults end, all arrives", |model: &Delivery, state| model.arrives(state)),
        ]
    }
}

/// Of each event: its tick, how often it was written, and whether its transaction is to be skipped.
fn events(state: &State) -> impl Iterator<Item = (i64, u8, Order)> + '_ {
    let ticks: [i64; EVENTS] = [1, 2, 2, 3];
    (0..EVENTS)
        .map(move |event| (ticks[event], state.database.written[event], state.database.order(ticks[event])))
}

#[test]
fn whatever_the_stream_and_the_target_do_all_arrives_once_and_whole() {
    for (large, name) in [(false, "delivery, from memory"), (true, "delivery, a large tick")] {
        assert_holds(name, Delivery::new(large, None));
    }
}

#[test]
fn without_any_one_protection_delivery_breaks_a_promise() {
    for protection in Protection::ALL {
        assert_broken(protection.describe(), Delivery::new(true, Some(protection)));
    }
}
