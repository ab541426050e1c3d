//! Waiting until readers of the target see a transaction of the source.

use crate::cli::WaitOptions;
use crate::level::Level;
use crate::output::{self, Output};
use crate::side::{has_state, words};
use crate::sides::Sides;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// With which `replication.wait_for` says that the time is up.
const NOT_THERE_YET: &str = "RT001";

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Serialize)]
struct Waited {
    is_there: bool,
    token: String,
    seconds: f64,
    reason: Option<String>,
}

pub(crate) fn run(sides: &Sides, output: &Output, options: &WaitOptions) -> Result<Level> {
    let target = sides.target()?;
    let token = token(sides, options)?;
    let begun = Instant::now();
    // In milliseconds, which an interval takes as they are.
    let timeout = format!("{} milliseconds", options.timeout().as_millis());
    let waited = target.execute("call replication.wait_for($1, $2::text::interval)", &[&token, &timeout]);
    let reason = match waited {
        Ok(()) => None,
        Err(error) if has_state(&error, NOT_THERE_YET) => Some(words(&error)),
        Err(error) => return Err(error),
    };
    let seconds = begun.elapsed().as_secs_f64();
    let waited = Waited { is_there: reason.is_none(), token, seconds, reason };
    output.show(&waited, || match &waited.reason {
        None => format!("it is there, after {seconds:.3} s\n"),
        Some(reason) => format!("{}\n", output::line(reason)),
    })?;
    Ok(if waited.is_there { Level::Good } else { Level::Warning })
}

/// What the target is to show.
fn token(sides: &Sides, options: &WaitOptions) -> Result<String> {
    let of = |query: &str, txid: &Option<String>| -> Result<String> {
        let source = sides.source().context("a token comes from the source")?;
        let token: Token = match txid {
            None => source.row(query, &[])?,
            Some(txid) => source.row(query, &[txid])?,
        };
        Ok(token.token)
    };
    match &options.transaction {
        None => of("select replication.token() as token", &None),
        Some(txid) if txid.chars().all(|c| c.is_ascii_digit()) => {
            of("select replication.token($1::text::xid8) as token", &options.transaction)
        }
        Some(token) => Ok(token.clone()),
    }
}
