//! Workers that turn batches into messages. A batch that does not fit into a message is split; an
//! event that alone does not fit is an error that names its row.

use crate::cannot_travel::Unsendable;
use crate::leadership::Term;
use crate::reader::Cut;
use anyhow::{Error, Result, bail};
use crossbeam_channel::{Receiver, Sender};
use outbox_publisher::rules::cursor::{CursorPosition, Epoch};
use shared::budget::Permit;
use shared::supervisor::ThreadContext;
use shared::wire::{Batch, TooLarge, UNPACKED_MAX, Unreadable};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A batch, encoded: usually one message.
pub(crate) struct Encoded {
    pub(crate) term: Term,
    pub(crate) epoch: Epoch,
    pub(crate) number: u64,
    pub(crate) messages: Vec<Message>,
    /// Why the next message cannot be made.
    pub(crate) error: Option<Error>,
    /// For the bytes of the batch.
    pub(crate) permit: Permit,
}

/// The bytes of one message, and the cursor position behind it.
pub(crate) struct Message {
    pub(crate) behind: CursorPosition,
    pub(crate) payload: Vec<u8>,
    pub(crate) events: u64,
    pub(crate) transactions: u64,
}

impl Message {
    fn new(batch: &Batch, payload: Vec<u8>) -> Message {
        let transactions: HashSet<i64> = batch.events.iter().map(|event| event.txid).collect();
        Message {
            behind: CursorPosition::after(&batch.end()),
            payload,
            events: batch.events.len() as u64,
            transactions: transactions.len() as u64,
        }
    }
}

/// JetStream with file storage loses a larger message: it acknowledges it and never delivers it. A record there, with
/// subject and reply, may have 32 MiB.
const STORED_MAX: usize = 32 * 1024 * 1024 - 64 * 1024;

/// Bytes that a message may have. Written by the publishing step when it connects.
pub(crate) struct MaxPayload(AtomicUsize);

impl MaxPayload {
    /// The smallest that servers are commonly run with; holds until one has told its own.
    pub(crate) fn unknown() -> MaxPayload {
        MaxPayload(AtomicUsize::new(1024 * 1024))
    }

    /// The NATS server takes so many bytes in one message.
    pub(crate) fn set(&self, bytes: usize) {
        self.0.store(bytes.min(STORED_MAX), Ordering::Release);
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
        let Cut { term, epoch, number, batch, permit } = crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return Ok(()),
            recv(input) -> cut => match cut {
                Ok(cut) => cut,
                Err(_) => return Ok(()),
            },
        };
        let mut messages = Vec::with_capacity(1);
        let error = encode(batch, max_payload.get(), &mut messages).err();
        crossbeam_channel::select! {
            recv(context.stop().receiver()) -> _ => return Ok(()),
            send(output, Encoded { term, epoch, number, messages, error, permit }) -> sent => if sent.is_err() { return Ok(()) },
        }
    }
}

/// Adds the messages of a batch, in order; fails behind the last one that can be made.
fn encode(mut batch: Batch, max_payload: usize, messages: &mut Vec<Message>) -> Result<()> {
    let why = match batch.encode() {
        Ok(payload) if payload.len() <= max_payload => {
            messages.push(Message::new(&batch, payload));
            return Ok(());
        }
        Ok(payload) if max_payload < STORED_MAX => format!(
            "it makes a message of {} bytes and the NATS server takes {max_payload}. Raise max_payload on all NATS servers \
             (to 32 MB at most) and restart this service",
            payload.len()
        ),
        Ok(payload) => format!(
            "it makes a message of {} bytes, and JetStream loses what has more than {max_payload}",
            payload.len()
        ),
        Err(error) => unreadable(error)?,
    };
    match batch.events.as_slice() {
        [] => bail!("a batch of tick {} cannot be sent: {why}", batch.tick),
        [event] => {
            let table = batch.shape_of(event)?.name();
            return Err(Unsendable::of(event, batch.first, batch.tick, &table).because(&why).into());
        }
        _ => {}
    }
    let rest = batch.events.split_off(batch.events.len() / 2);
    let second = Batch { first: batch.last() + 1, events: rest, ..batch.clone() };
    batch.snapshot = None;
    encode(with_its_shapes(batch), max_payload, messages)?;
    encode(with_its_shapes(second), max_payload, messages)
}

