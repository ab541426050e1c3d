//! One connection to NATS, and what arrives over it.

use crate::confirm_sender::ConfirmSender;
use anyhow::Result;
use crossbeam_channel::Receiver;
use shared::broker::jetstream::ACK;
use shared::broker::{Broker, Connection, Incoming};
use shared::wire::Refusal;
use std::sync::Arc;

pub(super) struct Line {
    pub(super) connection: Arc<Connection>,
    /// Answers come to subjects below it: to a pull under its number, to a release under its request.
    inbox: String,
    pub(super) answers: Receiver<Incoming>,
    refusals: Receiver<Incoming>,
}

impl Line {
    pub(super) fn open(broker: &mut Broker, refusal_subject: &str) -> Result<Line> {
        let connection = Arc::new(broker.connect()?);
        let inbox = Connection::new_inbox();
        Ok(Line {
            answers: connection.subscribe(&format!("{inbox}.*"))?,
            refusals: connection.subscribe(refusal_subject)?,
            inbox,
            connection,
        })
    }

    /// The subject for answers with this token.
    pub(super) fn answers_to(&self, token: impl std::fmt::Display) -> String {
        format!("{}.{token}", self.inbox)
    }

    /// The token of the subject of an answer.
    pub(super) fn token_of<'a>(&self, message: &'a Incoming) -> Option<&'a str> {
        message.subject.strip_prefix(&self.inbox)?.strip_prefix('.')
    }

    /// Takes refusals of the source, and acknowledges them.
    pub(super) fn receive_refusals(&self, confirm_sender: &ConfirmSender) -> Result<()> {
        while let Ok(message) = self.refusals.try_recv() {
            match self.connection.signing().payload(&message).and_then(Refusal::decode) {
                Ok(refusal) if confirm_sender.refuse(&refusal) => {
                    if let Some(reply) = &message.reply {
                        self.connection.publish(reply, None, ACK.to_vec())?;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    confirm_sender.complain(&format!("ignoring a refusal: {error:#}"));
                }
            }
        }
        Ok(())
    }
}
