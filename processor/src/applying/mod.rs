//! The one ordered thread of the processor. In ONE transaction it locks the position, stores what
//! follows it, applies every tick that is complete by then, records it and moves the position; only
//! then may the stream remove the messages, and is the publisher told.
//!
//! One thread, because order is its purpose: two transactions that move one position would wait
//! for each other anyway.

mod attempt;
mod from_inbox;
mod hold;
mod judged;
mod last_states;
mod moves;
mod operator;
mod quick;
mod refused;
mod row_key;
mod session;
mod set_aside;
mod staged_states;
mod staging;
mod target;

use crate::confirm_sender::ConfirmSender;
use crate::inbox::Refusal;
use crate::receiving::Decoded;
use crate::tables::prepare_session;
use anyhow::{Context, Result};
use attempt::OutOfTime;
use crossbeam_channel::Receiver;
use postgres::Client;
use session::Session;
use set_aside::Uninvited;
use shared::database::{Database, TimeoutFactor, identity};
use shared::leadership::{Role, begin_term, wait_for_role};
use shared::schema::{Side, migrate, require_served};
use shared::supervisor::ThreadContext;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A session whose statements may take this many times as long as usual blocks apply when they take longer.
const LAST_TIMEOUT_FACTOR: u32 = 4;
/// Without messages, check this often whether a retry is due.
const IDLE_CHECK: Duration = Duration::from_secs(1);

pub(crate) struct Applying {
    database: Database,
    /// Ticks are applied together up to about so many events.
    group_events_max: usize,
    confirm_sender: Arc<ConfirmSender>,
    input: Receiver<Decoded>,
    /// Messages that were decoded before their turn, by number.
    early: BTreeMap<u64, Decoded>,
    /// The number of the next message.
    next: u64,
    /// Messages taken and not committed yet: they survive a lost database connection.
    group: Vec<Decoded>,
    uninvited: Uninvited,
    /// Whether the log says that this role may do everything.
    is_superuser_told: bool,
}

impl Applying {
    pub(crate) fn new(
        database: Database,
        group_events_max: usize,
        confirm_sender: Arc<ConfirmSender>,
        input: Receiver<Decoded>,
    ) -> Applying {
        Applying {
            database,
            group_events_max,
            confirm_sender,
            input,
            early: BTreeMap::new(),
            next: 0,
            group: Vec::new(),
            uninvited: Uninvited::default(),
            is_superuser_told: false,
        }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        let mut timeout_factor = TimeoutFactor::default();
        context.keep_trying("apply", || {
            let mut has_applied = false;
            let ended = self.session(context, timeout_factor.get(), &mut has_applied);
            self.confirm_sender.set_status(None);
            timeout_factor.adapt(&ended, has_applied);
            ended
        })
    }

    fn session(
        &mut self,
        context: &ThreadContext,
        timeout_factor: u32,
        has_applied: &mut bool,
    ) -> Result<()> {
        let mut client = self.database.session_with_timeout_factor(timeout_factor)?;
        require_served(&mut client, Side::Target)?;
        if !wait_for_role(&mut client, Role::Processor, context)? {
            return Ok(());
        }
        // Not before: an older processor may have led until now.
        migrate(&mut client, Side::Target)?;
        prepare_session(&mut client)?;
        self.confirm_sender.begin_term(begin_term(&mut client)?);
        let target = identity(&mut client)?;
        self.tell_of_superuser(&mut client)?;
        let out_of_time =
            if timeout_factor >= LAST_TIMEOUT_FACTOR { OutOfTime::Blocks } else { OutOfTime::EndsSession };
        let mut session = Session::new(client, out_of_time)?;
        let begun_at = session.last_applied();
        log::info!("this is the processor of {}: {}", self.database.address(), session.describe());
        self.report_status(&session, &target);
        while !context.stop().requested() {
            self.collect(context, session.has_work());
            session.follow_pause()?;
            session.check_for_retry_request()?;
            let worked = self.work(&mut session, &target, context);
            *has_applied = session.last_applied() > begun_at;
            worked?;
            self.report_health(&session, context);
        }
        Ok(())
    }

    /// Nobody has accepted the tables that such a role may write to.
    fn tell_of_superuser(&mut self, client: &mut Client) -> Result<()> {
        let is_superuser = "select rolsuper from pg_roles where rolname = current_user";
        let is_superuser: bool = client.query_one(is_superuser, &[]).context("look at this role")?.get(0);
        if is_superuser && !self.is_superuser_told {
            self.is_superuser_told = true;
            log::warn!(
                "{} is written to as a superuser, who may write to every table: log in as a role of its own, and accept the \
                 tables that it shall write to (docs/adopting.md)",
                self.database.address()
            );
        }
        Ok(())
    }

    /// Takes the group that was collected into the target, and applies what waits in the inbox.
    fn work(&mut self, session: &mut Session, target: &str, context: &ThreadContext) -> Result<()> {
        if self.group.is_empty() && !session.has_work() {
            return session.check_connection();
        }
        if !self.group.is_empty() {
            let set_aside = session.take(&self.group)?;
            self.uninvited.note(&set_aside);
            shared::kill_point::reached("committed");
            self.report_status(session, target);
            self.confirm_sender.committed(self.group.len(), self.group.iter().map(Decoded::events).sum());
            self.group.clear();
            self.confirm_sender.confirm();
            shared::kill_point::reached("confirm_sent");
        }
        if session.has_work() {
            session.apply_waiting(context.stop())?;
            self.report_status(session, target);
            self.confirm_sender.confirm();
        }
        Ok(())
    }

    fn report_status(&self, session: &Session, target: &str) {
        self.confirm_sender.set_blocked(session.refusal().map(Refusal::figure));
        self.confirm_sender.set_status(Some(session.status(target)));
    }

    fn report_health(&mut self, session: &Session, context: &ThreadContext) {
        let blocked = session.refusal().map(|refusal| format!("apply is blocked: {refusal}"));
        let refused = || {
            self.confirm_sender.refused().map(|reason| format!("the source refuses this target: {reason}"))
        };
        context.note(session.paused().as_deref());
        match blocked.or_else(refused).or_else(|| self.uninvited.trouble()) {
            Some(trouble) => context.unhealthy(&trouble),
            None => context.healthy(),
        }
    }

    /// Waits for messages and takes those that are there, in order, up to the size of a group.
    fn collect(&mut self, context: &ThreadContext, has_work: bool) {
        if self.group.is_empty() && !has_work && !self.early.contains_key(&self.next) {
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return,
                recv(self.input) -> decoded => if let Ok(decoded) = decoded {
                    self.early.insert(decoded.pulled.number, decoded);
                },
                default(IDLE_CHECK) => {}
            }
        }
        let mut taken: usize = self.group.iter().map(Decoded::events).sum();
        while taken < self.group_events_max {
            if let Some(decoded) = self.early.remove(&self.next) {
                self.next += 1;
                taken += decoded.events();
                self.group.push(decoded);
            } else if let Ok(decoded) = self.input.try_recv() {
                self.early.insert(decoded.pulled.number, decoded);
            } else {
                return;
            }
        }
    }
}
