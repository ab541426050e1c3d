//! Answers the source's questions which rows this target has otherwise, and stores what the source makes of
//! it. In a session of its own, beside apply. Nothing here changes a row of the application.

mod reading;

use crate::confirm_sender::ConfirmSender;
use anyhow::{Context, Result};
use crossbeam_channel::Receiver;
use postgres::Client;
use shared::broker::{Broker, Connection, Incoming};
use shared::database::{Database, identity};
use shared::retry::Complaint;
use shared::supervisor::{Stop, ThreadContext};
use shared::wire::{Answer, FORMAT, Message, TOO_MUCH, Verified, Verify};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The source has one question at a time. Of messages that came meanwhile, the last ones are looked at:
/// whoever may publish must not make this database busy.
const LOOKED_AT: usize = 16;
/// So long after each message nothing is done.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Verifying {
    broker: Broker,
    subject: String,
    answer_subject: String,
    database: Database,
    confirm_sender: Arc<ConfirmSender>,
    complaint: Complaint,
}

impl Verifying {
    pub(crate) fn new(
        broker: Broker,
        (subject, answer_subject): (String, String),
        database: Database,
        confirm_sender: Arc<ConfirmSender>,
    ) -> Verifying {
        Verifying {
            broker,
            subject,
            answer_subject,
            database,
            confirm_sender,
            complaint: Complaint::default(),
        }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("compare tables with the source", || self.session(context))
    }

    fn session(&mut self, context: &ThreadContext) -> Result<()> {
        let connection = self.broker.connect()?;
        let messages = connection.subscribe(&self.subject)?;
        let mut conversation = None;
        while !context.stop().requested() {
            connection.check()?;
            context.healthy();
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return Ok(()),
                recv(messages) -> message => {
                    let message = message.context("the connection is gone")?;
                    self.take(message, &messages, &connection, &mut conversation, context.stop())?;
                    context.stop().wait(PAUSE);
                }
                default(CHECK_INTERVAL) => {}
            }
            if !self.confirm_sender.is_leading() {
                conversation = None;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        first: Incoming,
        others: &Receiver<Incoming>,
        connection: &Connection,
        conversation: &mut Option<Conversation>,
        stop: &Stop,
    ) -> Result<()> {
        let mut last: VecDeque<Incoming> = VecDeque::from([first]);
        for message in others.try_iter() {
            if last.len() == LOOKED_AT {
                last.pop_front();
            }
            last.push_back(message);
        }
        for message in last {
            if !self.confirm_sender.is_leading() || stop.requested() {
                return Ok(());
            }
            let Some(verify) = self.read(connection, &message) else { continue };
            let conversation = match conversation {
                Some(conversation) => conversation,
                None => conversation.insert(Conversation::begin(&self.database)?),
            };
            if let Some(answer) = conversation.follow(&verify, stop)? {
                self.send(connection, answer)?;
            }
        }
        Ok(())
    }

    fn send(&self, connection: &Connection, verified: Verified) -> Result<()> {
        let (mut payload, bytes_max) = (verified.encode()?, connection.max_payload());
        if payload.len() > bytes_max {
            let reason =
                format!("{TOO_MUCH}an answer of {} bytes, and NATS takes {bytes_max}", payload.len());
            payload = Verified { answer: Answer::Unknown(reason), ..verified }.encode()?;
        }
        connection.publish_signed(&self.answer_subject, None, payload)
    }

    fn read(&mut self, connection: &Connection, message: &Incoming) -> Option<Verify> {
        let verify = connection.signing().payload(message).and_then(Verify::decode);
        verify
            .inspect_err(|error| {
                let trouble = format!("ignoring a question of the verification: {error:#}");
                if let Some(line) = self.complaint.due(&trouble) {
                    log::warn!("{line}");
                }
            })
            .ok()
    }
}

/// A database session, and who answers in it.
struct Conversation {
    client: Client,
    target: String,
}

impl Conversation {
    fn begin(database: &Database) -> Result<Conversation> {
        let mut client = database.session()?;
        reading::prepare_session(&mut client)?;
        reading::forget_silent(&mut client)?;
        Ok(Conversation { target: identity(&mut client)?, client })
    }

    /// The answer, where there is one: to a question of the source that this target follows.
    fn follow(&mut self, verify: &Verify, stop: &Stop) -> Result<Option<Verified>> {
        let followed = reading::followed_source(&mut self.client)?;
        if followed.as_ref().is_some_and(|followed| *followed != verify.source) {
            return Ok(None);
        }
        let answer = match &verify.message {
            Message::Finding(finding) => {
                reading::store(&mut self.client, &verify.source, &verify.shape, finding)?;
                return Ok(None);
            }
            Message::Compare(_) if followed.is_none() => {
                Answer::Unknown("the target has received nothing yet".to_owned())
            }
            Message::Compare(compare) => reading::answer(&mut self.client, verify, compare, stop)?,
        };
        let (target, source) = (self.target.clone(), verify.source.clone());
        Ok(Some(Verified { format: FORMAT, target, source, id: verify.id, answer }))
    }
}
