//! Reads on from the cursor, in one session of one term.

use super::batch::Cut;
use super::cutter::{Cutter, Cutting, Found};
use crate::cannot_travel::Unsendable;
use crate::leadership::Term;
use crate::outbox::events::shapes;
use crate::outbox::reading::{Tick, TickReader, is_untranslatable};
use crate::outbox::ticks;
use crate::settings::BatchSizes;
use anyhow::{Error, Result, anyhow, ensure};
use crossbeam_channel::{Receiver, Sender};
use outbox_publisher::rules::cursor::CursorPosition;
use outbox_publisher::rules::gate;
use outbox_publisher::rules::history::behind_pruned;
use postgres::Client;
use shared::budget::Budget;
use shared::database::TimeoutFactor;
use shared::fault::Fault;
use shared::pause::{Pause, Paused};
use shared::supervisor::ThreadContext;
use shared::wire::Shape;
use std::collections::HashMap;
use std::time::Duration;

/// Ticks whose description is read at once.
const TICKS_PER_READ: i64 = 100;
/// Without news from the ticker, check this often whether the cursor was turned back.
const CURSOR_CHECK: Duration = Duration::from_millis(100);

/// What the sessions of the reader have in common.
pub(super) struct Stage {
    pub(super) sizes: BatchSizes,
    /// Bytes that are in work behind the reader.
    pub(super) budget: Budget,
    pub(super) new_ticks: Receiver<()>,
    pub(super) output: Sender<Cut>,
}

/// Reads in one term, with one connection.
pub(super) struct Session<'a> {
    stage: &'a Stage,
    term: &'a Term,
    context: &'a ThreadContext,
    client: Client,
    ticks: TickReader,
    shapes: HashMap<i32, Shape>,
    cutter: Cutter<'a>,
    pause: Pause,
}

