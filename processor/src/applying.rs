//! The one ordered step of the processor. In ONE transaction it locks the position, stores what
//! follows it, applies every tick that is complete by then, records it and moves the position; only
//! then may the stream let go of the messages, and is the publisher told.
//!
//! One thread, because order is what it is for: two transactions that move one position would wait
//! for each other anyway.

use crate::decoder::Decoded;
use crate::large_tick::LargeTicks;
use crate::session::{Session, prepare_session};
use crate::uplink::Uplink;
use anyhow::Result;
use crossbeam_channel::Receiver;
use shared::database::{Database, identity};
use shared::leadership::{Role, begin_term, wait_for_role};
use shared::schema::{Side, migrate};
use shared::supervisor::ThreadContext;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Without messages, look this often whether a held event can be tried again.
const IDLE_CHECK: Duration = Duration::from_secs(1);
/// The same, where what an earlier session stored comes first and is held.
const RESUME_CHECK: Duration = Duration::from_millis(100);

pub(crate) struct Applying {
    database: Database,
    /// Ticks are applied together up to about so many events.
    group_events_max: usize,
    uplink: Arc<Uplink>,
    large_ticks: Arc<LargeTicks>,
    input: Receiver<Decoded>,
    /// Messages that were decoded before their turn, by number.
    early: BTreeMap<u64, Decoded>,
    /// The number of the next message.
    next: u64,
    /// Messages taken and not yet settled: they survive a lost database connection.
    group: Vec<Decoded>,
}

impl Applying {
    pub(crate) fn new(
        database: Database,
        group_events_max: usize,
        uplink: Arc<Uplink>,
        large_ticks: LargeTicks,
        input: Receiver<Decoded>,
    ) -> Applying {
        Applying {
            database,
            group_events_max,
            uplink,
            large_ticks: Arc::new(large_ticks),
            input,
            early: BTreeMap::new(),
            next: 0,
            group: Vec::new(),
        }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("apply", || {
            let ended = self.session(context);
            self.uplink.set_standing(None);
            ended
        })
    }

    fn session(&mut self, context: &ThreadContext) -> Result<()> {
        let mut client = self.database.session()?;
        migrate(&mut client, Side::Target)?;
        prepare_session(&mut client)?;
        if !wait_for_role(&mut client, Role::Processor, context)? {
            return Ok(());
        }
        self.uplink.begin_term(begin_term(&mut client)?);
        let target = identity(&mut client)?;
        let mut session = Session::new(client, self.large_ticks.clone())?;
        log::info!("this is the processor of {}: {}", self.database.address(), session.describe());
        // Whatever held the session before.
        self.uplink.set_held(false);
        self.uplink.set_standing(Some(session.standing(&target)));
        while !context.stop().requested() {
            if !session.is_resuming() {
                self.collect(context, session.has_work());
            } else if !session.has_work() {
                context.stop().wait(RESUME_CHECK);
            }
            session.heed_operator()?;
            // What an earlier session stored comes before what it had only taken.
            let group = if session.is_resuming() { &[] } else { &self.group[..] };
            if group.is_empty() && !session.has_work() {
                self.report_health(&session, context);
                session.check_connection()?;
                continue;
            }
            session.settle(group, context.stop())?;
            let settled = group.len();
            shared::kill_point::reached("committed");
            self.uplink.set_held(session.is_held());
            self.uplink.set_standing(Some(session.standing(&target)));
            self.uplink.settled(settled);
            self.group.drain(..settled);
            self.uplink.confirm();
            shared::kill_point::reached("confirm_sent");
            self.report_health(&session, context);
        }
        Ok(())
    }

    fn report_health(&self, session: &Session, context: &ThreadContext) {
        match (session.hold_error(), self.uplink.refused()) {
            (Some(error), _) => context.unhealthy(&format!("held: {error}")),
            (None, Some(reason)) => context.unhealthy(&format!("the source does not go on: {reason}")),
            (None, None) => context.healthy(),
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
        let events =
            |decoded: &Decoded| decoded.batch.as_ref().map_or(1, |readable| readable.batch.events.len());
        let mut taken: usize = self.group.iter().map(events).sum();
        while taken < self.group_events_max {
            if let Some(decoded) = self.early.remove(&self.next) {
                self.next += 1;
                taken += events(&decoded);
                self.group.push(decoded);
            } else if let Ok(decoded) = self.input.try_recv() {
                self.early.insert(decoded.pulled.number, decoded);
            } else {
                return;
            }
        }
    }
}
