//! What the target has received and applied: the batches that are stored, the ticks and events that are
//! applied, and the position. Every SQL statement on these tables is here.

mod bookkeeping;
mod history;
mod position;
mod processed;
mod quarantine;
mod refusal;
pub(crate) mod standing;
mod waiting;

pub(crate) use bookkeeping::{Bookkeeping, Entry, Stored};
pub(crate) use history::{abandoned_sources, forked_ticks, other_history, other_source};
pub(crate) use position::{lock_position, read_position};
pub(crate) use processed::{record_all_processed, record_drift, record_processed};
pub(crate) use quarantine::{Unusable, quarantine};
pub(crate) use refusal::Refusal;
pub(crate) use waiting::{StoredBatches, is_too_much, transactions_in, waiting_in_memory};
