//! What an error of the target's database means for the ticks that were to be applied.

use anyhow::Error;
use postgres::error::{DbError, SqlState};
use shared::fault::{Fault, fault_of};

/// Whether the target rejects the data (and would again), rather than being in trouble itself.
pub(crate) fn is_refusal(error: &Error) -> bool {
    // Of 54 the usual one is a value that is too long for an index that only the target has.
    const DATA_AND_SCHEMA: [&str; 10] = ["0A", "21", "22", "23", "42", "44", "54", "2F", "38", "P0"];
    const OWN_STATE: [&str; 1] = ["55000"];
    fault_of(error) == Fault::Hold
        || database_error(error).is_some_and(|error| {
            let code = error.code().code();
            DATA_AND_SCHEMA.iter().any(|class| code.starts_with(class)) || OWN_STATE.contains(&code)
        })
}

/// Whether [`crate::tables::Way::Replace`] may do where an upsert does not: other rows stand in the way for the
/// moment (a unique value on its way from one row to another), or the row that is there would be allowed
/// although the one to be inserted is not (a column that only the target has).
pub(crate) fn may_be_replaced(error: &Error) -> bool {
    database_error(error).is_some_and(|error| {
        [
            SqlState::UNIQUE_VIOLATION,
            SqlState::EXCLUSION_VIOLATION,
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            SqlState::CARDINALITY_VIOLATION,
            SqlState::NOT_NULL_VIOLATION,
            SqlState::CHECK_VIOLATION,
        ]
        .contains(error.code())
    })
}

/// The error with all that the database says about it, in one line.
pub(crate) fn describe(error: &Error) -> String {
    format!("{error:#}").replace('\n', "; ")
}

fn database_error(error: &Error) -> Option<&DbError> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<postgres::Error>())
        .and_then(postgres::Error::as_db_error)
}
