//! Listens to the target's confirms, checks them against the source's ticks, and turns the cursor back when
//! something that was acknowledged never arrived.

mod listener;
mod senders;

use crate::leadership::{Leadership, Term};
use anyhow::{Context, Result};
use listener::Listener;
use shared::broker::{Broker, Connection};
use shared::fault::{Fault, fault_of};
use shared::status::Board;
use shared::supervisor::ThreadContext;
use shared::wire::{FORMAT, Refusal, confirm_subject, refusal_subject};
use std::sync::Arc;
use std::time::Duration;

const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long to wait for the target's answer that it received a refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Confirming {
    broker: Broker,
    subject: String,
    refusal_subject: String,
    leadership: Arc<Leadership>,
    board: Arc<Board>,
}

impl Confirming {
    pub(crate) fn new(
        broker: Broker,
        subject_prefix: &str,
        leadership: Arc<Leadership>,
        board: Arc<Board>,
    ) -> Confirming {
        let (subject, refusal_subject) = (confirm_subject(subject_prefix), refusal_subject(subject_prefix));
        Confirming { broker, subject, refusal_subject, leadership, board }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        let leadership = self.leadership.clone();
        leadership.in_each_term(context, "listen to confirms", |term| self.session(term, context))
    }

    fn session(&mut self, term: &Term, context: &ThreadContext) -> Result<()> {
        let mut listener = Listener::new(term, &self.board)?;
        let connection = self.broker.connect()?;
        let messages = connection.subscribe(&self.subject)?;
        while term.continues(context.stop()) {
            match listener.trouble(&self.subject) {
                None => context.healthy(),
                Some(trouble) => context.unhealthy(&trouble),
            }
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => {}
                recv(term.ended()) -> _ => {}
                recv(messages) -> message => {
                    let message = message.context("the connection is gone")?;
                    let taken = listener.take(connection.signing().payload(&message));
                    taken.inspect_err(|error| self.refuse(error, term, &mut listener, &connection))?;
                }
                default(CHECK_INTERVAL) => connection.check()?,
            }
        }
        Ok(())
    }

    /// Where the target cannot continue with this source, tells it so before this process ends.
    fn refuse(
        &self,
        error: &anyhow::Error,
        term: &Term,
        listener: &mut Listener<'_>,
        connection: &Connection,
    ) {
        let senders = listener.senders();
        let Some(target) = senders.target() else { return };
        if fault_of(error) != Fault::Fatal || term.is_over() {
            return;
        }
        let refusal = Refusal {
            format: FORMAT,
            source: senders.source().to_owned(),
            target: target.to_owned(),
            reason: format!("{error:#}"),
        };
        let delivered = refusal
            .encode()
            .and_then(|payload| connection.request_signed(&self.refusal_subject, payload, REFUSAL_TIMEOUT));
        if let Err(error) = delivered {
            log::warn!(error:% = format!("{error:#}"); "the refusal may not have reached the target");
        }
    }
}
