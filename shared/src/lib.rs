//! What the services have in common: the wire contract and its positions, configuration from the
//! environment, the database, the broker and the supervisor of threads.
//!
//! Nothing here knows a table of the application, and nothing here decides what a service does.

mod attempts;
pub mod broker;
pub mod budget;
pub mod config;
pub mod database;
pub mod fault;
pub mod http;
pub mod kill_point;
pub mod leadership;
pub mod logging;
pub mod metrics;
pub mod pause;
mod pem;
pub mod printable;
pub mod pruning;
pub mod retry;
pub mod schema;
pub mod status;
mod stopping;
pub mod supervisor;
pub mod unexpected;
pub mod wire;
