//! Time, and when two states are one: where nothing can tell how long ago something was, or how many confirms
//! a processor has sent.

use super::publisher::{Listener, Publisher, Where};
use super::state::State;
use super::target::incarnation;
use outbox_publisher::rules::resend::RESEND_GRACE;
use outbox_publisher::rules::silence::{CONTESTED_AFTER, PROCESSOR_GONE_AFTER};
use shared::wire::CONFIRM_INTERVAL;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Now, in every state.
pub(crate) static NOW: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_secs(3600));

impl State {
    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        for listener in self.listeners() {
            for then in times(listener) {
                *then -= time;
            }
        }
    }

    /// Makes equal what nothing can tell apart.
    pub(crate) fn normalise(&mut self) {
        self.listeners().for_each(forget);
        let uses_former = |publisher: &Publisher| publisher.uses(Where::Former);
        if !self.leader.iter().chain(&self.stale).any(uses_former) {
            self.former = None;
        }
        if self.faults_left == 0 {
            (self.standby, self.backup) = (None, None);
        }
        self.renumber();
    }

    fn listeners(&mut self) -> impl Iterator<Item = &mut Listener> {
        self.leader.iter_mut().chain(&mut self.stale).map(|publisher| &mut publisher.listener)
    }

    /// Of the counters of a processor only the order matters.
    fn renumber(&mut self) {
        let sessions = [&mut self.target].into_iter().chain(&mut self.copy).map(|target| &mut target.session);
        let sent = sessions.map(|session| (incarnation(session.incarnation), &mut session.counter));
        let late = self.late.iter_mut().map(|said| (incarnation(said.incarnation), &mut said.counter));
        let publishers = self.leader.iter_mut().chain(&mut self.stale);
        let heard = publishers.filter_map(|publisher| publisher.listener.authority.current.as_mut());
        let heard = heard.map(|processor| (processor.incarnation, &mut processor.counter));
        let mut counters: Vec<(Uuid, &mut u64)> = sent.chain(late).chain(heard).collect();
        let mut order: Vec<(Uuid, u64)> =
            counters.iter().map(|(process, counter)| (*process, **counter)).collect();
        order.sort_unstable();
        order.dedup();
        for (process, counter) in &mut counters {
            let before = order.iter().filter(|(other, lower)| other == process && *lower < **counter).count();
            **counter = before as u64;
        }
    }
}

/// Everything that a listener remembers a time of.
fn times(listener: &mut Listener) -> Vec<&mut Instant> {
    let Listener { authority, confirms, .. } = listener;
    let current = authority.current.iter_mut().flat_map(|at| [&mut at.counted_at, &mut at.confirmed_at]);
    let rival = authority.rival.iter_mut().flat_map(|at| [&mut at.since, &mut at.confirmed_at]);
    let doubt = confirms.doubt.0.iter_mut().flat_map(|at| [&mut at.since, &mut at.last]);
    let resend = confirms.resends.last.iter_mut().map(|(_, at)| at);
    let shown = confirms.shown.idle.iter_mut().map(|(_, since)| since);
    current.chain(rival).chain(doubt).chain(resend).chain(shown).collect()
}

/// Forgets what is over; what is long ago was only as long ago as matters.
fn forget(listener: &mut Listener) {
    let Listener { authority, confirms, .. } = listener;
    authority.rival = authority.rival.filter(|rival| !is_over(rival.confirmed_at, PROCESSOR_GONE_AFTER));
    if let Some(rival) = &mut authority.rival {
        limit(&mut rival.since, CONTESTED_AFTER);
    } else {
        authority.current = authority.current.filter(|at| !is_over(at.confirmed_at, PROCESSOR_GONE_AFTER));
    }
    if let Some(current) = &mut authority.current {
        limit(&mut current.counted_at, PROCESSOR_GONE_AFTER);
        limit(&mut current.confirmed_at, PROCESSOR_GONE_AFTER);
    }
    let doubt = &mut confirms.doubt.0;
    *doubt = doubt.take().filter(|claim| !is_over(claim.last, PROCESSOR_GONE_AFTER));
    if let Some(claim) = doubt {
        limit(&mut claim.since, CONFIRM_INTERVAL);
        // For people.
        claim.reason.clear();
    }
    if let Some((_, since)) = &mut confirms.shown.idle {
        limit(since, CONFIRM_INTERVAL);
    }
    confirms.resends.last = confirms.resends.last.filter(|(_, at)| !is_over(*at, RESEND_GRACE));
}

fn is_over(then: Instant, after: Duration) -> bool {
    NOW.duration_since(then) >= after
}

fn limit(then: &mut Instant, age: Duration) {
    *then = NOW.checked_sub(age).map_or(*then, |limit| limit.max(*then));
}
