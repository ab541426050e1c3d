//! Whether the stream keeps back what it has. Nothing is sent here.
//!
//! Seen with nats-server 2.9: a node whose copy of the stream fell behind for good is chosen for a consumer, which then says
//! that there is nothing, while the stream's leader stores and acknowledges.

use std::time::{Duration, Instant};

/// How often, while pulls bring nothing, the stream is asked what it has.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// So many consumers in a row, each on a node that the servers choose, that give nothing: none will.
const CONSUMERS_MAX: u32 = 3;

pub(super) struct Withheld {
    looked_at: Instant,
    /// The last message that the stream had when it was asked; the pull behind that shall bring it.
    expected: Option<u64>,
    /// Consumers in a row that did not bring it.
    consumers: u32,
}

/// What a pull that brought nothing asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Ask the stream for its last message, and tell [`Withheld::stored`].
    Look,
    /// The consumer does not give messages up to this one.
    AnotherConsumer(u64),
    /// No consumer does.
    AnotherStream(u64),
}

impl Withheld {
    pub(super) fn new(now: Instant) -> Withheld {
        Withheld { looked_at: now, expected: None, consumers: 0 }
    }

    /// A pull brought nothing. `last` is the last message that came in this session, 0 for none.
    pub(super) fn drained(&mut self, last: u64, now: Instant) -> Due {
        match self.expected.take() {
            Some(expected) if last < expected => {
                self.consumers += 1;
                if self.consumers < CONSUMERS_MAX {
                    return Due::AnotherConsumer(expected);
                }
                self.consumers = 0;
                Due::AnotherStream(expected)
            }
            None if self.consumers > 0 || now.duration_since(self.looked_at) >= LOOK_INTERVAL => Due::Look,
            _ => Due::Nothing,
        }
    }

    /// The last message that the stream has; none where it is empty.
    pub(super) fn stored(&mut self, stored: Option<u64>, last: u64, now: Instant) {
        self.looked_at = now;
        self.expected = stored.filter(|stored| *stored > last);
        if self.expected.is_none() {
            self.consumers = 0;
        }
    }

    /// A message came.
    pub(super) fn brought(&mut self) {
        (self.expected, self.consumers) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pulls that bring nothing, a second each, until something is due.
    fn wait_for_look(withheld: &mut Withheld, last: u64, now: &mut Instant) -> u32 {
        for pulls in 1..100 {
            *now += Duration::from_secs(1);
            match withheld.drained(last, *now) {
                Due::Nothing => {}
                Due::Look => return pulls,
                due => panic!("{due:?}"),
            }
        }
        panic!("the stream is never asked");
    }

    #[test]
    fn an_empty_stream_is_asked_now_and_then() {
        let mut now = Instant::now();
        let mut withheld = Withheld::new(now);
        for stored in [None, Some(7)] {
            assert_eq!(wait_for_look(&mut withheld, 7, &mut now), 10);
            withheld.stored(stored, 7, now);
        }
    }

    #[test]
    fn consumers_that_give_nothing_are_replaced_and_then_the_stream() {
        let mut now = Instant::now();
        let mut withheld = Withheld::new(now);
        wait_for_look(&mut withheld, 7, &mut now);
        withheld.stored(Some(9), 7, now);
        assert_eq!(withheld.drained(7, now), Due::AnotherConsumer(9));
        assert_eq!(withheld.drained(7, now), Due::Look);
        withheld.stored(Some(12), 7, now);
        assert_eq!(withheld.drained(7, now), Due::AnotherConsumer(12));
        assert_eq!(withheld.drained(7, now), Due::Look);
        withheld.stored(Some(12), 7, now);
        assert_eq!(withheld.drained(7, now), Due::AnotherStream(12));
        assert_eq!(withheld.drained(0, now), Due::Nothing);
    }

    #[test]
    fn what_comes_late_is_not_withheld() {
        let mut now = Instant::now();
        let mut withheld = Withheld::new(now);
        wait_for_look(&mut withheld, 7, &mut now);
        withheld.stored(Some(9), 7, now);
        withheld.brought();
        assert_eq!(withheld.drained(9, now), Due::Nothing);
        now += LOOK_INTERVAL;
        assert_eq!(withheld.drained(9, now), Due::Look);
        withheld.stored(Some(10), 9, now);
        assert_eq!(withheld.drained(9, now), Due::AnotherConsumer(10));
        withheld.brought();
        assert_eq!(withheld.drained(10, now), Due::Nothing);
    }
}
