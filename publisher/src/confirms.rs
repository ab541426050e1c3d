//! Listens to what the target says it has, checks it against the own tick table, and turns the
//! cursor back when something that was acknowledged never arrived.

use crate::cursor::Place;
use crate::leadership::{Leadership, Term};
use crate::outbox;
use crate::speakers::Speakers;
use crate::strangers::Strangers;
use anyhow::{Context, Result, anyhow};
use shared::broker::{Broker, Connection, Incoming};
use shared::database::Pooled;
use shared::fault::{Fault, fault_of};
use shared::retry::Complaint;
use shared::supervisor::ThreadContext;
use shared::wire::{Confirm, FORMAT, Position, Refusal, TickRef, confirm_subject, refusal_subject};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// After a resend, what was in flight before it still causes reports of the same gap; they are
/// not answered again for this long.
const RESEND_GRACE: Duration = Duration::from_secs(3);
/// A target confirms every second; a zone that was down as a whole is back sooner than this.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The target has this long to answer that it has heard why nothing more comes.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Confirms {
    broker: Broker,
    subject: String,
    refusal_subject: String,
    leadership: Arc<Leadership>,
}

impl Confirms {
    pub(crate) fn new(broker: Broker, subject_prefix: &str, leadership: Arc<Leadership>) -> Confirms {
        let (subject, refusal_subject) = (confirm_subject(subject_prefix), refusal_subject(subject_prefix));
        Confirms { broker, subject, refusal_subject, leadership }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        let leadership = self.leadership.clone();
        leadership.in_each_term(context, "listen to confirms", |term| self.session(term, context))
    }

    fn session(&mut self, term: &Term, context: &ThreadContext) -> Result<()> {
        let mut client = term.connection()?;
        let source = outbox::source_id(&mut client)?;
        let connection = self.broker.connect()?;
        let messages = connection.subscribe(&self.subject)?;
        let mut listener = Listener {
            subject: &self.subject,
            timeline: outbox::wal_timeline(&mut client)?,
            client,
            source,
            term,
            target: None,
            heard_at: Instant::now(),
            speakers: Speakers::default(),
            strangers: Strangers::default(),
            needed: None,
            matched: Vec::new(),
            resends: Resends::default(),
            complaint: Complaint::default(),
        };
        while term.continues(context.stop()) {
            match listener.trouble(Instant::now()) {
                None => context.healthy(),
                Some(trouble) => context.unhealthy(&trouble),
            }
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => {}
                recv(term.ended()) -> _ => {}
                recv(messages) -> message => {
                    self.hear(&mut listener, &message.context("the connection is gone")?, &connection)?;
                }
                default(CHECK_INTERVAL) => connection.check()?,
            }
        }
        Ok(())
    }

    /// Where there is no going on with our target, it is told so before this process ends.
    fn hear(&self, listener: &mut Listener<'_>, message: &Incoming, connection: &Connection) -> Result<()> {
        let Err(error) = listener.hear(message) else { return Ok(()) };
        let is_final = fault_of(&error) == Fault::Fatal && !listener.term.is_over();
        let target = listener.target.as_ref().filter(|_| is_final);
        if let Some(target) = target {
            let refusal = Refusal {
                format: FORMAT,
                source: listener.source.clone(),
                target: target.clone(),
                reason: format!("{error:#}"),
            };
            let told = refusal
                .encode()
                .and_then(|payload| connection.request(&self.refusal_subject, payload, REFUSAL_TIMEOUT));
            if let Err(error) = told {
                log::warn!("the target may not know that it is refused: {error:#}");
            }
        }
        Err(error)
    }
}

struct Listener<'a> {
    subject: &'a str,
    client: Pooled,
    source: String,
    /// That the server of `client` writes.
    timeline: i64,
    term: &'a Term,
    /// The one target whose confirms count, once known.
    target: Option<String>,
    /// When it was heard last.
    heard_at: Instant,
    speakers: Speakers,
    strangers: Strangers,
    /// The tick that the target needed last.
    needed: Option<i64>,
    /// The ticks that the target claimed last, which this source has: it claims those of a large one with each batch.
    matched: Vec<TickRef>,
    resends: Resends,
    complaint: Complaint,
}

