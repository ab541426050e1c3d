//! End-to-end stories over real PostgreSQL and real NATS.
//!
//! Each test has its own databases, subjects and stream on servers that `test-replication.sh`
//! starts; run them with `./test-replication.sh -- <name>`.

// A test fails by a panic.
#![allow(clippy::unwrap_used)]

mod apply;
mod as_of;
mod attached;
mod barrier;
mod blocked;
mod broker;
#[path = "../page/browser.rs"]
mod browser;
mod capture;
mod chain;
mod clocks;
mod concurrency;
mod ctl;
mod ctl_decisions;
mod ddl;
mod delivery;
mod encodings;
mod encryption;
mod failover;
mod faults;
mod foreign;
mod generated;
mod hang;
mod harness;
mod holes;
mod hostile;
mod identity;
mod jetstream;
mod keys;
mod kill_points;
mod large;
mod logs;
mod managed;
mod monitoring;
mod names;
mod newer;
mod operation;
mod own_columns;
mod owners;
mod page;
mod paused;
mod pauses;
mod poison;
mod property;
mod protections;
mod quarantine;
mod recovery;
mod refusals;
mod remedies;
mod resend;
mod restored;
mod retention;
mod rights;
mod secrets;
mod service_manager;
mod short_names;
mod space;
mod standby;
mod tables;
mod target_owners;
mod transactions;
mod triggers;
mod trust;
mod upgrade;
mod values;
mod verification;
