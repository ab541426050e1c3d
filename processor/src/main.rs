//! inbox-processor: receives batches, stores them in the inbox, and applies whole ticks to the
//! target in the transaction that moves the position.
//!
//! ```text
//! NATS ──► puller ──► decoders ──► applying ──► tables, inbox, position: one transaction
//!   ▲                                 │
//!   └── releases, confirms ◄──────────┘ then
//! ```
//!
//! The applying thread holds the advisory lock that makes this the one processor of the target; the
//! puller pauses while it does not.

mod applying;
mod confirm_sender;
mod figures;
mod inbox;
mod listening;
mod metrics;
mod pruner;
mod receiving;
mod sampling;
mod settings;
mod tables;
mod verifying;

use anyhow::Result;
use applying::Applying;
use confirm_sender::ConfirmSender;
use crossbeam_channel::bounded;
use listening::Listening;
use receiving::{Puller, decode};
use sampling::Sampled;
use settings::Settings;
use shared::config::Environment;
use shared::metrics::Queue;
use shared::schema::Side;
use shared::status::{self, Board};
use shared::supervisor::{Command, Supervisor, Surface, run_migration, run_service};
use std::process::ExitCode;
use std::sync::Arc;

const SERVICE: &str = "inbox-processor";
/// Where its probes and metrics are, unless `HTTP_ADDRESS` says otherwise.
const HTTP_ADDRESS: &str = "127.0.0.1:9102";
/// Workers that decode messages side by side.
const DECODERS: usize = 2;
/// Decoded messages that wait to be applied: enough to form large groups, also of small messages. The budget of the
/// puller bounds their bytes.
const MESSAGES_DECODED: usize = 500;

fn main() -> ExitCode {
    let migrate: Command = ("migrate", |environment| run_migration(environment, SERVICE, Side::Target));
    run_service(SERVICE, &[migrate], start)
}

fn start(environment: &Environment, supervisor: &mut Supervisor) -> Result<()> {
    let settings = Settings::from_env(environment)?;
    settings.log();
    let Settings {
        database,
        broker,
        stream,
        confirm_subject,
        refusal_subject,
        heartbeat_subject,
        verify_subjects,
        group_events_max,
        retention,
        ..
    } = settings;

    let (to_decode, pulled) = bounded(DECODERS);
    let (to_apply, decoded) = bounded(MESSAGES_DECODED);
    let confirm_sender = Arc::new(ConfirmSender::new(confirm_subject));
    let sampled = Arc::new(Sampled::default());

    let mut surface = Surface::new(environment, SERVICE, true)?;
    metrics::register(
        &mut surface.registry,
        &confirm_sender,
        &sampled,
        [Queue::of("decode", &pulled), Queue::of("apply", &decoded)],
    );
    let leads = confirm_sender.clone();
    surface.leads = Some(Arc::new(move || leads.is_leading()));
    let board = Arc::new(Board::new(status::Side::Target));
    surface.board = Some(board.clone());
    supervisor.show(environment, HTTP_ADDRESS, surface)?;

    let (looked_at, leading, shown) = (database.clone(), confirm_sender.clone(), sampled.clone());
    supervisor.spawn("sampler", move |context| sampling::run(context, &looked_at, &leading, &sampled))?;

    let described = confirm_sender.clone();
    supervisor.describe(move || described.describe());

    let listening = Listening::new(
        broker.clone(),
        heartbeat_subject,
        stream.clone(),
        database.clone(),
        confirm_sender.clone(),
        board.clone(),
    );
    supervisor.spawn("listening", move |context| listening.run(context))?;

    let verifying =
        verifying::Verifying::new(broker.clone(), verify_subjects, database.clone(), confirm_sender.clone());
    supervisor.spawn("verifier", move |context| verifying.run(context))?;

    let signing = broker.signing().clone();
    let puller = Puller::new(broker, stream, refusal_subject, confirm_sender.clone(), to_decode);
    supervisor.spawn("puller", move |context| puller.run(context))?;

    for number in 1..=DECODERS {
        let (signing, input, output) = (signing.clone(), pulled.clone(), to_apply.clone());
        supervisor
            .spawn(&format!("decoder-{number}"), move |context| decode(context, &signing, &input, &output))?;
    }

    let (pruned, leading) = (database.clone(), confirm_sender.clone());
    supervisor.spawn("pruner", move |context| pruner::run(context, &pruned, retention, &leading))?;

    let applying = Applying::new(database, group_events_max, confirm_sender.clone(), decoded);
    supervisor.spawn("applying", move |context| applying.run(context))?;

    supervisor.spawn("heartbeat", move |context| {
        confirm_sender::heartbeat(context, &confirm_sender, &shown, &board);
        Ok(())
    })
}