impl Listener<'_> {
    /// What is wrong with those who confirm, or that nobody does.
    fn trouble(&mut self, now: Instant) -> Option<String> {
        let silence = now.duration_since(self.heard_at);
        self.strangers.trouble(now).or_else(|| {
            (silence > SILENCE_MAX).then(|| {
                format!(
                    "no target has confirmed for {} s, and nothing leaves the outbox: is inbox-processor at work, and may both \
                     use the subject {}?",
                    silence.as_secs(),
                    self.subject
                )
            })
        })
    }

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
        self.heard_at = Instant::now();
        self.check_retention(&confirm)?;
        self.check_history(&confirm)?;
        // Nothing, where the target was set back to before the first tick.
        self.term.confirm(confirm.applied.map_or(0, |applied| applied.number));
        if confirm.applied.is_some() {
            shared::kill_point::reached("confirmed");
        }
        if confirm.idle {
            self.note_match(&confirm)?;
        }
        if let Some(place) = self.resends.wanted(&confirm, self.term.cursor().acknowledged()) {
            let reason = if confirm.gap { "reports a gap" } else { "has nothing more to receive" };
            log::warn!("the target {reason} although more was published: resending from {place}");
            self.term.cursor().turn_to(place);
        }
        Ok(())
    }

    /// Whether the confirm comes from our target, speaks of this source, and is not stale.
    fn is_for_us(&mut self, confirm: &Confirm) -> Result<bool> {
        let Confirm { target, source, .. } = confirm;
        if let Some(other) = source.as_ref().filter(|source| **source != self.source) {
            let text = format!(
                "ignoring the target {target}: it follows the source {other}, this is {}",
                self.source
            );
            self.ignore(target, &text);
            return Ok(false);
        }
        let bound = match &mut self.target {
            Some(bound) => bound,
            none => none.insert(outbox::bind_target(&mut self.client, target)?),
        };
        if bound != target {
            let text = format!(
                "ignoring the target {target}: this source is bound to {bound} (if {target} is to take its place: \
                 select replication.rebind_target())"
            );
            self.ignore(target, &text);
            return Ok(false);
        }
        let now = Instant::now();
        let counts = self.speakers.hear(confirm, now);
        if self.speakers.are_contested(now) {
            let text = format!(
                "ignoring the target {target}: two processors speak for it, of two databases with one identity (one is a \
                 copy of the other's server); stop the one that must not confirm"
            );
            self.ignore(target, &text);
        }
        Ok(counts)
    }

    fn ignore(&mut self, target: &str, text: &str) {
        self.strangers.hear(target, text, Instant::now());
        self.complain(text);
    }

    /// The target is in this history, and nothing of another one is on its way to it: what was published before
    /// a change of the timeline has arrived. So ticks of this timeline may be published.
    fn note_match(&mut self, confirm: &Confirm) -> Result<()> {
        let (before, timeline) = (self.term.matched_timeline(), self.timeline);
        if before == timeline
            || !outbox::store_matched_timeline(&mut self.client, self.term.number(), timeline)?
        {
            return Ok(());
        }
        log::info!(
            "the target has {} of this history: going on from timeline {before} to {timeline}",
            confirm.received.map_or_else(|| "nothing".to_owned(), |received| received.to_string())
        );
        self.term.match_timeline(timeline);
        Ok(())
    }

    /// What the target needs next must still be there. As what is not confirmed is never pruned, that is looked up
    /// for the first confirm, and for a target that went back.
    fn check_retention(&mut self, confirm: &Confirm) -> Result<()> {
        let needed = place_after(confirm).tick;
        if self.needed.replace(needed).is_some_and(|before| needed >= before) {
            return Ok(());
        }
        let oldest = outbox::oldest_tick(&mut self.client)?;
        if needed > oldest { Ok(()) } else { Err(outbox::ticks_are_gone(needed, oldest)) }
    }

    /// The ticks that the target knows must be such that this source took.
    fn check_history(&mut self, confirm: &Confirm) -> Result<()> {
        let mut claimed: Vec<TickRef> =
            confirm.received.map(|received| received.tick).into_iter().chain(confirm.applied).collect();
        claimed.dedup();
        if claimed != self.matched {
            for tick in &claimed {
                self.check_tick(*tick)?;
            }
            self.matched = claimed;
        }
        Ok(())
    }

    fn check_tick(&mut self, claimed: TickRef) -> Result<()> {
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

/// The first event that the target has not received.
fn place_after(confirm: &Confirm) -> Place {
    confirm.received.map_or(Place::start_of(1), |received| Place::after(&received))
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
        let place = place_after(confirm);
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
