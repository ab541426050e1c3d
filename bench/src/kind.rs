//! The systems that are compared.

use crate::native::Native;
use crate::ours::Ours;
use crate::place::Place;
use crate::system::System;
use anyhow::Result;

/// The systems, in the order in which they are measured and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// PostgreSQL's logical replication with its defaults.
    Native,
    /// The same with `binary` and `streaming`.
    NativeTuned,
    /// The same as the default, but with `synchronous_commit` on in the target, as ours has it.
    NativeDurable,
    Ours,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Native, Kind::NativeTuned, Kind::NativeDurable, Kind::Ours];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Native => "native",
            Kind::NativeTuned => "native tuned",
            Kind::NativeDurable => "native durable",
            Kind::Ours => "this system",
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        self == Kind::Ours
    }

    /// Sets it up in fresh databases, running.
    pub(crate) fn create(self, place: &Place) -> Result<Box<dyn System>> {
        Ok(match self {
            Kind::Ours => Box::new(Ours::create(place)?),
            Kind::Native => Box::new(Native::create(place, "")?),
            Kind::NativeTuned => Box::new(Native::create(place, ", binary = true, streaming = on")?),
            Kind::NativeDurable => Box::new(Native::create(place, ", synchronous_commit = on")?),
        })
    }
}
