//! What a publisher does: it publishes, listens, stores, prunes, and refuses.

use super::Confirming;
use super::clock::NOW;
use super::protections::Protection;
use super::publisher::{Publisher, Who};
use super::source::{Found, Server};
use super::state::{Broken, State};
use super::target::{Database, Said};
use anyhow::Result;
use outbox_publisher::rules::confirms::{Consequences, Outcome};
use outbox_publisher::rules::cursor::CursorPosition;
use outbox_publisher::rules::gate;
use outbox_publisher::rules::history::{Ticks, behind_pruned};
use outbox_publisher::rules::resend::next_needed;
use shared::wire::{Confirm, TickRef};
use uuid::Uuid;

/// Messages that wait in the stream.
pub(crate) const STREAM_MAX: usize = 3;

/// What came of a confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Ignored,
    Counted,
    /// The target cannot continue with this source.
    Refused,
}

impl Confirming {
    /// Publishes the next batch; the stream acknowledges it.
    pub(crate) fn publish(&self, state: &mut State, who: Who) -> Option<()> {
        let publisher = state.publisher(who)?;
        let server = state.server(publisher.reader)?;
        let is_open = gate::is_open(publisher.matched, server.timeline);
        if state.stream.len() >= STREAM_MAX || !(is_open || self.off(Protection::AFailoverClosesTheGate)) {
            return None;
        }
        let mut next = publisher.place.next;
        if self.off(Protection::WhatIsGoneIsNoticed) {
            next = next.max(CursorPosition::start_of(server.oldest_tick() + 1));
        }
        match server.read(next) {
            Found::Nothing => {}
            Found::Gone { .. } if self.off(Protection::ResendsPassWhatIsPruned) => state.refuse(who),
            Found::Gone { last } => {
                let behind = behind_pruned(last, publisher.confirmed)?;
                state.publisher_mut(who).as_mut()?.pass_to(behind);
            }
            Found::NoSuchEvent => *state.publisher_mut(who) = None,
            Found::Message(message) => {
                state.note_published(who);
                state.stream.push(message);
                let behind = CursorPosition::after(&message.end);
                state.publisher_mut(who).as_mut()?.sent(behind);
            }
        }
        Some(())
    }

    /// Every listener hears a confirm.
    pub(crate) fn hear(&self, state: &mut State, said: &Said) {
        for who in [Who::Leader, Who::Stale] {
            let Some(mut publisher) = state.publisher_mut(who).take() else { continue };
            let Some(server) = state.server_mut(publisher.listener.on) else { continue };
            let heard = self.listen(&mut publisher, server, said);
            *state.publisher_mut(who) = Some(publisher);
            match heard {
                Heard::Counted if who == Who::Leader && state.truth.there_are_two() => {
                    state.truth.broken = Some(Broken::CountedOneOfTwo);
                }
                Heard::Counted | Heard::Ignored => {}
                Heard::Refused => state.refuse(who),
            }
        }
    }

    /// As [`Listener::take`] does.
    ///
    /// [`Listener::take`]: ../../../publisher/src/confirming/listener.rs
    fn listen(&self, publisher: &mut Publisher, server: &mut Server, said: &Said) -> Heard {
        let confirm = said.message();
        if !self.counts(publisher, server, said, &confirm) {
            return Heard::Ignored;
        }
        let mut ticks = Seen { server, confirm: &confirm, model: self };
        let acknowledged = publisher.place.acknowledged;
        match publisher.listener.confirms.take(&mut ticks, &confirm, acknowledged, *NOW) {
            Ok(Outcome::Counts(consequences)) => {
                self.follow(publisher, server, consequences, &confirm);
                Heard::Counted
            }
            Ok(Outcome::Doubted(_)) if !self.off(Protection::OneConfirmProvesNothing) => Heard::Ignored,
            Ok(Outcome::Doubted(_)) | Err(_) => Heard::Refused,
        }
    }

    fn counts(&self, publisher: &mut Publisher, server: &mut Server, said: &Said, confirm: &Confirm) -> bool {
        let listener = &mut publisher.listener;
        if listener.is_unexpected(server, said) && !self.off(Protection::OnlyTheBoundTargetConfirms) {
            return false;
        }
        listener.authority.accepts(confirm, *NOW) || self.off(Protection::OneProcessorConfirms)
    }

