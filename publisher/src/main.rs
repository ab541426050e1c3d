//! outbox-publisher: takes ticks of the outbox, publishes their events in order, and resends from where the
//! target says that it is.
//!
//! ```text
//! ticker ──► reader ──► encoders ──► publishing ──► NATS
//!              ▲ cursor                  │ acknowledged
//!              └─────── confirming ◄─────┴────► progress
//! ```
//!
//! The ticker holds the advisory lock that makes this the one publisher of the source. While it does not, the
//! other threads are idle.

mod audit;
mod cannot_travel;
mod confirming;
mod encoder;
mod figures;
mod heartbeat;
mod leadership;
mod metrics;
mod outbox;
mod pacing;
mod progress;
mod pruner;
mod publishing;
mod reader;
mod sampling;
mod settings;
mod ticker;
mod verifying;

use anyhow::Result;
use crossbeam_channel::bounded;
use encoder::MaxPayload;
use leadership::Leadership;
use sampling::Sampled;
use settings::Settings;
use shared::budget::Budget;
use shared::config::Environment;
use shared::metrics::Queue;
use shared::schema::Side;
use shared::status::{self, Board};
use shared::supervisor::{Command, Supervisor, Surface, run_migration, run_service};
use std::process::ExitCode;
use std::sync::Arc;

const SERVICE: &str = "outbox-publisher";
/// Where its probes and metrics are, unless `HTTP_ADDRESS` says otherwise.
const HTTP_ADDRESS: &str = "127.0.0.1:9101";
/// Workers that encode batches in parallel.
const ENCODERS: usize = 2;
/// Batches between two stages: enough to keep both busy.
const BATCHES_IN_FLIGHT: usize = 8;
/// Rows and keys that were read and not handed to NATS yet: they bound memory. A larger batch is in work
/// alone.
const BYTES_IN_WORK: usize = 64 * 1024 * 1024;

fn main() -> ExitCode {
    let migrate: Command = ("migrate", |environment| run_migration(environment, SERVICE, Side::Source));
    run_service(SERVICE, &[migrate], start)
}

fn start(environment: &Environment, supervisor: &mut Supervisor) -> Result<()> {
    let settings = Settings::from_env(environment)?;
    settings.log();
    let Settings {
        database,
        broker,
        subject_prefix,
        poll_interval,
        batch_sizes,
        outbox_retention,
        outbox_disk_bytes,
        verification,
        ..
    } = settings;

    let (new_tick, new_ticks) = bounded(1);
    let (cut, to_encode) = bounded(BATCHES_IN_FLIGHT);
    let (encoded, to_publish) = bounded(BATCHES_IN_FLIGHT);
    let (progress_changed, progress_changes) = bounded(1);
    let leadership = Arc::new(Leadership::new(database.clone(), progress_changed));
    let max_payload = Arc::new(MaxPayload::unknown());
    let sampled = Arc::new(Sampled::new(outbox_disk_bytes));

    let mut surface = Surface::new(environment, SERVICE, true)?;
    metrics::register(
        &mut surface.registry,
        &leadership,
        &sampled,
        [Queue::of("encode", &to_encode), Queue::of("publish", &to_publish)],
    );
    let (leads, behind) = (leadership.clone(), sampled.clone());
    surface.leads = Some(Arc::new(move || leads.current().is_some()));
    surface.hindrance = Box::new(move || behind.hindrance());
    let board = Arc::new(Board::new(status::Side::Source));
    surface.board = Some(board.clone());
    supervisor.show(environment, HTTP_ADDRESS, surface)?;

    let (looking, shown) = (leadership.clone(), sampled.clone());
    supervisor.spawn("sampler", move |context| sampling::run(context, &looking, &sampled))?;

    let described = leadership.clone();
    supervisor.describe(move || described.describe());

    let ticker = ticker::Ticker::new(database, poll_interval, leadership.clone(), new_tick);
    supervisor.spawn("ticker", move |context| ticker.run(context))?;

    let reader =
        reader::Reader::new(batch_sizes, Budget::new(BYTES_IN_WORK), leadership.clone(), new_ticks, cut);
    supervisor.spawn("reader", move |context| reader.run(context))?;

    for number in 1..=ENCODERS {
        let (input, output, max_payload) = (to_encode.clone(), encoded.clone(), max_payload.clone());
        supervisor.spawn(&format!("encoder-{number}"), move |context| {
            encoder::run(context, &input, &output, &max_payload)
        })?;
    }

    let subject = shared::wire::events_subject(&subject_prefix);
    let publishing =
        publishing::Publishing::new(broker.clone(), subject, leadership.clone(), max_payload, to_publish);
    supervisor.spawn("publishing", move |context| publishing.run(context))?;

    let heartbeats =
        heartbeat::Heartbeats::new(broker.clone(), &subject_prefix, leadership.clone(), shown, board.clone());
    supervisor.spawn("heartbeat", move |context| heartbeats.run(context))?;

    if !verification.interval.is_zero() {
        let verifying =
            verifying::Verifying::new(broker.clone(), &subject_prefix, leadership.clone(), verification);
        supervisor.spawn("verifier", move |context| verifying.run(context))?;
    }

    let confirming = confirming::Confirming::new(broker, &subject_prefix, leadership.clone(), board);
    supervisor.spawn("confirms", move |context| confirming.run(context))?;

    let audited = leadership.clone();
    supervisor.spawn("audit", move |context| audit::run(context, &audited))?;

    let pruned = leadership.clone();
    supervisor.spawn("pruner", move |context| pruner::run(context, outbox_retention, &pruned))?;

    supervisor.spawn("progress", move |context| progress::run(context, &leadership, &progress_changes))
}
