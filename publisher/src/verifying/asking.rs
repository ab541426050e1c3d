//! Asking the target, and hearing its answer.

use crate::leadership::Term;
use anyhow::{Context, Result, bail, ensure};
use crossbeam_channel::Receiver;
use shared::broker::{Connection, Incoming};
use shared::retry::Complaint;
use shared::supervisor::Stop;
use shared::wire::{Answer, FORMAT, Message, Shape, TOO_MUCH, Verified, Verify};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The target waits some seconds until it shows what the source has read, and reads for some more.
const ANSWER_DEADLINE: Duration = Duration::from_secs(12);
/// How often the connection is checked meanwhile.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Asks one question at a time.
pub(super) struct Asker {
    connection: Arc<Connection>,
    answers: Receiver<Incoming>,
    subject: String,
    answer_subject: String,
    source: String,
    complaint: Complaint,
}

impl Asker {
    pub(super) fn new(
        connection: Arc<Connection>,
        subject: &str,
        answer_subject: &str,
        source: String,
    ) -> Result<Asker> {
        let answers = connection.subscribe(answer_subject)?;
        let (subject, answer_subject) = (subject.to_owned(), answer_subject.to_owned());
        Ok(Asker { connection, answers, subject, answer_subject, source, complaint: Complaint::default() })
    }

    /// Tells the target something. One that does not hear it is told again with the next look.
    pub(super) fn tell(&self, timeline: i64, shape: &Shape, message: Message) -> Result<Uuid> {
        let id = Uuid::new_v4();
        let (source, shape) = (self.source.clone(), shape.clone());
        let verify = Verify { format: FORMAT, source, timeline, id, shape, message };
        let payload = verify.encode()?;
        let (bytes, bytes_max) = (payload.len(), self.connection.max_payload());
        ensure!(bytes <= bytes_max, "{TOO_MUCH}a message of {bytes} bytes, and NATS takes {bytes_max}");
        self.connection.publish_signed(&self.subject, None, payload)?;
        Ok(id)
    }

    /// The answer of `target` to a question. None where it does not answer in time, or this session is to
    /// end.
    pub(super) fn ask(
        &mut self,
        (term, stop): (&Term, &Stop),
        target: &str,
        shape: &Shape,
        message: Message,
    ) -> Result<Option<Answer>> {
        let id = self.tell(term.timeline(), shape, message)?;
        let deadline = Instant::now() + ANSWER_DEADLINE;
        while term.continues(stop) && Instant::now() < deadline {
            crossbeam_channel::select! {
                recv(stop.receiver()) -> _ => {}
                recv(term.ended()) -> _ => {}
                recv(self.answers) -> message => {
                    let message = message.context("the connection is gone")?;
                    if let Some(answer) = self.answer(&message, id, target) {
                        return Ok(Some(answer));
                    }
                }
                default(CHECK_INTERVAL) => self.connection.check()?,
            }
        }
        Ok(None)
    }

    /// Why there may be no answer.
    pub(super) fn silence(&self) -> String {
        format!(
            "the target does not answer: is inbox-processor running, is it of this version, and may both services use the \
             subjects {} and {}?",
            self.subject, self.answer_subject
        )
    }

    /// The answer in a message, if it is the one that is waited for. Answers of others, and late ones, are
    /// none.
    fn answer(&mut self, message: &Incoming, id: Uuid, target: &str) -> Option<Answer> {
        match self.read(message) {
            Ok(verified) => (verified.id == id && verified.target == target).then_some(verified.answer),
            Err(error) => {
                if let Some(line) =
                    self.complaint.due(&format!("ignoring an answer of the verification: {error:#}"))
                {
                    log::warn!("{line}");
                }
                None
            }
        }
    }

    fn read(&self, message: &Incoming) -> Result<Verified> {
        let verified = Verified::decode(self.connection.signing().payload(message)?)?;
        if verified.source != self.source {
            bail!("{} says that it follows {}", verified.target, verified.source);
        }
        Ok(verified)
    }
}
