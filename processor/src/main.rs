//! inbox-processor: receives batches, stores them in the inbox, and applies whole ticks to the
//! target in the transaction that moves the position.
//!
//! ```text
//! NATS ──► puller ──► decoders ──► applying ──► tables, inbox, position: one transaction
//!   ▲                                 │  └────► large-ticks: tables, while the rest arrives
//!   └── releases, confirms ◄──────────┘ then
//! ```
//!
//! The applying thread holds the advisory lock that makes this the one processor of the target; the
//! puller rests while it does not.

mod apply;
mod applying;
mod changes;
mod decoder;
mod hold;
mod inbox;
mod large_tick;
mod operator;
mod position;
mod pruner;
mod puller;
mod receive;
mod refusal;
mod session;
mod settings;
mod stored_tick;
mod tables;
mod uplink;

use anyhow::Result;
use crossbeam_channel::bounded;
use settings::Settings;
use shared::config::Environment;
use shared::schema::Side;
use shared::supervisor::{Supervisor, run_service};
use std::process::ExitCode;
use std::sync::Arc;
use uplink::Uplink;

/// Workers that decode messages side by side.
const DECODERS: usize = 2;
/// Decoded messages that wait to be applied: enough to form large groups, few enough to bound memory.
const MESSAGES_DECODED: usize = 12;

fn main() -> ExitCode {
    run_service("inbox-processor", Side::Target, start)
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
        group_events_max,
        retention,
        ..
    } = settings;

    let (to_decode, pulled) = bounded(DECODERS);
    let (to_apply, decoded) = bounded(MESSAGES_DECODED);
    let uplink = Arc::new(Uplink::new(confirm_subject));

    let puller = puller::Puller::new(broker, stream, refusal_subject, uplink.clone(), to_decode);
    supervisor.spawn("puller", move |context| puller.run(context))?;

    for number in 1..=DECODERS {
        let (input, output) = (pulled.clone(), to_apply.clone());
        supervisor
            .spawn(&format!("decoder-{number}"), move |context| decoder::run(context, &input, &output))?;
    }

    let (large_ticks, jobs) = large_tick::LargeTicks::new();
    let applied_to = database.clone();
    supervisor.spawn("large-ticks", move |context| {
        large_tick::run(context, &applied_to, &jobs, group_events_max)
    })?;

    let (pruned, leading) = (database.clone(), uplink.clone());
    supervisor.spawn("pruner", move |context| pruner::run(context, &pruned, retention, &leading))?;

    let applying = applying::Applying::new(database, group_events_max, uplink.clone(), large_ticks, decoded);
    supervisor.spawn("applying", move |context| applying.run(context))?;

    supervisor.spawn("heartbeat", move |context| {
        uplink::heartbeat(context, &uplink);
        Ok(())
    })
}