impl<'a> Session<'a> {
    pub(super) fn begin(
        stage: &'a Stage,
        term: &'a Term,
        timeout_factor: TimeoutFactor,
        context: &'a ThreadContext,
    ) -> Result<Session<'a>> {
        let mut client = term.session(timeout_factor.get())?;
        Ok(Session {
            stage,
            term,
            context,
            ticks: TickReader::new(&mut client)?,
            shapes: load_shapes(&mut client)?,
            client,
            pause: Pause::of(Paused::Publishing),
            cutter: Cutter::new(term, stage.sizes, &stage.budget, &stage.output, context),
        })
    }

    /// Reads what is there, until a stop is requested or the term is over.
    ///
    /// Healthy only as far as something was read: the queries of a session may all fail.
    pub(super) fn run(mut self, timeout_factor: &mut TimeoutFactor) -> Result<()> {
        while self.term.continues(self.context.stop()) {
            if self.may_publish()? {
                self.read_on(timeout_factor)?;
            }
        }
        Ok(())
    }

    /// False, after a short wait, while an operator has paused publishing or there is an [obstacle](Self::obstacle).
    fn may_publish(&mut self) -> Result<bool> {
        self.pause.follow(&mut self.client)?;
        self.context.note(self.pause.words().as_deref());
        let obstacle = self.obstacle();
        match &obstacle {
            Some(obstacle) => self.context.unhealthy(&format!("publishing is paused: {obstacle}")),
            None if self.pause.is_on() => self.context.healthy(),
            None => return Ok(true),
        }
        self.term.wait(self.context.stop(), CURSOR_CHECK);
        Ok(false)
    }

    /// Why nothing may be published now: the target has not shown that its history is the one of this timeline, or
    /// could not read it.
    fn obstacle(&self) -> Option<String> {
        let (matched, timeline) = (self.term.matched_timeline(), self.ticks.source().timeline);
        if !gate::is_open(matched, timeline) {
            return Some(format!(
                "the source went from timeline {matched} to {timeline}; waiting until the target confirms a tick of this \
                 history"
            ));
        }
        self.term.format().is_none().then(|| {
            "the target's inbox-processor reads no format of messages that this outbox-publisher writes: upgrade the older of \
             the two"
                .to_owned()
        })
    }

    fn read_on(&mut self, timeout_factor: &mut TimeoutFactor) -> Result<()> {
        let (position, was_turned) = self.cutter.follow_cursor();
        if was_turned {
            self.ticks.look_for_skips(&mut self.client)?;
        }
        let ticks = self.ticks.ticks(&mut self.client, position.tick, TICKS_PER_READ)?;
        if let Some(first) = ticks.first()
            && first.at.number != position.tick
        {
            self.pass_pruned(position.tick, first.at.number - 1);
            return Ok(());
        }
        if ticks.is_empty() {
            self.context.healthy();
            self.wait_for_tick();
        }
        for tick in &ticks {
            if self.cutter.is_outdated() {
                break;
            }
            let cut = self.cutter.cut();
            let read = self.read_tick(tick);
            timeout_factor.adapt(&read, self.cutter.cut() > cut);
            read?;
            self.context.healthy();
        }
        Ok(())
    }

    fn wait_for_tick(&self) {
        crossbeam_channel::select! {
            recv(self.stage.new_ticks) -> _ => {}
            recv(self.term.ended()) -> _ => {}
            recv(self.context.stop().receiver()) -> _ => {}
            default(CURSOR_CHECK) => {}
        }
    }

    fn read_tick(&mut self, tick: &Tick) -> Result<()> {
        let (_, position) = self.term.cursor().next();
        // The cursor may have been turned, or be behind this tick where a shape was unknown.
        if position.tick != tick.at.number {
            return Ok(());
        }
        let mut cutting = Cutting::new(tick, self.ticks.source(), &self.shapes, position.ordinal);
        let cutter = &mut self.cutter;
        let read = self.ticks.read(&mut self.client, tick, position, |event| cutter.add(event, &mut cutting));
        if let Err(error) = read {
            // What is in front of it waits for nothing.
            cutter.flush(&mut cutting);
            let last = CursorPosition { ordinal: cutting.last, ..position };
            return Err(self.name_event(tick, last, error));
        }
        match cutting.found {
            Found::Nothing => self.no_events(tick, position),
            Found::Events => Ok(()),
            Found::UnknownShape(shape) => {
                self.shapes = load_shapes(&mut self.client)?;
                ensure!(
                    self.shapes.contains_key(&shape),
                    "an event of tick {} is of the shape {shape}, which is not in replication.shape: was its row deleted \
                     by hand? Restore it from a backup",
                    tick.at
                );
                Ok(())
            }
        }
    }

    /// Where PostgreSQL cannot send the text of an event, says which: the one behind `last`.
    fn name_event(&mut self, tick: &Tick, last: CursorPosition, error: Error) -> Error {
        if !is_untranslatable(&error) {
            return error;
        }
        match self.ticks.untranslatable(&mut self.client, tick, last) {
            Ok(Some(event)) => {
                let table = self.shapes.get(&event.shape).map_or_else(|| "?".to_owned(), Shape::name);
                let unsendable = Unsendable {
                    event_id: event.event_id,
                    txid: event.txid,
                    tick: tick.at,
                    ordinal: last.ordinal + 1,
                    table: &table,
                    key: event.key.as_deref(),
                };
                unsendable.because(&format!("PostgreSQL cannot give its text as UTF-8 ({error:#})")).into()
            }
            Ok(None) => error,
            Err(other) => error.context(format!("{other:#}")),
        }
    }

    /// Passes over ticks that were to be sent again, and were pruned meanwhile, once the target has confirmed
    /// them. Until then waits a little: where the target needs them, the one that listens to it refuses it.
    fn pass_pruned(&mut self, first: i64, last: i64) {
        if let Some(behind) = behind_pruned(last, self.term.progress().confirmed_tick) {
            log::info!("ticks {first} to {last} need not be sent again: the target has confirmed them");
            return self.cutter.pass_to(behind);
        }
        self.context.unhealthy(&format!(
            "ticks {first} to {last} have left the outbox, and the target has not confirmed them; waiting for its confirm"
        ));
        self.term.wait(self.context.stop(), CURSOR_CHECK);
    }

    /// Why a tick that was looked up has no events to read: it was pruned since.
    fn no_events(&mut self, tick: &Tick, position: CursorPosition) -> Result<()> {
        let oldest = ticks::oldest_tick(&mut self.client)?;
        if oldest >= tick.at.number {
            self.pass_pruned(tick.at.number, oldest);
            return Ok(());
        }
        Err(anyhow!(
            "the outbox has nothing at {position}, but the tick is there: were rows deleted by hand?"
        )
        .context(Fault::Fatal))
    }
}

fn load_shapes(client: &mut Client) -> Result<HashMap<i32, Shape>> {
    Ok(shapes(client)?.into_iter().map(|shape| (shape.id, shape)).collect())
}
