//! Asking before what cannot be undone.

use crate::output::tell;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, IsTerminal};

/// Says what will be done. Asks on a terminal; elsewhere `yes` must have been given. Fails where the answer is no.
pub(crate) fn confirm(what: &str, yes: bool) -> Result<()> {
    tell(what);
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("nothing was done: this cannot be undone; say --yes, or --dry-run to see what would be done");
    }
    tell("Type yes to do it:");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    if answer.trim() != "yes" {
        bail!("nothing was done");
    }
    Ok(())
}
