//! Workers that turn batches into messages. A batch that does not fit into a message is split; an
//! event that alone does not fit is an error that names its row.

use crate::cursor::{CursorPosition, Epoch};
use crate::leadership::Term;
use crate::reader::Cut;
use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, Sender};
use shared::supervisor::ThreadContext;
use shared::wire::Batch;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A batch, encoded: usually one message.
pub(crate) struct Encoded {
    pub(crate) term: Term,
    pub(crate) epoch: Epoch,
    pub(crate) number: u64,
    /// The messages, or why one of them cannot be.
    pub(crate) messages: Result<Vec<Message>>,
}

/// The bytes of one message, and the cursor position behind it.
pub(crate) struct Message {
    pub(crate) behind: CursorPosition,
    pub(crate) payload: Vec<u8>,
}

/// Bytes that the NATS server takes in one message. Written by the publishing step when it connects.
pub(crate) struct MaxPayload(AtomicUsize);

impl MaxPayload {
    /// The smallest that servers are commonly run with; holds until one has told its own.
    pub(crate) fn unknown() -> MaxPayload {
        MaxPayload(AtomicUsize::new(1024 * 1024))
    }

    pub(crate) fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Release);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Encodes until a stop is requested.
pub(crate) fn run(
    context: &ThreadContext,
    input: &Receiver<Cut>,
    output: &Sender<Encoded>,
    max_payload: &MaxPayload,
) -> Result<()> {
    context.healthy();
    loop {
        let Cut { term, epoch, number, batch } = crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return Ok(()),
            recv(input) -> cut => match cut {
                Ok(cut) => cut,
                Err(_) => return Ok(()),
            },
        };
        let mut messages = Vec::with_capacity(1);
        let messages = encode(batch, max_payload.get(), &mut messages).map(|()| messages);
        crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return Ok(()),
            send(output, Encoded { term, epoch, number, messages }) -> sent => if sent.is_err() { return Ok(()) },
        }
    }
}

fn encode(mut batch: Batch, max_payload: usize, messages: &mut Vec<Message>) -> Result<()> {
    let payload = batch.encode()?;
    if payload.len() <= max_payload {
        messages.push(Message { behind: CursorPosition::after(&batch.end()), payload });
        return Ok(());
    }
    if let [event] = batch.events.as_slice() {
        let table = batch.shape_of(event)?.name();
        bail!(
            "the row {} of {table} (tick {}, event {}) makes a message of {} bytes and the NATS server takes {max_payload}: \
             raise max_payload on all NATS servers and restart this service",
            event.key.as_deref().unwrap_or_default(),
            batch.tick,
            event.event_id,
            payload.len(),
        );
    }
    let rest = batch.events.split_off(batch.events.len() / 2);
    let second = Batch { first: batch.last() + 1, events: rest, ..batch.clone() };
    encode(batch, max_payload, messages)?;
    encode(second, max_payload, messages).context("second half of a batch")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::{Event, FORMAT, Operation, Shape, Source, TickRef};
    use uuid::Uuid;

    fn batch(events: i64, row_bytes: usize) -> Batch {
        let event = |number: i64| Event {
            event_id: Uuid::from_u64_pair(0, number.unsigned_abs()),
            txid: 1,
            shape: 1,
            operation: Operation::Insert,
            key: Some(format!("({number})")),
            // Nothing that could be compressed.
            row: Some((0..row_bytes).map(|_| fastrand::alphanumeric()).collect()),
        };
        Batch {
            format: FORMAT,
            source: Source { id: "1/a".to_owned(), timeline: 1 },
            tick: TickRef { number: 5, id: Uuid::nil() },
            previous_id: Uuid::nil(),
            first: 11,
            total: 10 + events,
            taken_at_us: 0,
            shapes: vec![Shape {
                id: 1,
                schema: "public".to_owned(),
                table: "notes".to_owned(),
                columns: vec!["id".to_owned()],
                key: vec!["id".to_owned()],
                types: vec!["bigint".to_owned()],
                generated: vec![],
            }],
            events: (1..=events).map(event).collect(),
        }
    }

    #[test]
    fn a_batch_that_is_too_large_is_split_without_losing_an_event() {
        let whole = batch(9, 1000);
        let mut messages = Vec::new();
        encode(whole.clone(), 4000, &mut messages).unwrap();
        assert!(messages.len() > 2 && messages.iter().all(|message| message.payload.len() <= 4000));
        let parts: Vec<Batch> =
            messages.iter().map(|message| Batch::decode(&message.payload).unwrap()).collect();
        let mut next = whole.first;
        for (part, message) in parts.iter().zip(&messages) {
            assert_eq!(part.first, next);
            next = part.last() + 1;
            assert_eq!(message.behind, CursorPosition::after(&part.end()));
        }
        let events: Vec<Event> = parts.into_iter().flat_map(|part| part.events).collect();
        assert_eq!(events, whole.events);
    }

    #[test]
    fn an_event_that_alone_does_not_fit_is_named() {
        let error = encode(batch(2, 5000), 4000, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("the row (1) of public.notes") && error.contains("max_payload"), "{error}");
    }
}
