//! A publisher in one term: its cursor, its listener, and the servers that its connections are to.

use super::source::{Progress, Server, source_name};
use super::target::{STRANGER, Said, TARGET};
use outbox_publisher::rules::authority::ConfirmAuthority;
use outbox_publisher::rules::binding::Binding;
use outbox_publisher::rules::confirms::Confirms;
use outbox_publisher::rules::cursor::{CursorPosition, Place};

/// The epoch of every cursor: what is sent is acknowledged at once.
const EPOCH: u64 = 1;

/// Which of two publishers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// The one that holds the lock on the present server.
    Leader,
    /// One that was suspended and lost it, or leads on the former server.
    Stale,
}

/// Which of two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Where {
    /// The one behind the address.
    Present,
    /// The one that was, which nobody has stopped.
    Former,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Publisher {
    pub(crate) term: i64,
    /// On which the term began.
    pub(crate) timeline: i64,
    /// The server of the ticker's session; none where that session has ended unnoticed.
    pub(crate) ticker: Option<Where>,
    pub(crate) reader: Where,
    pub(crate) listener: Listener,
    pub(crate) place: Place,
    pub(crate) published: i64,
    pub(crate) confirmed: i64,
    pub(crate) matched: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Listener {
    pub(crate) on: Where,
    pub(crate) timeline: i64,
    pub(crate) binding: Binding,
    pub(crate) authority: ConfirmAuthority,
    pub(crate) confirms: Confirms,
}

impl Publisher {
    /// Begins a term on the present server.
    pub(crate) fn begin(server: &mut Server) -> Publisher {
        let Progress { term, published, confirmed, timeline, .. } = server.begin_term();
        Publisher {
            term,
            timeline: server.timeline,
            ticker: Some(Where::Present),
            reader: Where::Present,
            listener: Listener::begin(Where::Present, server),
            place: Place::new(EPOCH, CursorPosition::start_of(published + 1)),
            published,
            confirmed,
            matched: timeline.unwrap_or(server.timeline),
        }
    }

    /// The present server is the former one now, and it goes on there.
    pub(crate) fn left_behind(mut self) -> Publisher {
        (self.ticker, self.reader, self.listener.on) = (Some(Where::Former), Where::Former, Where::Former);
        self
    }

    /// Whether its pool has connections to the server.
    pub(crate) fn is_connected_to(&self, server: Where) -> bool {
        [self.reader, self.listener.on].contains(&server)
    }

    /// Whether any of its sessions is on the server.
    pub(crate) fn uses(&self, server: Where) -> bool {
        self.is_connected_to(server) || self.ticker == Some(server)
    }

    /// What was sent is acknowledged.
    pub(crate) fn sent(&mut self, behind: CursorPosition) {
        self.place.advance(EPOCH, behind);
        self.place.acknowledge(EPOCH, behind);
        self.published = self.published.max(behind.tick - 1);
    }

    /// The reader begins a session on the present server, with what is acknowledged.
    pub(crate) fn move_reader(&mut self) {
        self.reader = Where::Present;
        self.place.turn_to_acknowledged(EPOCH);
    }

    /// What comes before is not sent.
    pub(crate) fn pass_to(&mut self, position: CursorPosition) {
        self.place.advance(EPOCH, position);
    }

    pub(crate) fn turn_to(&mut self, position: CursorPosition) {
        self.place = Place::new(EPOCH, position);
    }
}

impl Listener {
    pub(crate) fn begin(on: Where, server: &Server) -> Listener {
        Listener {
            on,
            timeline: server.timeline,
            binding: Binding::of(source_name(server.history).to_owned()),
            authority: ConfirmAuthority::default(),
            confirms: Confirms::default(),
        }
    }

    /// Why the confirm does not concern this source, if it does not.
    pub(crate) fn is_unexpected(&mut self, server: &mut Server, said: &Said) -> bool {
        let bind = |candidate: &str| {
            let candidate = if candidate == TARGET { TARGET } else { STRANGER };
            Ok(server.bind_target(candidate).to_owned())
        };
        self.binding.unexpected(&said.message(), bind).unwrap().is_some()
    }
}
