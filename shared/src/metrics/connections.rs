//! Whether this process is connected to its database and to NATS, and how often it had to connect again.

use super::readings::{Reading, Readings, single};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static DATABASE: Database = Database {
    connected: AtomicBool::new(false),
    ever: AtomicBool::new(false),
    reconnects: AtomicU64::new(0),
};
static NATS_OPEN: AtomicU64 = AtomicU64::new(0);
static NATS_RECONNECTS: AtomicU64 = AtomicU64::new(0);

struct Database {
    connected: AtomicBool,
    ever: AtomicBool,
    reconnects: AtomicU64,
}

/// A connection to PostgreSQL was made, or could not be.
pub(crate) fn database_connected(connected: bool) {
    let before = DATABASE.connected.swap(connected, Ordering::AcqRel);
    if connected && !before && DATABASE.ever.swap(true, Ordering::AcqRel) {
        DATABASE.reconnects.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection to PostgreSQL was found to have ended.
pub(crate) fn database_lost() {
    DATABASE.connected.store(false, Ordering::Release);
}

/// A connection to NATS was made.
pub(crate) fn nats_opened() {
    NATS_OPEN.fetch_add(1, Ordering::AcqRel);
}

/// One was made by who has had one before.
pub(crate) fn nats_reconnected() {
    NATS_RECONNECTS.fetch_add(1, Ordering::Relaxed);
}

/// A connection to NATS was given up.
pub(crate) fn nats_closed() {
    NATS_OPEN.fetch_sub(1, Ordering::AcqRel);
}

/// Whether the last attempt to reach PostgreSQL succeeded.
pub(crate) fn is_database_connected() -> bool {
    DATABASE.connected.load(Ordering::Acquire)
}

/// Whether there is a connection to NATS.
pub(crate) fn is_nats_connected() -> bool {
    NATS_OPEN.load(Ordering::Acquire) > 0
}

/// Of a service that uses NATS, or none.
pub(super) fn readings(has_nats: bool) -> Readings {
    let mut readings = vec![
        Reading::gauge(
            "database_connected",
            "1 while the last attempt to reach PostgreSQL succeeded",
            &[],
            || single(Some(f64::from(u8::from(DATABASE.connected.load(Ordering::Acquire))))),
        ),
        Reading::counter(
            "database_reconnects",
            "Times that PostgreSQL was reached again after it was not",
            &[],
            || single(Some(counted(&DATABASE.reconnects))),
        ),
    ];
    if has_nats {
        readings.extend([
            Reading::gauge("nats_connected", "1 while there is a connection to NATS", &[], || {
                single(Some(counted(&NATS_OPEN).min(1.0)))
            }),
            Reading::counter("nats_reconnects", "Connections to NATS that were made again", &[], || {
                single(Some(counted(&NATS_RECONNECTS)))
            }),
        ]);
    }
    Readings::new(readings)
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn counted(number: &AtomicU64) -> f64 {
    number.load(Ordering::Acquire) as f64
}
