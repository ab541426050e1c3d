//! Messages that inbox-processor could not use. They stop nothing.

use crate::cli::QuarantineCommand;
use crate::level::Level;
use crate::output::{self, Output, bytes};
use crate::sides::Sides;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Characters of a message that are shown.
const PAYLOAD_MAX: usize = 4000;

#[derive(Deserialize, Serialize)]
struct Message {
    id: i64,
    received_at: String,
    bytes: Option<i64>,
    reason: String,
    /// Of `quarantine show` only: its beginning, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Standing {
    messages: i64,
    unseen: i64,
    kept: i64,
}

#[derive(Serialize)]
struct List {
    #[serde(flatten)]
    standing: Standing,
    last: Vec<Message>,
}

#[derive(Deserialize, Serialize)]
struct Acknowledged {
    acknowledged: i64,
}

pub(crate) fn run(sides: &Sides, output: &Output, command: &QuarantineCommand) -> Result<Level> {
    match command {
        QuarantineCommand::List { limit } => list(sides, output, *limit),
        QuarantineCommand::Show { id } => show(sides, output, *id),
        QuarantineCommand::Ack => acknowledge(sides, output),
    }
}

fn list(sides: &Sides, output: &Output, limit: i64) -> Result<Level> {
    let target = sides.target()?;
    let standing: Standing = target.row("select * from replication.quarantine_status", &[])?;
    let last = "select id, received_at, bytes, reason from replication.quarantine order by id desc limit $1";
    let list = List { standing, last: target.rows(last, &[&limit])? };
    output.show(&list, || {
        let Standing { messages, unseen, kept } = &list.standing;
        let rows: Vec<Vec<String>> = list
            .last
            .iter()
            .map(|message| {
                let size = message.bytes.map_or_else(|| "?".to_owned(), bytes);
                vec![message.id.to_string(), message.received_at.clone(), size, message.reason.clone()]
            })
            .collect();
        let head = format!("{messages} messages, {unseen} of them not acknowledged; {kept} are kept\n");
        if rows.is_empty() {
            head
        } else {
            head + &output::table(&["id", "received", "size", "reason"], &rows)
        }
    })?;
    Ok(if list.standing.unseen > 0 { Level::Warning } else { Level::Good })
}

fn show(sides: &Sides, output: &Output, id: i64) -> Result<Level> {
    let query = "select id, received_at, bytes, reason, encode(payload, 'hex') as payload from replication.quarantine where id = $1";
    let message = sides.target()?.rows::<Message>(query, &[&id])?.pop();
    let message = message.with_context(|| format!("there is no message {id} in quarantine (any more)"))?;
    output.show(&message, || {
        let payload = message.payload.as_deref().map_or_else(String::new, readable);
        format!(
            "id        {}\nreceived  {}\nsize      {}\nreason    {}\nmessage   {payload}\n",
            message.id,
            output::line(&message.received_at),
            message.bytes.map_or_else(|| "?".to_owned(), bytes),
            output::line(&message.reason)
        )
    })?;
    Ok(Level::Good)
}

/// What of it is text, in one line.
fn readable(hexadecimal: &str) -> String {
    let bytes: Vec<u8> = hexadecimal
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    shared::printable::printable(&String::from_utf8_lossy(&bytes), PAYLOAD_MAX)
}

fn acknowledge(sides: &Sides, output: &Output) -> Result<Level> {
    let done: Acknowledged =
        sides.target()?.row("select replication.quarantine_acknowledge() as acknowledged", &[])?;
    output.show(&done, || format!("acknowledged {} messages\n", done.acknowledged))?;
    Ok(Level::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_of_a_message_steers_no_terminal() {
        assert_eq!(readable("7b1b5b324aff7d"), "{\\u{1b}[2J\u{fffd}}");
        assert_eq!(readable(""), "");
    }
}
