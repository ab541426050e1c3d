//! The connection to NATS. The only module that touches the `nats` crate.
//!
//! The crate is the blocking client that this project wants (no async runtime), and it is deprecated:
//! several of its calls can block for ever when a server hangs, and after a lost connection it still
//! accepts messages, into a buffer. So each connection is owned by one thread here, the *link*. Whatever
//! can block, blocks there. Callers hand over messages through a bounded channel, and a watchdog compares
//! the last completed round trip with a deadline. A connection that was lost or hangs is abandoned with
//! its thread, and the caller dials the next server: nothing is resumed on a connection of uncertain fate.
//!
//! What this module does not do: reconnect by itself, retry, or decide what a lost message means.

// The crate as a whole is marked deprecated in favour of an async one; see above.
#![allow(deprecated)]

mod connection;
mod greeting;
mod identity;
pub mod jetstream;
mod link;
mod message;
mod pulse;
mod servers;
mod signing;

pub use connection::Connection;
pub use message::{Incoming, status, status_reason};
pub use servers::Broker;
pub use signing::{Signing, Unsigned};
