//! Tells the target once a second that this source is there, and as of when the target shows it while nothing happens.
//! Stores what the target tells of itself.

use crate::figures;
use crate::leadership::{Leadership, Term};
use crate::outbox::lookout::{Lookout, Sight};
use crate::outbox::{progress, source};
use crate::sampling::Sampled;
use anyhow::Result;
use shared::broker::Broker;
use shared::status::Board;
use shared::supervisor::ThreadContext;
use shared::wire::{FORMAT, HEARTBEAT_INTERVAL, Heartbeat, Status, heartbeat_subject};
use std::sync::Arc;
use std::time::Instant;

pub(crate) struct Heartbeats {
    broker: Broker,
    subject: String,
    leadership: Arc<Leadership>,
    sampled: Arc<Sampled>,
    board: Arc<Board>,
}

impl Heartbeats {
    pub(crate) fn new(
        broker: Broker,
        subject_prefix: &str,
        leadership: Arc<Leadership>,
        sampled: Arc<Sampled>,
        board: Arc<Board>,
    ) -> Heartbeats {
        Heartbeats { broker, subject: heartbeat_subject(subject_prefix), leadership, sampled, board }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        let leadership = self.leadership.clone();
        leadership.in_each_term(context, "send heartbeats", |term| self.session(term, context))
    }

    fn session(&mut self, term: &Term, context: &ThreadContext) -> Result<()> {
        let mut client = term.session(1)?;
        let lookout = Lookout::prepare(&mut client)?;
        let source = source::source_id(&mut client)?;
        let connection = self.broker.connect()?;
        while term.continues(context.stop()) {
            let Sight { tick, as_of, looked_at_us } = lookout.look(&mut client)?;
            let status = Status::of_this_version(context.service_trouble().as_deref(), term.events_read());
            let figures = Some(figures::of(term, &self.sampled, tick.number));
            self.board.note_source(&status, figures.clone(), Instant::now());
            let source = source.clone();
            let timeline = Some(term.timeline());
            let heartbeat =
                Heartbeat { format: FORMAT, source, tick, as_of, timeline, looked_at_us, status, figures };
            connection.publish_signed(&self.subject, None, heartbeat.encode()?)?;
            connection.check()?;
            if let Some((target, status)) = term.take_report() {
                progress::store_report(&mut client, &target, &status)?;
            }
            context.healthy();
            term.wait(context.stop(), HEARTBEAT_INTERVAL);
        }
        Ok(())
    }
}
