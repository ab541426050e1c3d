//! Listens to the heartbeats of the source, and stores what they say: that it is there, how it is, and as of when this
//! target shows it while nothing happens.

use crate::confirm_sender::ConfirmSender;
use crate::metrics::METRICS;
use anyhow::{Context, Result};
use crossbeam_channel::Receiver;
use shared::broker::jetstream::Stream;
use shared::broker::{Broker, Connection, Incoming};
use shared::database::Database;
use shared::retry::Complaint;
use shared::status::Board;
use shared::supervisor::ThreadContext;
use shared::wire::{HEARTBEAT_INTERVAL, Heartbeat, Snapshot};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A source that is silent for so long is reported. An outage of a whole zone is usually shorter.
const SILENT_AFTER: Duration = HEARTBEAT_INTERVAL.saturating_mul(30);
/// Of the heartbeats that arrive within this time, the last one is stored: whoever may publish must not make this
/// database busy.
const STORE_INTERVAL: Duration = HEARTBEAT_INTERVAL.checked_div(2).unwrap();

/// The nodes of the stream are counted this often.
const NODES_INTERVAL: Duration = Duration::from_secs(5);

/// So many of them are looked at, from the last one back.
const LOOKED_AT: usize = 16;

pub(crate) struct Listening {
    broker: Broker,
    subject: String,
    stream: Stream,
    database: Database,
    confirm_sender: Arc<ConfirmSender>,
    board: Arc<Board>,
    /// When the source was heard last; none where it was never heard: one of an older version sends no heartbeats.
    heard_at: Option<Instant>,
    complaint: Complaint,
    /// When the stream's nodes are counted next.
    nodes_due: Instant,
}

impl Listening {
    pub(crate) fn new(
        broker: Broker,
        subject: String,
        stream: Stream,
        database: Database,
        confirm_sender: Arc<ConfirmSender>,
        board: Arc<Board>,
    ) -> Listening {
        Listening {
            broker,
            subject,
            stream,
            database,
            confirm_sender,
            board,
            heard_at: None,
            complaint: Complaint::default(),
            nodes_due: Instant::now(),
        }
    }

    pub(crate) fn run(mut self, context: &ThreadContext) -> Result<()> {
        context.keep_trying("listen to the source", || self.session(context))
    }

