//! What the stories share: a replication of its own for each, servers, faults, and waiting.

mod any_table;
mod audit;
mod certificates;
mod clock;
mod ctl;
mod databases;
mod demo;
mod http;
mod meanwhile;
mod moves;
mod nats;
mod nats_account;
mod nats_bytes;
mod pooler;
mod proxy;
mod replication;
mod server;
mod servers;
mod service;
mod stream;
mod versions;
mod waiting;

pub(crate) use any_table::{
    assert_same, attach, capture_problems, compare, compare_by_script, compare_by_script_at, make_in_both,
    start_with_tables,
};
pub(crate) use audit::{assert_nothing_applied_twice, audit_writes};
pub(crate) use certificates::Certificates;
pub(crate) use clock::Clock;
pub(crate) use ctl::{ctl, ctl_interrupted, ctl_with};
pub(crate) use databases::{
    Door, applied_tick, beside, count, create_database_of_bytes, record_no_snapshots,
};
pub(crate) use demo::{Demo, add_user, assert_equal};
pub(crate) use http::{Shown, answer_of};
pub(crate) use meanwhile::meanwhile;
pub(crate) use nats::PrivateNats;
pub(crate) use nats_account::nats_account;
pub(crate) use pooler::start_pooler;
pub(crate) use proxy::Proxy;
pub(crate) use replication::Replication;
pub(crate) use server::PrivateServer;
pub(crate) use service::Service;
pub(crate) use stream::{consumers, delivered, jetstream, messages};
pub(crate) use versions::{have_icu, server_version};
pub(crate) use waiting::{DEADLINE, wait_for, wait_for_health, wait_until_blocked, wait_until_published};
