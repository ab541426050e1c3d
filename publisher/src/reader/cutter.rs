//! Cuts ticks into batches and passes them on, in order, as fast as the next stage takes them.

use super::batch::{BatchBuilder, Cut, skipped};
use crate::cannot_travel::Unsendable;
use crate::leadership::Term;
use crate::outbox::events::{Next, OutboxEvent};
use crate::outbox::reading::Tick;
use crate::settings::BatchSizes;
use anyhow::Result;
use crossbeam_channel::Sender;
use outbox_publisher::rules::cursor::{CursorPosition, Epoch};
use shared::budget::{Budget, Permit};
use shared::supervisor::ThreadContext;
use shared::wire::{Batch, Shape, Source, UNPACKED_MAX};
use std::collections::HashMap;
use std::time::Duration;

/// While the next stage is busy, check this often whether the cursor was turned back.
const CURSOR_CHECK: Duration = Duration::from_millis(100);

pub(super) struct Cutter<'a> {
    term: &'a Term,
    sizes: BatchSizes,
    budget: &'a Budget,
    output: &'a Sender<Cut>,
    context: &'a ThreadContext,
    epoch: Epoch,
    /// The number of the next batch in this epoch.
    number: u64,
    /// Grows until a tick has no more events than go into one message anyway.
    batch_size: usize,
}

/// What came of reading one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Found {
    #[default]
    Nothing,
    Events,
    /// An event has this shape, which is not known yet. It is read again, with what was not cut before it.
    UnknownShape(i32),
}

/// The tick that is being cut.
pub(super) struct Cutting<'a> {
    pub(super) tick: &'a Tick,
    pub(super) source: &'a Source,
    pub(super) shapes: &'a HashMap<i32, Shape>,
    batch: BatchBuilder,
    /// The event that was added last.
    pub(super) last: i64,
    pub(super) found: Found,
}

impl<'a> Cutting<'a> {
    /// From the event behind `last` on.
    pub(super) fn new(
        tick: &'a Tick,
        source: &'a Source,
        shapes: &'a HashMap<i32, Shape>,
        last: i64,
    ) -> Cutting<'a> {
        Cutting { tick, source, shapes, batch: BatchBuilder::default(), last, found: Found::Nothing }
    }
}

impl<'a> Cutter<'a> {
    /// Begins an epoch: what an earlier session cut may be lost with it.
    pub(super) fn new(
        term: &'a Term,
        sizes: BatchSizes,
        budget: &'a Budget,
        output: &'a Sender<Cut>,
        context: &'a ThreadContext,
    ) -> Cutter<'a> {
        let epoch = term.cursor().turn_to_acknowledged();
        Cutter { term, sizes, budget, output, context, epoch, number: 0, batch_size: sizes.caught_up }
    }

    /// The position of the cursor, and whether it was turned: then an epoch begins.
    pub(super) fn follow_cursor(&mut self) -> (CursorPosition, bool) {
        let (epoch, position) = self.term.cursor().next();
        let was_turned = epoch != self.epoch;
        if was_turned {
            self.epoch = epoch;
            self.number = 0;
        }
        (position, was_turned)
    }

    /// Whether the cursor was turned since the epoch began.
    pub(super) fn is_outdated(&self) -> bool {
        self.term.cursor().epoch() != self.epoch
    }

    /// Leaves out what comes before `position`, unless the cursor was turned since the epoch began.
    pub(super) fn pass_to(&self, position: CursorPosition) {
        self.term.cursor().advance(self.epoch, position);
    }

    /// How many batches were cut in this epoch.
    pub(super) fn cut(&self) -> u64 {
        self.number
    }

    /// Adds an event of the tick; passes a batch on when it is full or the tick ends. Fails where no message
    /// can have the event.
    pub(super) fn add(&mut self, event: OutboxEvent, cutting: &mut Cutting<'_>) -> Result<Next> {
        if cutting.found == Found::Nothing {
            cutting.found = Found::Events;
            self.begin_tick(event.total);
        }
        if event.is_skipped {
            return Ok(self.skip(&event, cutting));
        }
        let Some(shape) = cutting.shapes.get(&event.event.shape) else {
            cutting.found = Found::UnknownShape(event.event.shape);
            return Ok(Next::Stop);
        };
        if event.row_bytes > UNPACKED_MAX {
            let why = format!(
                "it has {} bytes, and a message takes at most {UNPACKED_MAX} as text",
                event.row_bytes
            );
            return Err(Unsendable::of(&event.event, event.ordinal, cutting.tick.at, &shape.name())
                .because(&why)
                .into());
        }
        cutting.last = event.ordinal;
        let last_of_tick = event.ordinal == event.total;
        cutting.batch.add(event);
        if !last_of_tick && !cutting.batch.is_full(self.batch_size) {
            return Ok(Next::Continue);
        }
        Ok(self.flush(cutting))
    }

    /// Passes on what was added and is not yet a whole batch.
    pub(super) fn flush(&mut self, cutting: &mut Cutting<'_>) -> Next {
        if cutting.batch.is_empty() {
            return Next::Continue;
        }
        let (batch, bytes) = cutting.batch.take(cutting.tick, cutting.source, cutting.shapes);
        self.pass_on(batch, bytes)
    }

    fn skip(&mut self, event: &OutboxEvent, cutting: &mut Cutting<'_>) -> Next {
        if self.flush(cutting) == Next::Stop {
            return Next::Stop;
        }
        cutting.last = event.ordinal;
        self.pass_on(skipped(event, cutting.tick, cutting.source, cutting.shapes), 0)
    }

    fn begin_tick(&mut self, events: i64) {
        self.term.pacing().tick_read(events);
        if usize::try_from(events).is_ok_and(|events| events <= self.sizes.caught_up) {
            self.batch_size = self.sizes.caught_up;
        }
    }

    fn pass_on(&mut self, batch: Batch, bytes: usize) -> Next {
        let Some(permit) = self.permit(bytes) else { return Next::Stop };
        // Where there is none any more, the target leaves this one to the outbox.
        let batch = Batch { format: self.term.format().unwrap_or(batch.format), ..batch };
        self.term.count_read(batch.events.len());
        let behind = CursorPosition::after(&batch.end());
        let cut = Cut { term: self.term.clone(), epoch: self.epoch, number: self.number, batch, permit };
        if self.send(cut) == Next::Stop {
            return Next::Stop;
        }
        self.context.healthy();
        self.number += 1;
        self.term.cursor().advance(self.epoch, behind);
        // More events follow: larger messages carry them sooner.
        self.batch_size = (self.batch_size * 2).min(self.sizes.max);
        Next::Continue
    }

    /// Waits until fewer bytes are in work; none when the cursor is turned meanwhile, or the term ends.
    fn permit(&self, bytes: usize) -> Option<Permit> {
        while !self.is_outdated() && self.term.continues(self.context.stop()) {
            let permit = self.budget.take(bytes, CURSOR_CHECK);
            if permit.is_some() {
                return permit;
            }
        }
        None
    }

    /// Waits for room in the next stage; stops when the cursor is turned meanwhile, or the term ends.
    fn send(&self, mut cut: Cut) -> Next {
        while !self.is_outdated() && self.term.continues(self.context.stop()) {
            match self.output.send_timeout(cut, CURSOR_CHECK) {
                Ok(()) => return Next::Continue,
                Err(error) if error.is_timeout() => cut = error.into_inner(),
                Err(_) => return Next::Stop,
            }
        }
        Next::Stop
    }
}
