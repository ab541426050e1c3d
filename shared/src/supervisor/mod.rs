//! The one owner of a service's process: its command line, its threads and its health.
//!
//! Threads are started here and nowhere else. A signal, an error or a panic in any of them stops
//! all; all are joined; the exit code says which it was.

mod context;
mod health;
mod keep_trying;
mod notify;
mod service;
mod surface;
mod threads;

pub use context::{Stop, ThreadContext};
pub use service::{Command, run_migration, run_service};
pub use surface::Surface;
pub use threads::Supervisor;
