//! What a session of a processor does to the target's database, each method as one transaction or a few in a
//! row.

use super::Delivery;
use super::protections::Protection;
use super::state::{Database, Order, Piece, Session};
use anyhow::{Result, ensure};
use inbox_processor::rules::applied::{AppliedTick, position_after, require_applied};
use inbox_processor::rules::narrowing::Narrowing;
use inbox_processor::rules::position::{Reception, TargetPosition, Verdict, from_ordinal, judge};
use inbox_processor::rules::reading::InOrder;
use inbox_processor::rules::ways::{Ways, complete_batches};
use shared::wire::Batch;
use std::sync::Arc;

/// What PostgreSQL does with this target's rows at the moment.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) refused: Option<i64>,
    pub(crate) conflict: bool,
}

impl Delivery {
    pub(crate) fn begin(&self, database: &Database) -> Session {
        let mut session = Session {
            position: database.position.clone(),
            skips_are_open: database.orders.contains(&Order::Open),
            ..Session::default()
        };
        self.keep_in_memory(&mut session, database);
        session
    }

    /// Stores a group of messages, and applies what is complete where the quick way can. An error ends the
    /// session.
    pub(crate) fn take(
        &self,
        session: &mut Session,
        database: &mut Database,
        group: &[usize],
        weather: Weather,
    ) -> Result<()> {
        let mut reception = Reception { position: session.position.clone(), gap: session.gap };
        let mut stored = Vec::new();
        for message in group {
            if let Verdict::Next { from } = self.judge(&mut reception, &self.batches[*message]) {
                stored.push((*message, from));
            }
        }
        let memory = session.memory.take();
        let done = match memory {
            None => false,
            Some(memory) => {
                self.apply_from_memory(session, database, (memory, &stored), &reception, weather)?
            }
        };
        if !done && let Some(after) = &reception.position {
            self.write(session, database, &stored, &[], after)?;
            session.position = Some(after.clone());
        }
        session.gap = reception.gap;
        Ok(())
    }

    fn judge(&self, reception: &mut Reception, batch: &Batch) -> Verdict {
        let real = judge(reception.position.as_ref(), batch);
        let off = match real {
            Verdict::Known => self.off(Protection::KnownIsKnown),
            Verdict::Gap => self.off(Protection::GapIsSeen),
            _ => false,
        };
        if !off {
            return reception.take(batch);
        }
        reception.store(batch);
        Verdict::Next { from: batch.first }
    }

    fn apply_from_memory(
        &self,
        session: &mut Session,
        database: &mut Database,
        (mut waiting, stored): (Vec<Piece>, &[Piece]),
        reception: &Reception,
        weather: Weather,
    ) -> Result<bool> {
        waiting.extend(stored);
        let batches: Vec<Arc<Batch>> = waiting.iter().map(|piece| self.batch(*piece)).collect();
        let complete = if self.off(Protection::TicksAreWhole) {
            waiting.len()
        } else {
            complete_batches(&batches, reception.position.as_ref())
        };
        let Some(position) = &reception.position else {
            session.memory = Some(waiting);
            return Ok(true);
        };
        let applied: Vec<AppliedTick> =
            batches[..complete].iter().filter_map(|batch| AppliedTick::ended_by(batch)).collect();
        let after = position_after(position, &applied);
        let mut written = database.clone();
        if !Delivery::write_quickly(&mut written, &batches[..complete], weather) {
            session.quick_refused = complete > 0;
            return Ok(false);
        }
        self.write(session, &mut written, stored, &applied, &after)?;
        *database = written;
        session.position = Some(after);
        let rest = waiting.split_off(complete);
        if !self.is_too_much(&rest) {
            session.memory = Some(rest);
        }
        Ok(true)
    }

