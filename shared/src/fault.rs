//! What a failure asks for. Most errors are temporary and are simply tried again; an error that is
//! anything else says so by carrying a [`Fault`] as its context.

use std::fmt;

/// What the caller has to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Temporary (connection lost, no responders, serialization failure): try again after a pause.
    Retry,
    /// The target cannot take an event: keep everything behind it waiting and try again.
    Hold,
    /// The message cannot be one of ours: set it aside with its reason and go on.
    Quarantine,
    /// No retry can cure it: end the process with the error.
    Fatal,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Fault::Retry => "temporary fault",
            Fault::Hold => "the target cannot take this event",
            Fault::Quarantine => "not a message of ours",
            Fault::Fatal => "cannot go on",
        })
    }
}

/// The fault that an error carries; [`Fault::Retry`] where it carries none.
pub fn fault_of(error: &anyhow::Error) -> Fault {
    error.downcast_ref::<Fault>().copied().unwrap_or(Fault::Retry)
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
}
