//! What an error asks for. [`fault_of`] decides it, in one place: by the [`Fault`] that the error carries as
//! its context, or by PostgreSQL's SQLSTATE.

use anyhow::Error;
use postgres::error::SqlState;
use std::fmt;

/// What the caller has to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Temporary, as a lost connection or a serialization failure: retry after a pause.
    Retry,
    /// PostgreSQL refuses rows as they are written, and may accept them once the rows in their way are
    /// deleted: a unique value that moves from one row to another, or a NOT NULL column that only the target
    /// has. Write them by delete-insert; if that fails, too, block.
    Conflict,
    /// PostgreSQL refuses the data, and would again: block what comes later, and retry.
    Hold,
    /// A statement ran into its deadline, or was cancelled: retry with more time, and after a few retries block.
    OutOfTime,
    /// No retry can resolve it: end the process with the error.
    Fatal,
}

impl Fault {
    /// Whether PostgreSQL refuses the data, rather than being in trouble itself.
    pub fn is_refusal(self) -> bool {
        matches!(self, Fault::Conflict | Fault::Hold)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Fault::Retry => "temporary fault",
            Fault::Conflict => "other rows of the target are in the way",
            Fault::Hold => "the target cannot take this event",
            Fault::OutOfTime => "out of time",
            Fault::Fatal => "cannot continue",
        })
    }
}

/// What to do about the error. What is not known to be anything else is temporary.
pub fn fault_of(error: &Error) -> Fault {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return *fault;
    }
    let sqlstate = error.chain().find_map(|cause| cause.downcast_ref::<postgres::Error>()?.code());
    sqlstate.map_or(Fault::Retry, fault_of_sqlstate)
}

fn fault_of_sqlstate(sqlstate: &SqlState) -> Fault {
    const IN_THE_WAY: [SqlState; 6] = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::EXCLUSION_VIOLATION,
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        SqlState::CARDINALITY_VIOLATION,
        SqlState::NOT_NULL_VIOLATION,
        SqlState::CHECK_VIOLATION,
    ];
    if IN_THE_WAY.contains(sqlstate) {
        return Fault::Conflict;
    }
    if *sqlstate == SqlState::QUERY_CANCELED {
        return Fault::OutOfTime;
    }
    if *sqlstate == SqlState::LOCK_NOT_AVAILABLE {
        return Fault::Retry;
    }
    match sqlstate.code().get(..2) {
        // Connection, serialization, resources, operator intervention, system.
        Some("08" | "40" | "53" | "57" | "58") => Fault::Retry,
        // Everything else, with whatever code a trigger or a function of the target raises it.
        _ => Fault::Hold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn an_error_is_temporary_unless_it_says_otherwise() {
        assert_eq!(fault_of(&anyhow!("connection reset")), Fault::Retry);
        let fatal = anyhow!("another history").context(Fault::Fatal);
        assert_eq!(fault_of(&fatal), Fault::Fatal);
        let wrapped = Err::<(), _>(fatal).context("read tick 7").unwrap_err();
        assert_eq!(fault_of(&wrapped), Fault::Fatal);
    }

    /// Every class of PostgreSQL's appendix A, by a code of its own.
    #[test]
    fn every_class_of_sqlstate_has_its_fault() {
        use Fault::{Conflict, Hold, OutOfTime, Retry};
        let table = [
            ("00000", Hold),      // successful completion
            ("01000", Hold),      // warning
            ("02000", Hold),      // no data
            ("03000", Hold),      // SQL statement not yet complete
            ("08006", Retry),     // connection failure
            ("09000", Hold),      // triggered action exception
            ("0A000", Hold),      // feature not supported
            ("0B000", Hold),      // invalid transaction initiation
            ("0F001", Hold),      // invalid locator
            ("0L000", Hold),      // invalid grantor
            ("0P000", Hold),      // invalid role specification
            ("0Z000", Hold),      // diagnostics exception
            ("10608", Hold),      // XQuery error
            ("20000", Hold),      // case not found
            ("21000", Conflict),  // cardinality violation
            ("22001", Hold),      // data exception
            ("23503", Hold),      // integrity constraint violation: foreign key
            ("23502", Conflict),  // not null
            ("23505", Conflict),  // unique
            ("23514", Conflict),  // check
            ("23P01", Conflict),  // exclusion
            ("24000", Hold),      // invalid cursor state
            ("25006", Hold),      // invalid transaction state: read only
            ("26000", Hold),      // invalid SQL statement name
            ("27000", Hold),      // triggered data change violation
            ("28P01", Hold),      // invalid authorization specification
            ("2B000", Hold),      // dependent privilege descriptors still exist
            ("2D000", Hold),      // invalid transaction termination
            ("2F002", Hold),      // SQL routine exception
            ("34000", Hold),      // invalid cursor name
            ("38000", Hold),      // external routine exception
            ("39000", Hold),      // external routine invocation exception
            ("3B000", Hold),      // savepoint exception
            ("3D000", Hold),      // invalid catalog name
            ("3F000", Hold),      // invalid schema name
            ("40001", Retry),     // transaction rollback: serialization failure
            ("40P01", Retry),     // deadlock
            ("42P01", Hold),      // syntax error or access rule violation: undefined table
            ("42501", Hold),      // insufficient privilege
            ("44000", Hold),      // WITH CHECK OPTION violation
            ("53100", Retry),     // insufficient resources: disk full
            ("54000", Hold),      // program limit exceeded
            ("55000", Conflict),  // object not in prerequisite state
            ("55P03", Retry),     // lock not available
            ("57014", OutOfTime), // operator intervention: query cancelled
            ("57P01", Retry),     // admin shutdown
            ("58030", Retry),     // system error
            ("72000", Hold),      // snapshot failure
            ("F0000", Hold),      // configuration file error
            ("HV000", Hold),      // foreign data wrapper error
            ("P0001", Hold),      // PL/pgSQL: raise exception
            ("XX000", Hold),      // internal error
            ("AP001", Hold),      // of a function of the application's
        ];
        for (code, fault) in table {
            assert_eq!(fault_of_sqlstate(&SqlState::from_code(code)), fault, "{code}");
        }
    }
}
