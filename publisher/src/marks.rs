//! Keeps in the source's database how far the events are published and confirmed, for the next
//! publisher and for people. Lazily: the marks may lag, and losing one costs a resend.

use crate::leadership::Leadership;
use crate::outbox;
use anyhow::Result;
use crossbeam_channel::Receiver;
use shared::supervisor::ThreadContext;
use std::time::Duration;

/// The marks are written at most this often.
const WRITE_INTERVAL: Duration = Duration::from_millis(50);

/// Writes the marks whenever they moved, until a stop is requested.
pub(crate) fn run(context: &ThreadContext, leadership: &Leadership, wanted: &Receiver<()>) -> Result<()> {
    context.keep_trying("store the marks", || {
        context.healthy();
        loop {
            // First of all what an earlier try may have failed to store.
            if let Some(term) = leadership.current() {
                let number = term.number();
                if !outbox::write_marks(&mut *term.connection()?, number, term.marks())? {
                    log::debug!("another publisher leads: the marks of term {number} are not stored");
                }
                shared::kill_point::reached("marks_stored");
                context.healthy();
            }
            context.stop().wait(WRITE_INTERVAL);
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return Ok(()),
                recv(wanted) -> _ => {}
            }
        }
    })
}
