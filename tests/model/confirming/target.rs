//! A database of the target, coarsely: what is stored, what is applied, how far it is. `delivery` has what is
//! between a message and its transaction.

use super::source::{Contents, Event, HISTORY_MAX, Message, source_name};
use crate::world::batch;
use inbox_processor::rules::applied::{AppliedTick, position_after};
use inbox_processor::rules::position::{Reception, TargetPosition, Verdict};
use inbox_processor::rules::ways::is_idle;
use shared::wire::{Confirm, FORMAT, Position, TickRef, formats_read};
use uuid::Uuid;

/// Transactions in one schedule, that the tables may contain.
pub(crate) const TRANSACTIONS_MAX: usize = 6;

/// The identity of the target, and of a copy of its server.
pub(crate) const TARGET: &str = "2/b";
/// The identity of another one.
pub(crate) const STRANGER: &str = "3/c";

/// A database, and the processor that serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) database: Database,
    pub(crate) session: Session,
}

/// What is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub(crate) position: Option<TargetPosition>,
    /// Batches that are stored and not applied, in order.
    inbox: Vec<Message>,
    /// How often the tables contain each transaction.
    written: [u8; TRANSACTIONS_MAX],
    /// What they should contain.
    contents: Contents,
    /// So many processors have led.
    terms: i64,
}

/// What a processor knows in one database session, and has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) incarnation: u8,
    term: i64,
    pub(crate) counter: u64,
    gap: bool,
    pub(crate) link: Link,
}

/// The processor's connection to NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    /// A pull is under way, to which the stream answers at once.
    Up,
    /// Whether the last pull came back empty.
    Down { drained: bool },
    /// Nothing was pulled over it yet.
    New { drained: bool },
}

/// A confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Said {
    pub(crate) target: &'static str,
    pub(crate) incarnation: u8,
    pub(crate) term: i64,
    pub(crate) counter: u64,
    pub(crate) history: Option<u8>,
    pub(crate) received: Option<Position>,
    pub(crate) applied: Option<TickRef>,
    pub(crate) gap: bool,
    pub(crate) idle: bool,
}

impl Session {
    pub(crate) fn is_cut_off(&self) -> bool {
        matches!(self.link, Link::Down { .. })
    }
}

pub(crate) fn incarnation(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number) + 1)
}

impl Said {
    pub(crate) fn message(&self) -> Confirm {
        Confirm {
            format: FORMAT,
            target: self.target.to_owned(),
            incarnation: incarnation(self.incarnation),
            term: self.term,
            counter: self.counter,
            source: self.history.map(|history| source_name(history).to_owned()),
            received: self.received,
            applied: self.applied,
            gap: self.gap,
            idle: self.idle,
            reads: formats_read(),
            status: None,
            figures: None,
        }
    }
}

impl Database {
    /// A processor takes over.
    pub(crate) fn begin(&mut self, incarnation: u8) -> Session {
        self.terms += 1;
        Session { incarnation, term: self.terms, counter: 0, gap: false, link: Link::Up }
    }

    /// Whether a reader sees a state that the source had.
    pub(crate) fn is_snapshot(&self) -> bool {
        self.has(self.contents)
    }

    /// Whether the tables contain each of these once, and nothing else.
    pub(crate) fn has(&self, contents: Contents) -> bool {
        (0..TRANSACTIONS_MAX).all(|number| self.written[number] == contents.0 >> number & 1)
    }

    fn write(&mut self, event: Event) {
        match event {
            Event::Transaction(number) => self.written[usize::from(number)] += 1,
            Event::Copy(contents) => {
                self.written = std::array::from_fn(|number| contents.0 >> number & 1);
            }
        }
    }

    /// The history that it follows; none before it has received anything.
    pub(crate) fn history(&self) -> Option<u8> {
        let position = self.position.as_ref()?;
        (0..=HISTORY_MAX).find(|history| source_name(*history) == position.source)
    }

    /// As `replication.adopt_source` does.
    pub(crate) fn adopt(&mut self, history: u8) {
        let nothing = TickRef { number: 0, id: Uuid::nil() };
        self.position = Some(TargetPosition {
            source: source_name(history).to_owned(),
            timeline: 0,
            received: Position { tick: nothing, ordinal: 1, total: 1 },
            applied: None,
        });
        self.inbox.clear();
    }
}

impl Target {
    pub(crate) fn new() -> Target {
        let mut database = Database::default();
        Target { session: database.begin(0), database }
    }

    /// Stores a message that follows.
    pub(crate) fn take(&mut self, message: &Message) {
        let Target { database, session } = self;
        let Position { tick, ordinal, total } = message.end;
        let source = source_name(message.history);
        let batch = batch(source, tick, message.previous, (ordinal, ordinal, total), message.timeline);
        let mut reception = Reception { position: database.position.clone(), gap: session.gap };
        if let Verdict::Next { .. } = reception.take(&batch) {
            database.inbox.push(*message);
        }
        database.position = reception.position;
        session.gap = reception.gap;
        session.link = Link::Up;
    }

    /// Applies the complete ticks; returns which.
    pub(crate) fn apply(&mut self) -> Vec<TickRef> {
        let database = &mut self.database;
        let Some(before) = database.position.clone().filter(TargetPosition::has_complete_ticks) else {
            return Vec::new();
        };
        let mut applied = Vec::new();
        while let Some(message) = database.inbox.first().copied() {
            if message.end.tick.number > before.last_complete() {
                break;
            }
            database.inbox.remove(0);
            database.write(message.event);
            if message.end.is_complete() {
                let Position { tick, total, .. } = message.end;
                applied.push(AppliedTick { tick, events: total, taken_at_us: 0, snapshot: None });
                database.contents = message.contents;
            }
        }
        database.position = Some(position_after(&before, &applied));
        applied.iter().map(|applied| applied.tick).collect()
    }

    /// The next confirm, where the stream is empty or not.
    pub(crate) fn say(&mut self, is_empty: bool) -> Said {
        let Target { database, session } = self;
        session.counter += 1;
        let drained = match session.link {
            Link::Up => is_empty,
            Link::Down { drained } | Link::New { drained } => drained,
        };
        let position = database.position.as_ref();
        Said {
            target: TARGET,
            incarnation: session.incarnation,
            term: session.term,
            counter: session.counter,
            history: database.history(),
            received: position.filter(|position| position.has_received()).map(|position| position.received),
            applied: position.and_then(|position| position.applied),
            gap: session.gap,
            idle: is_idle(drained, 0, false),
        }
    }
}