    /// Applies the complete ticks that are in the inbox, or blocks. An error ends the session.
    pub(crate) fn apply_waiting(
        &self,
        session: &mut Session,
        database: &mut Database,
        weather: Weather,
    ) -> Result<()> {
        let ways = ways(session);
        let may_be_quick = ways.may_be_quick() || self.may_be_quick_all_the_same(ways);
        if !may_be_quick || !self.apply_from_inbox_quickly(session, database, weather)? {
            if self.off(Protection::CareFollowsRefusal) {
                return Ok(());
            }
            let refused = self.apply_from_inbox(session, database, weather)?;
            session.skips_are_open = database.orders.contains(&Order::Open);
            session.blocked = refused;
        }
        if session.blocked.is_none() {
            session.quick_refused = false;
            self.keep_in_memory(session, database);
        }
        Ok(())
    }

    fn may_be_quick_all_the_same(&self, ways: Ways) -> bool {
        self.off(Protection::SkipsTakeCare) && Ways { skips_are_open: false, ..ways }.may_be_quick()
    }

    fn apply_from_inbox_quickly(
        &self,
        session: &mut Session,
        database: &mut Database,
        weather: Weather,
    ) -> Result<bool> {
        let Some(before) = session.position.clone() else { return Ok(true) };
        self.require_position(session, database)?;
        let looks =
            !self.off(Protection::OrdersAreLookedUpUnderTheLock) && !self.off(Protection::SkipsTakeCare);
        if looks && database.orders.contains(&Order::Open) {
            return Ok(false);
        }
        let (batches, applied) = self.read(database, &before, before.last_complete())?;
        let mut written = database.clone();
        if !Delivery::write_quickly(&mut written, &batches, weather) {
            return Ok(false);
        }
        let after = position_after(&before, &applied);
        self.write(session, &mut written, &[], &applied, &after)?;
        *database = written;
        session.position = Some(after);
        Ok(true)
    }

    /// Returns the tick that PostgreSQL refuses, if it does.
    fn apply_from_inbox(
        &self,
        session: &mut Session,
        database: &mut Database,
        weather: Weather,
    ) -> Result<Option<i64>> {
        let mut narrowing = Narrowing::default();
        if let Some(blocked) = session.blocked {
            narrowing.refused(blocked);
        }
        while let Some(before) = session.position.clone().filter(TargetPosition::has_complete_ticks) {
            let first = before.last_applied() + 1;
            let up_to = narrowing.next(first, before.last_complete());
            if self.try_ticks(session, database, up_to, weather)? {
                continue;
            }
            if up_to == first {
                self.require_position(session, database)?;
                database.is_held = true;
                return Ok(Some(first));
            }
            narrowing.refused(up_to);
        }
        Ok(None)
    }

    fn try_ticks(
        &self,
        session: &mut Session,
        database: &mut Database,
        up_to: i64,
        weather: Weather,
    ) -> Result<bool> {
        let Some(before) = session.position.clone() else { return Ok(true) };
        let mut written = database.clone();
        let (batches, applied) = self.read(database, &before, up_to)?;
        for batch in &batches {
            let tick = batch.tick.number;
            if written.order(tick) != Order::None {
                written.set_order(tick, Order::Done);
                continue;
            }
            if weather.refused == Some(tick) {
                return Ok(false);
            }
            for event in events_of(batch) {
                if written.processed.insert(event) {
                    written.written[event] += 1;
                }
            }
        }
        let after = position_after(&before, &applied);
        self.write(session, &mut written, &[], &applied, &after)?;
        *database = written;
        session.position = Some(after);
        Ok(true)
    }

    /// What is stored after what is applied, up to the end of a tick.
    fn read(
        &self,
        database: &Database,
        before: &TargetPosition,
        last_tick: i64,
    ) -> Result<(Vec<Arc<Batch>>, Vec<AppliedTick>)> {
        let mut order = InOrder::after(before.last_applied(), last_tick);
        let mut batches = Vec::new();
        for piece in &database.inbox {
            let batch = self.batch(*piece);
            if (before.last_applied() + 1..=last_tick).contains(&batch.tick.number) {
                order.follow(&batch)?;
                batches.push(batch);
            }
        }
        let cut_short = self.off(Protection::StoredTicksAreReadToTheirEnd) && batches.len() > 1;
        if cut_short {
            // What arrived last is not found yet; the position counts it.
            batches.pop();
            let ended = |batch: &Arc<Batch>| AppliedTick {
                tick: batch.tick,
                events: batch.total,
                taken_at_us: 0,
                snapshot: None,
            };
            let mut ticks: Vec<AppliedTick> = batches.iter().map(ended).collect();
            ticks.dedup();
            return Ok((batches, ticks));
        }
        Ok((batches, order.complete_ticks()?))
    }

