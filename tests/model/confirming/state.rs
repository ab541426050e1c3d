//! What there is: the servers of the source, the publishers, the stream, the target and what goes by its name.

use super::publisher::{Publisher, Where, Who};
use super::source::{Message, Server};
use super::target::{Database, Said, Target};
use outbox_publisher::rules::silence::{CONTESTED_AFTER, PROCESSOR_GONE_AFTER};
use shared::wire::TickRef;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The server behind the source's address.
    pub(crate) present: Server,
    /// The one that was before a failover, where nobody has stopped it.
    pub(crate) former: Option<Server>,
    /// What a standby, or a backup of the source, has.
    pub(crate) standby: Option<Server>,
    pub(crate) leader: Option<Publisher>,
    pub(crate) stale: Option<Publisher>,
    /// So often has a publisher ended with the error that the target cannot continue with its source.
    pub(crate) refused: u8,
    /// The messages that can be pulled, in order.
    pub(crate) stream: Vec<Message>,
    pub(crate) target: Target,
    pub(crate) backup: Option<Database>,
    /// A copy of the target's server, which has the same identity.
    pub(crate) copy: Option<Target>,
    /// A confirm that is still under way, or of a processor that lost its lock and has not noticed.
    pub(crate) late: Option<Said>,
    pub(crate) transactions_left: u8,
    pub(crate) transactions: u8,
    pub(crate) lineages: u8,
    pub(crate) histories: u8,
    pub(crate) incarnations: u8,
    pub(crate) faults_left: u8,
    pub(crate) truth: Truth,
}

/// Two that have been heard for so long are known to be two.
const KNOWN_AFTER: Duration = CONTESTED_AFTER.saturating_add(PROCESSOR_GONE_AFTER);

/// What only the model knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    committed: u64,
    /// What was published without being able to know better.
    pub(crate) is_split: bool,
    /// For how long the leader has heard both the target and a copy of it.
    pub(crate) both_heard: Duration,
    pub(crate) broken: Option<Broken>,
}

/// A promise that an action has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    PrunedUnconfirmed,
    RefusedForNothing,
    PublishedBesideAnotherHistory,
    /// A confirm, while two databases of one identity confirm.
    CountedOneOfTwo,
}

impl Truth {
    fn bit(tick: TickRef) -> u64 {
        let (lineage, number) = tick.id.as_u64_pair();
        assert!(lineage <= 8 && number < 8, "more ticks than the model has bits for");
        1 << ((lineage - 1) * 8 + number)
    }

    /// The target, or what goes by its name, has committed these ticks.
    pub(crate) fn commit(&mut self, ticks: &[TickRef]) {
        for tick in ticks {
            self.committed |= Truth::bit(*tick);
        }
    }

    pub(crate) fn hear_both(&mut self, time: Duration) {
        self.both_heard = (self.both_heard + time).min(KNOWN_AFTER);
    }

    /// Whether the publisher must know that there are two.
    pub(crate) fn there_are_two(&self) -> bool {
        self.both_heard >= KNOWN_AFTER
    }

    pub(crate) fn was_committed(&self, tick: TickRef) -> bool {
        self.committed & Truth::bit(tick) != 0
    }
}

impl State {
    pub(crate) fn initial(transactions: u8, faults_left: u8) -> State {
        State {
            present: Server::new(),
            former: None,
            standby: None,
            leader: None,
            stale: None,
            refused: 0,
            stream: Vec::new(),
            target: Target::new(),
            backup: None,
            copy: None,
            late: None,
            transactions_left: transactions,
            transactions: 0,
            lineages: 0,
            histories: 0,
            incarnations: 0,
            faults_left,
            truth: Truth::default(),
        }
    }

    pub(crate) fn server(&self, at: Where) -> Option<&Server> {
        match at {
            Where::Present => Some(&self.present),
            Where::Former => self.former.as_ref(),
        }
    }

    pub(crate) fn server_mut(&mut self, at: Where) -> Option<&mut Server> {
        match at {
            Where::Present => Some(&mut self.present),
            Where::Former => self.former.as_mut(),
        }
    }

    pub(crate) fn publisher(&self, who: Who) -> Option<&Publisher> {
        match who {
            Who::Leader => self.leader.as_ref(),
            Who::Stale => self.stale.as_ref(),
        }
    }

    pub(crate) fn publisher_mut(&mut self, who: Who) -> &mut Option<Publisher> {
        match who {
            Who::Leader => &mut self.leader,
            Who::Stale => &mut self.stale,
        }
    }

    pub(crate) fn commit(&mut self) {
        self.present.commit(self.transactions);
        self.transactions += 1;
    }

    pub(crate) fn new_lineage(&mut self) -> u8 {
        self.lineages += 1;
        self.lineages
    }

    /// A processor takes over.
    pub(crate) fn begin_session(&mut self) {
        self.incarnations += 1;
        self.target.session = self.target.database.begin(self.incarnations);
    }

    /// Everything that goes by the target's name.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        [&self.target].into_iter().chain(&self.copy)
    }
}
