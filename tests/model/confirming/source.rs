//! A server of the source: what is committed there, and what the SQL of `schema/source` and of
//! `publisher/src/outbox` does with it. Mirrored here, since PostgreSQL decides it: a tick is what is visible
//! and in no earlier tick; progress is stored under the term; the boundary up to which the outbox is pruned.

use super::target::TARGET;
use crate::world::{SOURCE, tick};
use anyhow::Result;
use outbox_publisher::rules::cursor::CursorPosition;
use outbox_publisher::rules::history::Ticks;
use shared::wire::{Position, TickRef};
use uuid::Uuid;

/// A change in the outbox: a transaction of the application, or the copy of the tables that begins a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Transaction(u8),
    /// The tables contain these transactions.
    Copy(Contents),
}

/// The transactions that tables contain, one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Contents(pub(crate) u8);

impl Contents {
    pub(crate) fn after(self, event: Event) -> Contents {
        match event {
            Event::Transaction(number) => Contents(self.0 | 1 << number),
            Event::Copy(contents) => contents,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// `replication.progress.history`; 0 is the first one.
    pub(crate) history: u8,
    pub(crate) timeline: i64,
    /// Tells the ids of the ticks that this server takes from those of any other.
    pub(crate) lineage: u8,
    /// In the order in which they were committed.
    events: Vec<Event>,
    /// From tick 0 on, those that were pruned included.
    ticks: Vec<Tick>,
    /// The first tick that is left.
    oldest: i64,
    pub(crate) progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tick {
    at: TickRef,
    /// So many events are in it and in the ticks before.
    events: usize,
}

/// `replication.progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    pub(crate) term: i64,
    pub(crate) published: i64,
    pub(crate) confirmed: i64,
    pub(crate) target: Option<&'static str>,
    pub(crate) timeline: Option<i64>,
}

/// A batch of one event, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) history: u8,
    pub(crate) timeline: i64,
    pub(crate) end: Position,
    pub(crate) previous: Uuid,
    pub(crate) event: Event,
    /// What the source's tables contained as of its tick.
    pub(crate) contents: Contents,
}

/// What a publisher finds where it reads on.
pub(crate) enum Found {
    Nothing,
    Message(Message),
    /// The ticks up to this one were pruned.
    Gone {
        last: i64,
    },
    /// The tick has no such event: the cursor comes from another server.
    NoSuchEvent,
}

/// The last history that has a name.
pub(crate) const HISTORY_MAX: u8 = 5;

/// The identity of a source in one of its histories.
pub(crate) fn source_name(history: u8) -> &'static str {
    [SOURCE, "1/a/1", "1/a/2", "1/a/3", "1/a/4", "1/a/5"][usize::from(history)]
}

fn index(number: i64) -> usize {
    usize::try_from(number).unwrap()
}

impl Server {
    pub(crate) fn new() -> Server {
        Server {
            history: 0,
            timeline: 1,
            lineage: 0,
            events: Vec::new(),
            ticks: vec![Tick { at: tick(0, 0), events: 0 }],
            oldest: 0,
            progress: Progress { target: Some(TARGET), ..Progress::default() },
        }
    }

    /// The same on another server, that takes ticks with ids of its own from here on.
    pub(crate) fn continued(self, timeline: i64, lineage: u8) -> Server {
        Server { timeline, lineage, ..self }
    }

    pub(crate) fn commit(&mut self, transaction: u8) {
        self.events.push(Event::Transaction(transaction));
    }

    /// What its tables contain.
    pub(crate) fn contents(&self) -> Contents {
        self.contents_after(self.events.len())
    }

    fn contents_after(&self, events: usize) -> Contents {
        self.events[..events].iter().fold(Contents::default(), |contents, event| contents.after(*event))
    }

    pub(crate) fn last_tick(&self) -> i64 {
        self.ticks[self.ticks.len() - 1].at.number
    }

    pub(crate) fn oldest_tick(&self) -> i64 {
        self.oldest
    }

    /// Any tick that it ever took.
    pub(crate) fn tick(&self, number: i64) -> Option<TickRef> {
        self.ticks.get(index(number)).map(|tick| tick.at)
    }