/// Why no reader would take the message; fails with the error where it says something else.
fn unreadable(error: Error) -> Result<String> {
    if let Some(TooLarge { bytes }) = error.downcast_ref() {
        return Ok(format!(
            "it makes a message of {bytes} bytes before it is compressed, at most {UNPACKED_MAX} are accepted"
        ));
    }
    match error.downcast_ref() {
        Some(Unreadable(why)) => Ok(format!("no reader would take it: {why}")),
        None => Err(error),
    }
}

/// Without the shapes that its events do not refer to any more.
fn with_its_shapes(mut batch: Batch) -> Batch {
    let used: HashSet<i32> = batch.events.iter().map(|event| event.shape).collect();
    batch.shapes.retain(|shape| used.contains(&shape.id));
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cannot_travel::CannotTravel;
    use shared::wire::{Event, FORMAT, Operation, Shape, Snapshot, Source, TickRef};
    use uuid::Uuid;

    fn batch(events: i64, row_bytes: usize) -> Batch {
        let event = |number: i64| Event {
            event_id: Uuid::from_u64_pair(0, number.unsigned_abs()),
            txid: 1,
            shape: 1,
            operation: Operation::Insert,
            key: Some(format!("({number})")),
            // Nothing that could be compressed.
            row: Some(format!("({})", (0..row_bytes).map(|_| fastrand::alphanumeric()).collect::<String>())),
            moved_to: None,
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
                key_collations: None,
            }],
            events: (1..=events).map(event).collect(),
            skipped: None,
            snapshot: Some(Snapshot::try_from("7:9:7".to_owned()).unwrap()),
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
            assert_eq!(part.snapshot.is_some(), part.end().is_complete());
            assert_eq!(message.behind, CursorPosition::after(&part.end()));
        }
        let events: Vec<Event> = parts.into_iter().flat_map(|part| part.events).collect();
        assert_eq!(events, whole.events);
    }

    #[test]
    fn an_event_that_alone_does_not_fit_is_named_and_what_is_before_it_is_sent() {
        let mut whole = batch(4, 1000);
        whole.events[2].row = batch(1, 5000).events.remove(0).row;
        let mut messages = Vec::new();
        let error = encode(whole, 4000, &mut messages).unwrap_err();
        let sent: usize =
            messages.iter().map(|message| Batch::decode(&message.payload).unwrap().events.len()).sum();
        assert_eq!(sent, 2);
        let event = error.downcast_ref::<CannotTravel>().unwrap();
        assert_eq!(event.position, CursorPosition { tick: 5, ordinal: 12 });
        let text = error.to_string();
        for part in
            ["the row (3) of public.notes", "max_payload", "replication.skip_event('00000000-0000-0000-0000-"]
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn events_of_more_tables_than_a_reader_takes_are_split_with_their_tables() {
        let mut whole = batch(300, 10);
        let names: Vec<String> = (0..1600).map(|number| format!("c{number}")).collect();
        whole.shapes = (1..=300)
            .map(|id| Shape {
                id,
                key: names[..1].to_vec(),
                columns: names.clone(),
                types: names.clone(),
                ..whole.shapes[0].clone()
            })
            .collect();
        for (event, id) in whole.events.iter_mut().zip(1..) {
            event.shape = id;
        }
        let mut messages = Vec::new();
        encode(whole.clone(), 8 * 1024 * 1024, &mut messages).unwrap();
        let parts: Vec<Batch> =
            messages.iter().map(|message| Batch::decode(&message.payload).unwrap()).collect();
        assert!(parts.len() > 1 && parts.iter().all(|part| part.shapes.len() == part.events.len()));
        let events: Vec<Event> = parts.into_iter().flat_map(|part| part.events).collect();
        assert_eq!(events, whole.events);
    }

    #[test]
    fn an_event_that_no_reader_would_take_is_named() {
        let mut whole = batch(1, 1);
        whole.events[0].row = Some(format!("({})", "x".repeat(UNPACKED_MAX)));
        let error = encode(whole, usize::MAX, &mut Vec::new()).unwrap_err().to_string();
        assert!(
            error.contains("the row (1) of public.notes") && error.contains("before it is compressed"),
            "{error}"
        );
        let mut whole = batch(3, 1);
        whole.events[1].row = Some("no row".to_owned());
        let mut messages = Vec::new();
        let error = encode(whole, usize::MAX, &mut messages).unwrap_err().to_string();
        assert!(
            error.contains("the row (2) of public.notes") && error.contains("no reader would"),
            "{error}"
        );
        assert_eq!(messages.len(), 1);
    }
}
