//! The measures.

pub(crate) mod barrier;
pub(crate) mod catch_up;
pub(crate) mod cost;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod steady;

use crate::kind::Kind;
use crate::options::Sizes;
use crate::place::Place;
use crate::system::System;

/// Events of a transaction of the load, on average: a user, four payments, and one in five settles one.
pub(crate) const EVENTS_PER_TRANSACTION: f64 = 5.2;

/// A running system that has caught up, about to be measured.
pub(crate) struct Subject<'a> {
    pub(crate) place: &'a Place,
    pub(crate) sizes: &'a Sizes,
    pub(crate) kind: Kind,
    pub(crate) system: &'a mut dyn System,
    /// Of the load's random decisions; the same for each system.
    pub(crate) seed: usize,
}

impl Subject<'_> {
    /// Prints a line of progress.
    pub(crate) fn say(&self, line: &str) {
        println!("  {:<16} {line}", self.kind.label());
    }
}
