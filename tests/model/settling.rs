//! "When faults end, all arrives": from every state, the steps that a system without faults takes lead to the
//! goal.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Mutex;

/// No schedule here needs more steps to its goal.
const STEPS_MAX: usize = 200;

/// Remembers from which states the goal is reached.
#[derive(Default)]
pub(crate) struct Settling {
    hasher: RandomState,
    known: Mutex<HashSet<u64>>,
}

impl Settling {
    /// Whether `step` after `step` leads from a state to one that is at the goal. None is a step that changes
    /// nothing.
    pub(crate) fn reaches<S: Clone + Hash>(
        &self,
        state: &S,
        is_at_goal: impl Fn(&S) -> bool,
        step: impl Fn(&S) -> Option<S>,
    ) -> bool {
        let mut passed = Vec::new();
        let mut state = state.clone();
        for _ in 0..STEPS_MAX {
            let hash = self.hasher.hash_one(&state);
            if self.known.lock().unwrap().contains(&hash) || is_at_goal(&state) {
                self.known.lock().unwrap().extend(passed);
                return true;
            }
            passed.push(hash);
            match step(&state) {
                Some(next) => state = next,
                None => return false,
            }
        }
        false
    }
}
