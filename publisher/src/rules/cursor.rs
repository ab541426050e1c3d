//! The next event to publish. A thread that finds that something has to be sent again turns the cursor back;
//! what is in flight belongs to an older epoch then, and is dropped.

use parking_lot::Mutex;
use shared::wire::Position;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The event after `ordinal` of `tick`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CursorPosition {
    /// Its tick.
    pub tick: i64,
    /// Events of the tick that come before.
    pub ordinal: i64,
}

impl CursorPosition {
    /// Before the first event of `tick`.
    pub fn start_of(tick: i64) -> CursorPosition {
        CursorPosition { tick, ordinal: 0 }
    }

    /// Behind everything up to `position`.
    pub fn after(position: &Position) -> CursorPosition {
        if position.is_complete() {
            CursorPosition::start_of(position.tick.number + 1)
        } else {
            CursorPosition { tick: position.tick.number, ordinal: position.ordinal }
        }
    }
}

impl fmt::Display for CursorPosition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "event {} of tick {}", self.ordinal + 1, self.tick)
    }
}

/// A number that changes whenever the cursor is turned back. No two cursors share one: work of an earlier
/// term is recognised as well.
pub type Epoch = u64;

/// The epoch of no cursor.
pub const NO_EPOCH: Epoch = 0;

static EPOCHS: AtomicU64 = AtomicU64::new(NO_EPOCH);

fn new_epoch() -> Epoch {
    EPOCHS.fetch_add(1, Ordering::Relaxed) + 1
}

/// The shared cursor: the reader moves it on, others turn it back.
pub struct Cursor(Mutex<Place>);

/// Where the cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Changes whenever the cursor is turned back.
    pub epoch: Epoch,
    /// The next event to read.
    pub next: CursorPosition,
    /// Everything before it is acknowledged by the stream. Never beyond `next`.
    pub acknowledged: CursorPosition,
}

impl Place {
    /// At `start`; everything before it is acknowledged.
    pub fn new(epoch: Epoch, start: CursorPosition) -> Place {
        Place { epoch, next: start, acknowledged: start }
    }

    /// Everything that is not acknowledged is sent again.
    pub fn turn_to_acknowledged(&mut self, epoch: Epoch) {
        *self = Place::new(epoch, self.acknowledged);
    }

    /// Moves on to `position`, unless the cursor was turned since `epoch`.
    pub fn advance(&mut self, epoch: Epoch, position: CursorPosition) {
        if self.epoch == epoch {
            self.next = position;
        }
    }

    /// Notes that everything before `position` is acknowledged, unless the cursor was turned since
    /// `epoch`; returns whether it did.
    pub fn acknowledge(&mut self, epoch: Epoch, position: CursorPosition) -> bool {
        let current = self.epoch == epoch;
        if current {
            self.acknowledged = position;
        }
        current
    }
}

impl Cursor {
    /// At `start`; everything before it is acknowledged.
    pub fn new(start: CursorPosition) -> Cursor {
        Cursor(Mutex::new(Place::new(new_epoch(), start)))
    }

    /// The next event to read, and the epoch to which it belongs.
    pub fn next(&self) -> (Epoch, CursorPosition) {
        let place = self.0.lock();
        (place.epoch, place.next)
    }

    /// The present epoch.
    pub fn epoch(&self) -> Epoch {
        self.0.lock().epoch
    }

    /// Everything before it is acknowledged by the stream.
    pub fn acknowledged(&self) -> CursorPosition {
        self.0.lock().acknowledged
    }

    /// Sends everything from `position` on (again), whatever was acknowledged.
    pub fn turn_to(&self, position: CursorPosition) {
        *self.0.lock() = Place::new(new_epoch(), position);
    }

    /// Sends everything again that is not acknowledged; returns the epoch that begins with it.
    pub fn turn_to_acknowledged(&self) -> Epoch {
        let mut place = self.0.lock();
        place.turn_to_acknowledged(new_epoch());
        place.epoch
    }

    /// See [`Place::advance`].
    pub fn advance(&self, epoch: Epoch, position: CursorPosition) {
        self.0.lock().advance(epoch, position);
    }

    /// See [`Place::acknowledge`].
    pub fn acknowledge(&self, epoch: Epoch, position: CursorPosition) -> bool {
        self.0.lock().acknowledge(epoch, position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::TickRef;
    use uuid::Uuid;

    #[test]
    fn work_of_an_older_epoch_cannot_move_a_cursor_that_was_turned_back() {
        let cursor = Cursor::new(CursorPosition::start_of(1));
        let (epoch, _) = cursor.next();
        cursor.turn_to(CursorPosition::start_of(3));
        cursor.advance(epoch, CursorPosition::start_of(9));
        assert!(!cursor.acknowledge(epoch, CursorPosition::start_of(8)));
        assert_eq!(cursor.next().1, CursorPosition::start_of(3));
        assert_eq!(cursor.acknowledged(), CursorPosition::start_of(3));
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again() {
        let cursor = Cursor::new(CursorPosition::start_of(1));
        let (epoch, _) = cursor.next();
        cursor.advance(epoch, CursorPosition::start_of(9));
        assert!(cursor.acknowledge(epoch, CursorPosition::start_of(4)));
        let turned = cursor.turn_to_acknowledged();
        assert_ne!(turned, epoch);
        assert_eq!(cursor.next(), (turned, CursorPosition::start_of(4)));
    }

    #[test]
    fn behind_a_complete_tick_the_next_one_starts() {
        let tick = TickRef { number: 4, id: Uuid::nil() };
        assert_eq!(
            CursorPosition::after(&Position { tick, ordinal: 2, total: 3 }),
            CursorPosition { tick: 4, ordinal: 2 }
        );
        assert_eq!(
            CursorPosition::after(&Position { tick, ordinal: 3, total: 3 }),
            CursorPosition::start_of(5)
        );
    }
}
