//! What there is: the publisher's cursor, the stream, the target's database, and the sessions of its
//! processors.

use inbox_processor::rules::position::TargetPosition;
use outbox_publisher::rules::cursor::{CursorPosition, Place};
use std::collections::BTreeSet;

/// The source's transactions, by the tick that they belong to.
pub(crate) const TICKS: i64 = 3;
pub(crate) const EVENTS: usize = 4;

/// A batch, by its index, without the events before an ordinal.
pub(crate) type Piece = (usize, i64);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) place: Place,
    /// The messages that can be pulled, in order.
    pub(crate) stream: Vec<usize>,
    pub(crate) database: Database,
    /// The processor that holds the lock; none while none runs.
    pub(crate) session: Option<Session>,
    /// One that lost the lock and has not noticed.
    pub(crate) stale: Option<Session>,
    /// PostgreSQL refuses this transaction, whichever way it is applied.
    pub(crate) refused: Option<i64>,
    /// PostgreSQL refuses the next quick apply: another row is in the way for a moment.
    pub(crate) conflict: bool,
    pub(crate) faults_left: u8,
}

/// What is committed in the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub(crate) position: Option<TargetPosition>,
    /// By tick and first ordinal.
    pub(crate) inbox: Vec<Piece>,
    pub(crate) processed: BTreeSet<usize>,
    /// How often each event was written to the tables.
    pub(crate) written: [u8; EVENTS],
    pub(crate) is_held: bool,
    /// An order to skip the transaction of each tick.
    pub(crate) orders: [Order; 3],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    #[default]
    None,
    Open,
    /// Left out, on record.
    Done,
}

/// What a processor knows in one database session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) position: Option<TargetPosition>,
    /// What waits, where it is also in memory.
    pub(crate) memory: Option<Vec<Piece>>,
    pub(crate) quick_refused: bool,
    /// The tick that blocks apply.
    pub(crate) blocked: Option<i64>,
    pub(crate) skips_are_open: bool,
    pub(crate) gap: bool,
}

impl State {
    pub(crate) fn initial(refused: Option<i64>, faults_left: u8) -> State {
        State {
            place: Place::new(1, CursorPosition::start_of(1)),
            stream: Vec::new(),
            database: Database::default(),
            session: None,
            stale: None,
            refused,
            conflict: false,
            faults_left,
        }
    }

    pub(crate) fn all_arrived(&self) -> bool {
        self.database.applied() == TICKS && self.database.orders.iter().all(|order| *order != Order::Open)
    }
}

impl Database {
    pub(crate) fn applied(&self) -> i64 {
        self.position.as_ref().map_or(0, TargetPosition::last_applied)
    }

    pub(crate) fn order(&self, tick: i64) -> Order {
        self.orders[usize::try_from(tick - 1).unwrap()]
    }

    pub(crate) fn set_order(&mut self, tick: i64, order: Order) {
        self.orders[usize::try_from(tick - 1).unwrap()] = order;
    }
}
