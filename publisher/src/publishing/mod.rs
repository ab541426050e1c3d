//! The one ordered step of the publisher: batches leave in order, many in flight, and each is awaited until
//! the stream has acknowledged it.
//!
//! After any failure, nothing in flight counts as published: the session ends, and the next one begins behind
//! the last acknowledged batch. What arrives twice, the target drops.

mod line;
mod window;

use crate::encoder::{Encoded, MaxPayload};
use crate::leadership::Leadership;
use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, never};
use line::Line;
use shared::broker::Broker;
use shared::supervisor::ThreadContext;
use std::sync::Arc;
use std::time::Duration;

const CHECK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct Publishing {
    broker: Broker,
    subject: String,
    leadership: Arc<Leadership>,
    max_payload: Arc<MaxPayload>,
    input: Receiver<Encoded>,
    /// Nothing was acknowledged since something was sent: reconnecting alone does not fix that.
    unanswered: bool,
}

impl Publishing {
    pub(crate) fn new(
        broker: Broker,
        subject: String,
        leadership: Arc<Leadership>,
        max_payload: Arc<MaxPayload>,
        input: Receiver<Encoded>,
    ) -> Publishing {
        Publishing { broker, subject, leadership, max_payload, input, unanswered: false }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("publish", || self.session(context))
    }

    fn session(&mut self, context: &ThreadContext) -> Result<()> {
        let mut line = Line::open(&mut self.broker, self.leadership.current())?;
        self.max_payload.set(line.max_payload());
        if !self.unanswered {
            context.healthy();
        }
        let closed = never();
        loop {
            let input = if line.has_room() { &self.input } else { &closed };
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return Ok(()),
                recv(line.acks()) -> ack => {
                    line.acknowledged(&ack.context("the connection is gone")?, &self.subject)?;
                    self.unanswered = false;
                    context.healthy();
                }
                recv(input) -> encoded => {
                    let Ok(encoded) = encoded else { return Ok(()) };
                    self.unanswered = true;
                    line.publish(&self.subject, encoded)?;
                }
                default(CHECK_INTERVAL) => {}
            }
            line.check()?;
        }
    }
}
