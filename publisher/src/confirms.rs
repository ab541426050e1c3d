//! Listens to what the target says it has, checks it against the own tick table, and turns the
//! cursor back when something that was acknowledged never arrived.

use crate::cursor::Place;
use crate::outbox;
use crate::speakers::Speakers;
use crate::state::State;
use anyhow::{Context, Result, anyhow};
use crossbeam_channel::RecvTimeoutError;
use shared::broker::{Broker, Incoming};
use shared::database::{Database, Pooled};
use shared::fault::Fault;
use shared::retry::Complaint;
use shared::supervisor::ThreadContext;
use shared::wire::{Confirm, Position, TickRef};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// After a resend, what was in flight before it still causes reports of the same gap; they are
/// not answered again for this long.
const RESEND_GRACE: Duration = Duration::from_secs(3);

pub(crate) struct Confirms {
    broker: Broker,
    subject: String,
    database: Database,
    state: Arc<State>,
}

impl Confirms {
    pub(crate) fn new(broker: Broker, subject: String, database: Database, state: Arc<State>) -> Confirms {
        Confirms { broker, subject, database, state }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("listen to confirms", || self.session(context))
    }

    fn session(&mut self, context: &ThreadContext) -> Result<()> {
        context.healthy();
        if !self.state.wait_to_lead(context.stop()) {
            return Ok(());
        }
        let mut client = self.database.connection()?;
        let source = outbox::source_id(&mut client)?;
        let connection = self.broker.connect()?;
        let messages = connection.subscribe(&self.subject)?;
        let mut listener = Listener {
            client,
            source,
            state: &self.state,
            target: None,
            speakers: Speakers::default(),
            resends: Resends::default(),
            complaint: Complaint::default(),
        };
        context.healthy();
        while !context.stop().requested() && self.state.is_leading() {
            match messages.recv_timeout(CHECK_INTERVAL) {
                Ok(message) => listener.hear(&message)?,
                Err(RecvTimeoutError::Timeout) => connection.check()?,
                Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the connection is gone")),
            }
        }
        Ok(())
    }
}

struct Listener<'a> {
    client: Pooled,
    source: String,
    state: &'a State,
    /// The one target whose confirms count, once known.
    target: Option<String>,
    speakers: Speakers,
    resends: Resends,
    complaint: Complaint,
}

impl Listener<'_> {
    fn hear(&mut self, message: &Incoming) -> Result<()> {
        let confirm = match Confirm::decode(&message.data) {
            Ok(confirm) => confirm,
            Err(error) => {
                self.complain(&format!("ignoring a confirm that cannot be read: {error:#}"));
                return Ok(());
            }
        };
        if !self.is_for_us(&confirm)? {
            return Ok(());
        }
        if let Some(applied) = confirm.applied {
            self.check_history(applied)?;
            self.state.confirm(applied.number);
            shared::kill_point::reached("confirmed");
        }
        if let Some(received) = confirm.received {
            self.check_history(received.tick)?;
        }
        if let Some(place) = self.resends.wanted(&confirm, self.state.cursor.acknowledged()) {
            let reason = if confirm.gap { "reports a gap" } else { "has nothing more to receive" };
            log::warn!("the target {reason} although more was published: resending from {place}");
            self.state.cursor.turn_to(place);
        }
        Ok(())
    }

    /// Whether the confirm comes from our target, speaks of this source, and is not stale.
    fn is_for_us(&mut self, confirm: &Confirm) -> Result<bool> {
        if confirm.source.as_ref().is_some_and(|source| *source != self.source) {
            self.complain(&format!(
                "ignoring the target {}: it follows the source {}, this is {}",
                confirm.target,
                confirm.source.as_deref().unwrap_or_default(),
                self.source
            ));
            return Ok(false);
        }
        if self.target.is_none() {
            self.target = Some(outbox::bind_target(&mut self.client, &confirm.target)?);
        }
        if self.target.as_ref() != Some(&confirm.target) {
            self.complain(&format!(
                "ignoring the target {}: this source is bound to {}",
                confirm.target,
                self.target.as_deref().unwrap_or_default()
            ));
            return Ok(false);
        }
        Ok(self.speakers.hear(confirm, Instant::now()))
    }

    /// A tick that the target knows must be one that this source took.
    fn check_history(&mut self, claimed: TickRef) -> Result<()> {
        match outbox::tick_id(&mut self.client, claimed.number)? {
            Some(id) if id == claimed.id => Ok(()),
            known => Err(anyhow!(
                "the target has tick {claimed}, this source has {}: it is another history (was the source restored, \
                 or did it fail over and lose ticks?); nothing is published until that is resolved: here \
                 select replication.start_over(), in the target select replication.adopt_source(…) \
                 with what that returns (docs/operations.md)",
                known.map_or_else(|| "no such tick".to_owned(), |id| format!("tick {} ({id})", claimed.number))
            )
            .context(Fault::Fatal)),
        }
        .context("compare the target's position")
    }

    fn complain(&mut self, text: &str) {
        if self.complaint.is_due(text) {
            log::error!("{text}");
        }
    }
}

