//! Reads the ticks from the cursor on and cuts them into batches.

use crate::cursor::{Epoch, Place};
use crate::leadership::{Leadership, Term};
use crate::outbox::{self, Next, OutboxEvent, Tick, TickReader};
use crate::settings::BatchSizes;
use anyhow::{Result, anyhow};
use crossbeam_channel::{Receiver, Sender};
use postgres::Client;
use postgres::error::SqlState;
use shared::fault::Fault;
use shared::supervisor::ThreadContext;
use shared::wire::{Batch, Event, FORMAT, Shape, Source};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Ticks whose description is read at once.
const TICKS_PER_READ: i64 = 100;
/// A batch is cut when its rows have this many bytes, however few they are.
const BATCH_BYTES: usize = 512 * 1024;
/// Where a tick cannot be read within the time that a statement has, the next session gives it up to this many times as
/// much: rather a vacuum that is held back than a tick that is never read.
const PATIENCE_MAX: u32 = 16;
/// Without news from the ticker, look this often whether the cursor was turned back.
const CURSOR_CHECK: Duration = Duration::from_millis(100);

/// A batch and its place in the stream of one epoch.
pub(crate) struct Cut {
    pub(crate) term: Term,
    pub(crate) epoch: Epoch,
    /// Counted from 0 in each epoch.
    pub(crate) number: u64,
    pub(crate) batch: Batch,
}

pub(crate) struct Reader {
    sizes: BatchSizes,
    leadership: Arc<Leadership>,
    new_ticks: Receiver<()>,
    output: Sender<Cut>,
}

impl Reader {
    pub(crate) fn new(
        sizes: BatchSizes,
        leadership: Arc<Leadership>,
        new_ticks: Receiver<()>,
        output: Sender<Cut>,
    ) -> Reader {
        Reader { sizes, leadership, new_ticks, output }
    }

    pub(crate) fn run(&self, context: &ThreadContext) -> Result<()> {
        let mut patience = 1;
        self.leadership
            .in_each_term(context, "read the outbox", |term| self.session(term, &mut patience, context))
    }

    /// Healthy only as far as something was read: the queries of a session may all fail.
    fn session(&self, term: &Term, patience: &mut u32, context: &ThreadContext) -> Result<()> {
        let mut client = term.session(*patience)?;
        let mut session = Session {
            term: term.clone(),
            reader: TickReader::new(&mut client)?,
            shapes: load_shapes(&mut client)?,
            // What an earlier session cut may be lost with it.
            epoch: term.cursor().turn_to_acknowledged(),
            cut: 0,
            batch_size: self.sizes.caught_up,
        };
        while term.continues(context.stop()) {
            if !may_publish(term, session.reader.source().timeline, context) {
                continue;
            }
            let (epoch, place) = term.cursor().next();
            if epoch != session.epoch {
                session.epoch = epoch;
                session.cut = 0;
            }
            let ticks = session.reader.ticks(&mut client, place.tick, TICKS_PER_READ)?;
            if ticks.is_empty() {
                context.healthy();
                self.wait_for_tick(term, context);
            }
            for tick in &ticks {
                if term.cursor().epoch() != session.epoch {
                    break;
                }
                let cut = session.cut;
                let read = self.read_tick(&mut client, &mut session, tick, context);
                *patience = patience_after(*patience, &read, session.cut > cut);
                read?;
                context.healthy();
            }
        }
        Ok(())
    }

    fn wait_for_tick(&self, term: &Term, context: &ThreadContext) {
        crossbeam_channel::select! {
            recv(self.new_ticks) -> _ => {}
            recv(term.ended()) -> _ => {}
            recv(context.stop().receiver()) -> _ => {}
            default(CURSOR_CHECK) => {}
        }
    }