    fn follow(
        &self,
        publisher: &mut Publisher,
        server: &mut Server,
        consequences: Consequences,
        confirm: &Confirm,
    ) {
        publisher.confirmed = consequences.confirmed_tick;
        let timeline = publisher.listener.timeline;
        let shows = consequences.shows_history
            || self.off(Protection::WhatIsUnderWayArrivesFirst)
            || (confirm.idle && self.off(Protection::OneIdleConfirmIsNotEnough));
        if shows && publisher.matched != timeline && server.store_matched_timeline(publisher.term, timeline) {
            publisher.matched = timeline;
        }
        if let Some(position) = consequences.resend_from
            && !self.off(Protection::Resends)
        {
            publisher.turn_to(position);
        }
    }

    pub(crate) fn store(&self, state: &mut State, who: Who) -> Option<()> {
        let Publisher { term, timeline, published, confirmed, .. } = *state.publisher(who)?;
        let any_term = self.off(Protection::ProgressIsOfTheLatestTerm);
        let any_timeline = any_term || self.off(Protection::ProgressIsOfOneTimeline);
        state.present.store_progress((term, timeline), (published, confirmed), (any_term, any_timeline));
        Some(())
    }

    pub(crate) fn prune(&self, state: &mut State) {
        let waits = !self.off(Protection::PruningWaitsForTheConfirm);
        let pruned = state.present.prune(waits);
        if !pruned.iter().all(|tick| state.truth.was_committed(*tick)) {
            state.truth.broken = Some(Broken::PrunedUnconfirmed);
        }
    }
}

/// Whether the database can continue with this server's history.
fn serves(server: &Server, database: &Database) -> bool {
    let Some(position) = &database.position else { return server.oldest_tick() == 0 };
    let has = !position.has_received() || server.has(position.received.tick);
    let next = CursorPosition::after(&position.received);
    database.history() == Some(server.history) && has && next.tick > server.oldest_tick()
}

impl State {
    /// A publisher ends: the target cannot continue with its source.
    fn refuse(&mut self, who: Who) {
        let Some(publisher) = self.publisher_mut(who).take() else { return };
        let server = self.server(publisher.listener.on);
        let serves = |database: &Database| server.is_some_and(|server| serves(server, database));
        if who == Who::Leader && self.targets().all(|target| serves(&target.database)) {
            self.truth.broken = Some(Broken::RefusedForNothing);
        }
        self.refused += u8::from(who == Who::Leader);
    }

    /// Where something of another history is on its way to the target, or there, nothing may be added.
    fn note_published(&mut self, who: Who) {
        let history = self.present.history;
        let database = &self.target.database;
        let follows = database.history() == Some(history);
        let received = database.position.as_ref().filter(|position| follows && position.has_received());
        let under_way = self.stream.iter().filter(|message| message.history == history);
        let ticks = under_way.map(|message| message.end.tick);
        let fits = |tick: TickRef| self.present.has(tick);
        let all_fit = received.map(|position| position.received.tick).into_iter().chain(ticks).all(fits);
        match who {
            Who::Stale => self.truth.is_split |= self.former.is_some(),
            Who::Leader if !all_fit && !self.truth.is_split => {
                self.truth.broken = Some(Broken::PublishedBesideAnotherHistory);
            }
            Who::Leader => {}
        }
    }
}

/// The ticks of a server, as far as the protections look.
struct Seen<'a> {
    server: &'a Server,
    confirm: &'a Confirm,
    model: &'a Confirming,
}

impl Ticks for Seen<'_> {
    fn oldest(&mut self) -> Result<i64> {
        if self.model.off(Protection::WhatIsGoneIsNoticed) {
            return Ok(next_needed(self.confirm).tick - 1);
        }
        self.server.oldest()
    }

    fn id(&mut self, number: i64) -> Result<Option<Uuid>> {
        let known = (&mut self.server).id(number)?;
        let Confirm { received, applied, .. } = self.confirm;
        let mut claimed = received.map(|received| received.tick).into_iter().chain(*applied);
        let claimed = claimed.find(|tick| tick.number == number).map(|tick| tick.id);
        let is_gone = number < self.server.oldest_tick();
        if is_gone && self.model.off(Protection::WhatIsReceivedProvesWhatIsApplied) {
            // No tick's.
            return Ok(Some(Uuid::nil()));
        }
        let is_gone = is_gone && self.model.off(Protection::WhatIsGoneIsNoticed);
        Ok(if is_gone || self.model.off(Protection::TicksAreComparedById) { claimed } else { known })
    }
}
