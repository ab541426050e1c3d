//! Who leads, and until when.
//!
//! A term begins when this process becomes the one publisher of its source, and ends with the session that
//! holds the publisher's lock. The next term may be on another server: a standby that was promoted behind
//! the same address. So nothing that was connected or learned in a term outlives it. A session asks whether
//! *its* term is over, never whether this process leads: it may have lost the lock and regained it since it
//! last asked.

mod term;

pub(crate) use term::Term;

use crate::outbox::progress::{Progress, TermStart};
use anyhow::Result;
use crossbeam_channel::Sender;
use parking_lot::Mutex;
use shared::database::Database;
use shared::supervisor::ThreadContext;
use std::convert::Infallible;
use std::time::Duration;

/// How often a thread without a term checks whether one has begun.
const TERM_CHECK: Duration = Duration::from_millis(20);

/// The terms of this process. The ticker begins and ends them.
pub(crate) struct Leadership {
    database: Database,
    progress_changed: Sender<()>,
    current: Mutex<Option<Term>>,
    /// The threads that work in terms. Locked after `current`.
    threads: Mutex<Vec<ThreadContext>>,
}

impl Leadership {
    /// No term yet. `progress_changed` is notified when the progress of a term has changed.
    pub(crate) fn new(database: Database, progress_changed: Sender<()>) -> Leadership {
        Leadership { database, progress_changed, current: Mutex::default(), threads: Mutex::default() }
    }

    /// Begins a term where the last publisher stopped. It ends when what is returned is dropped.
    ///
    /// The threads that work in terms are starting until each has reported in this one: the reports of before are those
    /// of a process that did not lead.
    pub(crate) fn begin(&self, start: &TermStart) -> Leading<'_> {
        let database = self.database.with_own_pool();
        let (term, ended) = Term::begin(start, database, self.progress_changed.clone());
        let mut current = self.current.lock();
        for thread in &*self.threads.lock() {
            thread.starting();
        }
        *current = Some(term.clone());
        drop(current);
        Leading { leadership: self, term, ended: Some(ended) }
    }

    /// The term in which this process leads, if it does.
    pub(crate) fn current(&self) -> Option<Term> {
        self.current.lock().clone()
    }

    /// How far this process is, in one line for the service manager.
    pub(crate) fn describe(&self) -> String {
        let Some(term) = self.current() else { return "standing by".to_owned() };
        let Progress { published_tick, confirmed_tick } = term.progress();
        format!("published tick {published_tick}, confirmed tick {confirmed_tick}")
    }

    /// Runs `session` in each term until a stop is requested, again after each temporary failure, as
    /// [`ThreadContext::keep_trying`] does. Without a term the thread is healthy.
    ///
    /// A session that fails after its term has ended proves nothing, whatever the error: the next term
    /// decides.
    pub(crate) fn in_each_term(
        &self,
        context: &ThreadContext,
        what: &str,
        mut session: impl FnMut(&Term) -> Result<()>,
    ) -> Result<()> {
        self.threads.lock().push(context.clone());
        context.keep_trying(what, || {
            let Some(term) = self.wait_for_term(context) else { return Ok(()) };
            let ended = session(&term);
            match ended {
                Err(error) if term.is_over() => {
                    log::debug!(error:% = format!("{error:#}"); "{what}: in a term that is over");
                    Ok(())
                }
                ended => ended,
            }
        })
    }

    /// None when a stop is requested instead.
    fn wait_for_term(&self, context: &ThreadContext) -> Option<Term> {
        loop {
            let current = self.current.lock();
            if let Some(term) = &*current {
                return Some(term.clone());
            }
            // While no term can begin: it takes this back.
            context.healthy();
            drop(current);
            if context.stop().wait(TERM_CHECK) {
                return None;
            }
        }
    }
}

/// This process leads for as long as this exists.
pub(crate) struct Leading<'a> {
    leadership: &'a Leadership,
    term: Term,
    ended: Option<Sender<Infallible>>,
}

impl Leading<'_> {
    pub(crate) fn term(&self) -> &Term {
        &self.term
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.ended = None;
        *self.leadership.current.lock() = None;
        self.term.disconnect();
    }
}
