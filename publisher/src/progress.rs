//! Stores the progress in the source's database, for the next publisher and for people. It may lag behind:
//! losing an update costs a resend.

use crate::leadership::{Leadership, Term};
use crate::outbox::progress::store_progress;
use anyhow::Result;
use crossbeam_channel::Receiver;
use shared::supervisor::ThreadContext;
use std::time::Duration;

/// The progress is stored at most this often.
const STORE_INTERVAL: Duration = Duration::from_millis(50);

/// Stores the progress of the current term whenever it has `changed`, until a stop is requested.
pub(crate) fn run(context: &ThreadContext, leadership: &Leadership, changed: &Receiver<()>) -> Result<()> {
    context.keep_trying("store the progress", || {
        context.healthy();
        loop {
            // First what an earlier try may have failed to store.
            if let Some(term) = leadership.current() {
                store(&term)?;
                context.healthy();
            }
            context.stop().wait(STORE_INTERVAL);
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return Ok(()),
                recv(changed) -> _ => {}
            }
        }
    })
}

fn store(term: &Term) -> Result<()> {
    let number = term.number();
    if !store_progress(
        &mut *term.connection()?,
        (number, term.timeline()),
        term.progress(),
        term.held().as_ref(),
    )? {
        log::debug!("another publisher leads: the progress of term {number} is not stored");
    }
    shared::kill_point::reached("progress_stored");
    Ok(())
}
