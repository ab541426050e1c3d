//! What operators have paused, on record, in `replication.pause`.

use anyhow::{Context, Result};
use postgres::Client;
use std::time::{Duration, Instant};

/// How often the record is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What a service can be told to pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// The target's tables do not change.
    Applying,
    /// Nothing more is read to be published.
    Publishing,
}

impl Paused {
    fn name(self) -> &'static str {
        match self {
            Paused::Applying => "applying",
            Paused::Publishing => "publishing",
        }
    }
}

/// Whether it is paused, as one session knows it.
pub struct Pause {
    what: Paused,
    looked_at: Option<Instant>,
    /// Since when, by whom and why; none while it is not paused.
    reason: Option<String>,
}

impl Pause {
    /// Not known to be paused, until [`Pause::follow`] has looked.
    pub fn of(what: Paused) -> Pause {
        Pause { what, looked_at: None, reason: None }
    }

    /// Looks at the record, at most ten times a second. Notes there that a pause is obeyed: the caller does nothing more
    /// of it, from now until this finds it resumed. Blocks for two statements at most.
    pub fn follow(&mut self, client: &mut Client) -> Result<()> {
        if self.looked_at.is_some_and(|looked_at| looked_at.elapsed() < LOOK_INTERVAL) {
            return Ok(());
        }
        self.looked_at = Some(Instant::now());
        let found = client
            .query_opt(
                "select pg_catalog.format('since %s by %s: %s', pg_catalog.to_char(p.paused_at, 'YYYY-MM-DD HH24:MI:SS TZ'),
                                          p.paused_by, p.reason),
                        p.obeyed_at is not null
                 from replication.paused p where p.what = $1",
                &[&self.what.name()],
            )
            .with_context(|| format!("look whether {} is paused", self.what.name()))?;
        let reason = found.as_ref().map(|row| row.get::<_, String>(0));
        if found.is_some_and(|row| !row.get::<_, bool>(1)) {
            self.note_obeyed(client)?;
        }
        self.tell(reason.as_deref());
        self.reason = reason;
        Ok(())
    }

    /// Whether it is paused.
    pub fn is_on(&self) -> bool {
        self.reason.is_some()
    }

    /// That it is paused, since when, by whom and why, for people; none while it is not.
    pub fn words(&self) -> Option<String> {
        self.reason.as_ref().map(|reason| format!("{} is paused {reason}", self.what.name()))
    }

    fn note_obeyed(&self, client: &mut Client) -> Result<()> {
        client
            .execute(
                "update replication.pause set obeyed_at = pg_catalog.clock_timestamp()
                 where what = $1 and resumed_at is null and obeyed_at is null",
                &[&self.what.name()],
            )
            .with_context(|| format!("note that {} is paused", self.what.name()))?;
        Ok(())
    }

    fn tell(&self, reason: Option<&str>) {
        match (&self.reason, reason) {
            (None, Some(reason)) => log::warn!("{} is paused {reason}", self.what.name()),
            (Some(_), None) => log::info!("{} resumed", self.what.name()),
            _ => {}
        }
    }
}
