//! Where the next event to publish is. Whoever finds that something has to be sent again turns the
//! cursor back; what is in flight is then of an older epoch and is dropped on sight.

use parking_lot::Mutex;
use shared::wire::Position;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The event after `ordinal` of `tick`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) tick: i64,
    /// Events of the tick that come before.
    pub(crate) ordinal: i64,
}

impl Place {
    /// Before the first event of `tick`.
    pub(crate) fn start_of(tick: i64) -> Place {
        Place { tick, ordinal: 0 }
    }

    /// Behind everything up to `position`.
    pub(crate) fn after(position: &Position) -> Place {
        if position.is_complete() {
            Place::start_of(position.tick.number + 1)
        } else {
            Place { tick: position.tick.number, ordinal: position.ordinal }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "event {} of tick {}", self.ordinal + 1, self.tick)
    }
}

/// A number that changes whenever the cursor is turned back. No two cursors share one, so that the work of an
/// earlier term is told apart, too.
pub(crate) type Epoch = u64;

/// That of no cursor.
pub(crate) const NO_EPOCH: Epoch = 0;

static EPOCHS: AtomicU64 = AtomicU64::new(NO_EPOCH);

fn new_epoch() -> Epoch {
    EPOCHS.fetch_add(1, Ordering::Relaxed) + 1
}

/// The shared cursor: the reader moves it on, others turn it back.
pub(crate) struct Cursor(Mutex<Inner>);

#[derive(Clone, Copy)]
struct Inner {
    epoch: Epoch,
    /// The next event to read.
    next: Place,
    /// Everything before it is acknowledged by the stream. Never beyond `next`.
    acknowledged: Place,
}

impl Cursor {
    /// At `start`; everything before it is acknowledged.
    pub(crate) fn new(start: Place) -> Cursor {
        Cursor(Mutex::new(Inner { epoch: new_epoch(), next: start, acknowledged: start }))
    }

    /// The next event to read, and the epoch to which it belongs.
    pub(crate) fn next(&self) -> (Epoch, Place) {
        let inner = self.0.lock();
        (inner.epoch, inner.next)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.0.lock().epoch
    }

    pub(crate) fn acknowledged(&self) -> Place {
        self.0.lock().acknowledged
    }

    /// Sends everything from `place` on (again), whatever was acknowledged.
    pub(crate) fn turn_to(&self, place: Place) {
        let mut inner = self.0.lock();
        *inner = Inner { epoch: new_epoch(), next: place, acknowledged: place };
    }

    /// Sends everything again that is not acknowledged; returns the epoch that begins with it.
    pub(crate) fn turn_to_acknowledged(&self) -> Epoch {
        let mut inner = self.0.lock();
        *inner = Inner { epoch: new_epoch(), next: inner.acknowledged, ..*inner };
        inner.epoch
    }

    /// Moves on to `place`, unless the cursor was turned since `epoch`.
    pub(crate) fn advance(&self, epoch: Epoch, place: Place) {
        let mut inner = self.0.lock();
        if inner.epoch == epoch {
            inner.next = place;
        }
    }

    /// Notes that everything before `place` is acknowledged, unless the cursor was turned since
    /// `epoch`; returns whether it did.
    pub(crate) fn acknowledge(&self, epoch: Epoch, place: Place) -> bool {
        let mut inner = self.0.lock();
        let current = inner.epoch == epoch;
        if current {
            inner.acknowledged = place;
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::TickRef;
    use uuid::Uuid;

    #[test]
    fn work_of_an_older_epoch_cannot_move_a_cursor_that_was_turned_back() {
        let cursor = Cursor::new(Place::start_of(1));
        let (epoch, _) = cursor.next();
        cursor.turn_to(Place::start_of(3));
        cursor.advance(epoch, Place::start_of(9));
        assert!(!cursor.acknowledge(epoch, Place::start_of(8)));
        assert_eq!(cursor.next().1, Place::start_of(3));
        assert_eq!(cursor.acknowledged(), Place::start_of(3));
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again() {
        let cursor = Cursor::new(Place::start_of(1));
        let (epoch, _) = cursor.next();
        cursor.advance(epoch, Place::start_of(9));
        assert!(cursor.acknowledge(epoch, Place::start_of(4)));
        let turned = cursor.turn_to_acknowledged();
        assert_ne!(turned, epoch);
        assert_eq!(cursor.next(), (turned, Place::start_of(4)));
    }

    #[test]
    fn behind_a_complete_tick_the_next_one_starts() {
        let tick = TickRef { number: 4, id: Uuid::nil() };
        assert_eq!(Place::after(&Position { tick, ordinal: 2, total: 3 }), Place { tick: 4, ordinal: 2 });
        assert_eq!(Place::after(&Position { tick, ordinal: 3, total: 3 }), Place::start_of(5));
    }
}