/// Decides when to send again.
#[derive(Default)]
struct Resends {
    /// Where the target stood at its last idle confirm, and what was acknowledged by then.
    idle: Option<(Option<Position>, Place)>,
    last: Option<(Place, Instant)>,
}

impl Resends {
    /// The place to resend from: behind what the target has received, when it reports a gap, or when it
    /// was idle twice in a row without having got what was acknowledged before the first time.
    fn wanted(&mut self, confirm: &Confirm, acknowledged: Place) -> Option<Place> {
        let place = confirm.received.map_or(Place::start_of(1), |received| Place::after(&received));
        let stuck = confirm.idle
            && self.idle.is_some_and(|(received, behind)| received == confirm.received && place < behind);
        self.idle = confirm.idle.then_some((confirm.received, acknowledged));
        if !confirm.gap && !stuck {
            return None;
        }
        if self.last.is_some_and(|(last, at)| last == place && at.elapsed() < RESEND_GRACE) {
            return None;
        }
        self.last = Some((place, Instant::now()));
        self.idle = None;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::FORMAT;
    use uuid::Uuid;

    fn confirm(tick: i64, gap: bool, idle: bool) -> Confirm {
        let tick = TickRef { number: tick, id: Uuid::nil() };
        Confirm {
            format: FORMAT,
            target: "1/b".to_owned(),
            incarnation: Uuid::nil(),
            term: 1,
            counter: 1,
            source: None,
            received: (tick.number > 0).then_some(Position { tick, ordinal: 4, total: 4 }),
            applied: None,
            gap,
            idle,
        }
    }

    #[test]
    fn a_gap_is_answered_once() {
        let mut resends = Resends::default();
        let acknowledged = Place::start_of(9);
        assert_eq!(resends.wanted(&confirm(3, true, false), acknowledged), Some(Place::start_of(4)));
        assert_eq!(resends.wanted(&confirm(3, true, false), acknowledged), None);
        assert_eq!(resends.wanted(&confirm(5, true, false), acknowledged), Some(Place::start_of(6)));
    }

    #[test]
    fn a_target_that_idles_behind_what_was_acknowledged_gets_it_again() {
        let mut resends = Resends::default();
        assert_eq!(resends.wanted(&confirm(0, false, true), Place::start_of(9)), None);
        assert_eq!(resends.wanted(&confirm(0, false, true), Place::start_of(9)), Some(Place::start_of(1)));
    }

    #[test]
    fn what_was_acknowledged_between_two_confirms_may_still_be_under_way() {
        let mut resends = Resends::default();
        assert_eq!(resends.wanted(&confirm(3, false, true), Place::start_of(4)), None);
        assert_eq!(resends.wanted(&confirm(3, false, true), Place::start_of(9)), None);
        assert_eq!(resends.wanted(&confirm(3, false, true), Place::start_of(9)), Some(Place::start_of(4)));
    }
}
