//! Reads the ticks from the cursor on and cuts them into batches.

mod batch;
mod cutter;
mod session;

pub(crate) use batch::Cut;

use crate::leadership::Leadership;
use crate::settings::BatchSizes;
use anyhow::Result;
use crossbeam_channel::{Receiver, Sender};
use session::{Session, Stage};
use shared::budget::Budget;
use shared::database::TimeoutFactor;
use shared::supervisor::ThreadContext;
use std::sync::Arc;

pub(crate) struct Reader {
    leadership: Arc<Leadership>,
    stage: Stage,
}

impl Reader {
    pub(crate) fn new(
        sizes: BatchSizes,
        budget: Budget,
        leadership: Arc<Leadership>,
        new_ticks: Receiver<()>,
        output: Sender<Cut>,
    ) -> Reader {
        Reader { leadership, stage: Stage { sizes, budget, new_ticks, output } }
    }

    pub(crate) fn run(&self, context: &ThreadContext) -> Result<()> {
        let mut timeout_factor = TimeoutFactor::default();
        self.leadership.in_each_term(context, "read the outbox", |term| {
            let session = Session::begin(&self.stage, term, timeout_factor, context)?;
            session.run(&mut timeout_factor).inspect_err(|error| term.hold(error))
        })
    }
}