    /// Whether it ever took this tick.
    pub(crate) fn has(&self, tick: TickRef) -> bool {
        self.tick(tick.number) == Some(tick)
    }

    /// Whether it captured something that is in no tick.
    pub(crate) fn has_news(&self) -> bool {
        self.ticks[self.ticks.len() - 1].events < self.events.len()
    }

    pub(crate) fn take_tick(&mut self) {
        let at = tick(self.last_tick() + 1, self.lineage);
        self.ticks.push(Tick { at, events: self.events.len() });
    }

    /// As [`TickReader`] reads: a tick together with the one before, and fails where another one than the
    /// wanted one comes first.
    ///
    /// [`TickReader`]: ../../../publisher/src/outbox/reading.rs
    pub(crate) fn read(&self, next: CursorPosition) -> Found {
        let first = next.tick.max(self.oldest + 1);
        if first > self.last_tick() {
            return Found::Nothing;
        }
        if first != next.tick {
            return Found::Gone { last: first - 1 };
        }
        let (previous, tick) = (self.ticks[index(first - 1)], self.ticks[index(first)]);
        let total = i64::try_from(tick.events - previous.events).unwrap();
        let ordinal = next.ordinal + 1;
        if ordinal > total {
            return Found::NoSuchEvent;
        }
        Found::Message(Message {
            history: self.history,
            timeline: self.timeline,
            end: Position { tick: tick.at, ordinal, total },
            previous: previous.at.id,
            event: self.events[previous.events + index(next.ordinal)],
            contents: self.contents_after(tick.events),
        })
    }

    /// As `begin_term` does.
    pub(crate) fn begin_term(&mut self) -> Progress {
        self.progress.term += 1;
        self.progress.timeline.get_or_insert(self.timeline);
        self.progress
    }

    /// As `store_progress` does: only for the publisher of the latest term on this timeline. A tick that is not
    /// there violates the foreign key.
    pub(crate) fn store_progress(
        &mut self,
        (term, timeline): (i64, i64),
        (published, confirmed): (i64, i64),
        (any_term, any_timeline): (bool, bool),
    ) -> bool {
        let known = self.oldest..=self.last_tick();
        let is_current =
            (any_term || self.progress.term == term) && (any_timeline || self.timeline == timeline);
        if !is_current || !known.contains(&published) {
            return false;
        }
        self.progress.published = published;
        self.progress.confirmed = if known.contains(&confirmed) { confirmed } else { self.oldest };
        true
    }

    /// As `store_matched_timeline` does.
    pub(crate) fn store_matched_timeline(&mut self, term: i64, timeline: i64) -> bool {
        let leads = self.progress.term == term;
        if leads {
            self.progress.timeline = Some(timeline);
        }
        leads
    }

    /// As `bind_target` does.
    pub(crate) fn bind_target(&mut self, candidate: &'static str) -> &'static str {
        self.progress.target.get_or_insert(candidate)
    }

    /// As `replication.prune_outbox` does, where every tick is old enough: up to the last tick before the one
    /// that is published and confirmed. Unless `wait` is off. Returns the ticks whose events are gone then.
    pub(crate) fn prune(&mut self, wait_for_confirm: bool) -> Vec<TickRef> {
        let Progress { published, confirmed, .. } = self.progress;
        let end = if wait_for_confirm { published.min(confirmed) } else { published };
        let boundary = (end - 1).max(self.oldest);
        let pruned =
            self.ticks[index(self.oldest) + 1..=index(boundary)].iter().map(|tick| tick.at).collect();
        self.oldest = boundary;
        pruned
    }

    /// As `replication.start_over` does.
    pub(crate) fn start_over(&mut self, history: u8, lineage: u8) {
        let copy = Event::Copy(self.contents());
        *self = Server {
            history,
            lineage,
            timeline: self.timeline,
            events: vec![copy],
            progress: Progress { term: self.progress.term, ..Progress::default() },
            ..Server::new()
        };
    }
}

impl Ticks for &Server {
    fn oldest(&mut self) -> Result<i64> {
        Ok(self.oldest)
    }

    fn id(&mut self, number: i64) -> Result<Option<Uuid>> {
        Ok(self.tick(number).filter(|_| number >= self.oldest).map(|tick| tick.id))
    }
}