    fn read_tick(
        &self,
        client: &mut Client,
        session: &mut Session,
        tick: &Tick,
        context: &ThreadContext,
    ) -> Result<()> {
        let (_, place) = session.term.cursor().next();
        // The cursor may have been turned, or stand behind this tick where a shape was missing.
        if place.tick != tick.at.number {
            return Ok(());
        }
        let mut building = Building::default();
        let mut missing_shape = false;
        let mut found = false;
        let Session { term, reader, shapes, epoch, cut, batch_size } = session;
        let caught_up = self.sizes.caught_up;
        reader.read(client, tick, place, |event| {
            if !found {
                found = true;
                term.pacing().tick_read(event.total);
                if usize::try_from(event.total).is_ok_and(|total| total <= caught_up) {
                    *batch_size = caught_up;
                }
            }
            if !shapes.contains_key(&event.event.shape) {
                missing_shape = true;
                return Ok(Next::Stop);
            }
            let last_of_tick = event.ordinal == event.total;
            building.add(event);
            if !last_of_tick && !building.is_full(*batch_size) {
                return Ok(Next::GoOn);
            }
            let batch = building.take(tick, reader.source(), shapes);
            let place = Place::after(&batch.end());
            let sent = self.send(Cut { term: term.clone(), epoch: *epoch, number: *cut, batch }, context);
            if sent == Next::GoOn {
                context.healthy();
                *cut += 1;
                term.cursor().advance(*epoch, place);
                // There is more right behind: larger messages carry it sooner.
                *batch_size = (*batch_size * 2).min(self.sizes.max);
            }
            Ok(sent)
        })?;
        if !found {
            let oldest = outbox::oldest_tick(client)?;
            if oldest >= tick.at.number {
                return Err(outbox::ticks_are_gone(tick.at.number, oldest));
            }
            return Err(anyhow!(
                "the outbox has nothing at {place}, but the tick is there: were rows deleted by hand?"
            )
            .context(Fault::Fatal));
        }
        if missing_shape {
            session.shapes = load_shapes(client)?;
        }
        Ok(())
    }

    /// Waits for room behind this stage; stops reading when the cursor is turned meanwhile.
    fn send(&self, mut cut: Cut, context: &ThreadContext) -> Next {
        loop {
            if cut.term.cursor().epoch() != cut.epoch || cut.term.is_over() {
                return Next::Stop;
            }
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return Next::Stop,
                default => {}
            }
            match self.output.send_timeout(cut, CURSOR_CHECK) {
                Ok(()) => return Next::GoOn,
                Err(error) if error.is_timeout() => cut = error.into_inner(),
                Err(_) => return Next::Stop,
            }
        }
    }
}

/// False while the target has not shown that its history is the one of this timeline; after a short wait.
fn may_publish(term: &Term, timeline: i64, context: &ThreadContext) -> bool {
    let matched = term.matched_timeline();
    if matched == timeline {
        return true;
    }
    context.unhealthy(&format!(
        "the source went from timeline {matched} to {timeline}: publishing nothing until the target confirms a tick of \
         this history"
    ));
    term.wait(context.stop(), CURSOR_CHECK);
    false
}

/// What a tick was read with, or not, and whether that got as far as a batch: then the next session goes on behind it.
fn patience_after(patience: u32, read: &Result<()>, has_cut: bool) -> u32 {
    match read {
        Ok(()) => 1,
        Err(error) if !has_cut && has_timed_out(error) => (patience * 2).min(PATIENCE_MAX),
        Err(_) => patience,
    }
}

fn has_timed_out(error: &anyhow::Error) -> bool {
    let database = error.chain().find_map(|cause| cause.downcast_ref::<postgres::Error>());
    database.and_then(postgres::Error::code) == Some(&SqlState::QUERY_CANCELED)
}

struct Session {
    term: Term,
    reader: TickReader,
    shapes: HashMap<i32, Shape>,
    epoch: Epoch,
    /// Batches cut in this epoch.
    cut: u64,
    /// Grows until a tick has no more events than go into one message anyway.
    batch_size: usize,
}

fn load_shapes(client: &mut Client) -> Result<HashMap<i32, Shape>> {
    Ok(outbox::shapes(client)?.into_iter().map(|shape| (shape.id, shape)).collect())
}

/// The batch that is being filled.
#[derive(Default)]
struct Building {
    first: i64,
    total: i64,
    bytes: usize,
    events: Vec<Event>,
}

impl Building {
    fn add(&mut self, event: OutboxEvent) {
        if self.events.is_empty() {
            self.first = event.ordinal;
            self.total = event.total;
        }
        let text = [&event.event.key, &event.event.row];
        self.bytes += text.into_iter().flatten().map(String::len).sum::<usize>();
        self.events.push(event.event);
    }

    fn is_full(&self, batch_size: usize) -> bool {
        self.events.len() >= batch_size || self.bytes >= BATCH_BYTES
    }

    fn take(&mut self, tick: &Tick, source: &Source, shapes: &HashMap<i32, Shape>) -> Batch {
        let Building { first, total, events, .. } = std::mem::take(self);
        let mut used: Vec<i32> = events.iter().map(|event| event.shape).collect();
        used.sort_unstable();
        used.dedup();
        Batch {
            format: FORMAT,
            source: source.clone(),
            tick: tick.at,
            previous_id: tick.previous_id,
            first,
            total,
            taken_at_us: tick.taken_at_us,
            shapes: used.iter().filter_map(|id| shapes.get(id)).cloned().collect(),
            events,
        }
    }
}