    /// False where PostgreSQL refuses.
    fn write_quickly(database: &mut Database, batches: &[Arc<Batch>], weather: Weather) -> bool {
        if batches.is_empty() {
            return true;
        }
        let refused = batches.iter().any(|batch| Some(batch.tick.number) == weather.refused);
        if refused || weather.conflict {
            return false;
        }
        for event in batches.iter().flat_map(|batch| events_of(batch)) {
            // The primary key of processed_events.
            if !database.processed.insert(event) {
                return false;
            }
            database.written[event] += 1;
        }
        true
    }

    /// The bookkeeping of one transaction.
    fn write(
        &self,
        session: &Session,
        database: &mut Database,
        stored: &[Piece],
        applied: &[AppliedTick],
        after: &TargetPosition,
    ) -> Result<()> {
        let ticks: Vec<i64> = applied.iter().map(|applied| applied.tick.number).collect();
        let before = session.position.as_ref().and_then(|position| position.applied);
        require_applied(before, &ticks, after.applied)?;
        self.require_position(session, database)?;
        for piece in stored {
            let key = |piece: &Piece| (self.batches[piece.0].tick.number, piece.1);
            // The primary key of inbox_batch.
            let known = database.inbox.iter().any(|other| key(other) == key(piece));
            ensure!(!known || self.off(Protection::PositionIsLocked), "the batch is stored already");
            if !known {
                database.inbox.push(*piece);
                database.inbox.sort_by_key(key);
            }
        }
        database.is_held &= applied.is_empty();
        database.position = Some(after.clone());
        Ok(())
    }

    fn require_position(&self, session: &Session, database: &Database) -> Result<()> {
        ensure!(
            session.position == database.position || self.off(Protection::PositionIsLocked),
            "the position is not where this session left it"
        );
        Ok(())
    }

    fn keep_in_memory(&self, session: &mut Session, database: &Database) {
        if !ways(session).may_keep_in_memory(session.position.as_ref()) {
            return;
        }
        let applied = session.position.as_ref().map_or(0, TargetPosition::last_applied);
        let waits = |piece: &&Piece| self.batches[piece.0].tick.number > applied;
        let waiting: Vec<Piece> = database.inbox.iter().filter(waits).copied().collect();
        if !self.is_too_much(&waiting) {
            session.memory = Some(waiting);
        }
    }

    fn is_too_much(&self, waiting: &[Piece]) -> bool {
        self.two_events_are_large && waiting.last().is_some_and(|piece| self.batches[piece.0].total > 1)
    }

    fn batch(&self, (message, from): Piece) -> Arc<Batch> {
        from_ordinal(self.batches[message].clone(), from)
    }
}

pub(crate) fn has_work(session: &Session) -> bool {
    // A retry is due at some time.
    session.blocked.is_some() || session.position.as_ref().is_some_and(TargetPosition::has_complete_ticks)
}

fn ways(session: &Session) -> Ways {
    Ways {
        is_blocked: session.blocked.is_some(),
        skips_are_open: session.skips_are_open,
        quick_refused: session.quick_refused,
    }
}

/// Events are numbered in the order of the source.
fn events_of(batch: &Batch) -> impl Iterator<Item = usize> {
    let before = match batch.tick.number {
        1 => 0,
        2 => 1,
        _ => 3,
    };
    (batch.first..=batch.last()).map(move |ordinal| before + usize::try_from(ordinal - 1).unwrap())
}
