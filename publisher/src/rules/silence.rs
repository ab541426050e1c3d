//! Who may be silent for how long, in multiples of the interval at which a target confirms.

use shared::wire::CONFIRM_INTERVAL;
use std::time::Duration;

/// A processor that has not confirmed for this long counts as gone.
pub const PROCESSOR_GONE_AFTER: Duration = CONFIRM_INTERVAL.saturating_mul(3);
/// The same for a target whose confirms do not count.
pub const UNEXPECTED_GONE_AFTER: Duration = CONFIRM_INTERVAL.saturating_mul(5);
/// A processor that lost its lock notices within seconds; two that confirm for longer than this both hold
/// one.
pub const CONTESTED_AFTER: Duration = CONFIRM_INTERVAL.saturating_mul(15);
/// Without a confirm for this long, the publisher reports it. An outage of a whole zone is usually shorter.
pub const NO_CONFIRM_AFTER: Duration = CONFIRM_INTERVAL.saturating_mul(30);