    fn session(&mut self, context: &ThreadContext) -> Result<()> {
        let connection = self.broker.connect()?;
        let messages = connection.subscribe(&self.subject)?;
        while !context.stop().requested() {
            if self.confirm_sender.is_leading() {
                self.expect_what_was_heard()?;
                self.count_nodes(&connection);
                match self.trouble() {
                    None => context.healthy(),
                    Some(trouble) => context.unhealthy(&trouble),
                }
            } else {
                context.healthy();
            }
            crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return Ok(()),
                recv(messages) -> message => {
                    self.take(message.context("the connection is gone")?, &messages)?;
                    context.stop().wait(STORE_INTERVAL);
                }
                default(HEARTBEAT_INTERVAL) => connection.check()?,
            }
        }
        Ok(())
    }

    /// For people: an answer that does not come leaves it unknown.
    fn count_nodes(&mut self, connection: &Connection) {
        if Instant::now() < self.nodes_due {
            return;
        }
        let nodes = self.stream.nodes(connection);
        if let Err(error) = &nodes {
            log::debug!("count the nodes of the stream: {error:#}");
        }
        self.confirm_sender.set_stream_nodes(nodes.ok());
        self.nodes_due = Instant::now() + NODES_INTERVAL;
    }

    /// A source that was heard before this process started is heard again, or reported.
    fn expect_what_was_heard(&mut self) -> Result<()> {
        if self.heard_at.is_none() {
            let row = self
                .database
                .connection()?
                .query_one("select exists (select from replication.heard_source)", &[])
                .context("look up whether the source was heard")?;
            self.heard_at = row.get::<_, bool>(0).then(Instant::now);
        }
        Ok(())
    }

    fn trouble(&self) -> Option<String> {
        let silence = self.heard_at?.elapsed();
        (silence > SILENT_AFTER).then(|| {
            format!(
                "the source was not heard for {} s: is outbox-publisher running, and may both services use the subject {}?",
                silence.as_secs(),
                self.subject
            )
        })
    }

    /// Takes, of the heartbeats that are there, the last one that is the source's: others may send more of them.
    fn take(&mut self, first: Incoming, others: &Receiver<Incoming>) -> Result<()> {
        let mut last: VecDeque<Incoming> = VecDeque::from([first]);
        for message in others.try_iter() {
            if last.len() == LOOKED_AT {
                last.pop_front();
            }
            last.push_back(message);
        }
        for message in last.iter().rev() {
            if self.is_of_the_source(message)? {
                break;
            }
        }
        Ok(())
    }

    fn is_of_the_source(&mut self, message: &Incoming) -> Result<bool> {
        match self.broker.signing().payload(message).and_then(Heartbeat::decode) {
            Ok(heartbeat) if self.confirm_sender.is_leading() => {
                let is_of_the_source = store(&mut *self.database.connection()?, &heartbeat)?;
                if is_of_the_source {
                    METRICS.heard(&heartbeat);
                    self.board.note_source(&heartbeat.status, heartbeat.figures, Instant::now());
                    self.heard_at = Some(Instant::now());
                }
                Ok(is_of_the_source)
            }
            Ok(_) => Ok(false),
            Err(error) => {
                let trouble = format!("ignoring a heartbeat: {error:#}");
                if let Some(line) = self.complaint.due(&trouble) {
                    log::warn!("{line}");
                }
                Ok(false)
            }
        }
    }
}

/// Stores what the source says; false where it is not the one that this target follows.
///
/// As of when this target shows the source is only known where it has applied the tick that the heartbeat names.
fn store(client: &mut postgres::Client, heartbeat: &Heartbeat) -> Result<bool> {
    let status = &heartbeat.status;
    let stored = client
        .execute(
            "with fast as (select set_config('synchronous_commit', 'off', true))
             insert into replication.heard_source as h
                 (source, said_at, version, trouble, events, tick, tick_id, snapshot, looked_at, timeline,
                  timeline_looked_at)
             select p.source, said.at, $2, $3, $4, shown.tick, shown.tick_id, shown.snapshot, shown.looked_at, $9::bigint, shown.looked_at
             from fast cross join replication.position p
             cross join (select timestamptz 'epoch' + $8::bigint * interval '1 microsecond') said (at)
             left join lateral (
                 select $5::bigint as tick, $6::uuid as tick_id, $7::text::pg_snapshot as snapshot, said.at as looked_at
                 where (p.applied_tick, p.applied_id) = ($5::bigint, $6::uuid) and $7::text is not null) shown on true
             where p.source = $1
             on conflict (only_row) do update set source = excluded.source, said_at = excluded.said_at, heard_at = clock_timestamp(),
                 version = excluded.version, trouble = excluded.trouble, events = excluded.events,
                 tick = coalesce(excluded.tick, h.tick), tick_id = coalesce(excluded.tick_id, h.tick_id),
                 snapshot = coalesce(excluded.snapshot, h.snapshot), looked_at = coalesce(excluded.looked_at, h.looked_at),
                 timeline = case when excluded.looked_at is null then h.timeline else excluded.timeline end,
                 timeline_looked_at = coalesce(excluded.looked_at, h.timeline_looked_at)",
            &[
                &heartbeat.source,
                &status.version,
                &status.trouble,
                &i64::try_from(status.events)?,
                &heartbeat.tick.number,
                &heartbeat.tick.id,
                &heartbeat.as_of.as_ref().map(Snapshot::as_str),
                &heartbeat.looked_at_us,
                &heartbeat.timeline,
            ],
        )
        .context("store what the source says")?;
    Ok(stored > 0)
}
