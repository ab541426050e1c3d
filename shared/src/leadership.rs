//! One leader at a time: a session advisory lock that a service holds for as long as its session lives. A
//! second instance stands by and takes over when the first one's session ends.

use crate::printable::printable;
use crate::supervisor::ThreadContext;
use anyhow::{Context, Result};
use postgres::Client;
use std::time::Duration;

/// How often a standby tries to take over.
const STANDBY_INTERVAL: Duration = Duration::from_millis(500);

/// What only one session at a time can be in a database.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// The publisher of a source.
    Publisher,
    /// The processor of a target.
    Processor,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Publisher => "publisher",
            Role::Processor => "processor",
        }
    }

    /// The program that takes it, as its sessions are named.
    fn program(self) -> &'static str {
        match self {
            Role::Publisher => "outbox-publisher",
            Role::Processor => "inbox-processor",
        }
    }

    /// The table of ours that who has the role must be able to write to.
    fn table(self) -> &'static str {
        match self {
            Role::Publisher => "replication.progress",
            Role::Processor => "replication.position",
        }
    }

    /// The advisory lock's number: the one that `replication.lock_number` gives it (a test in schema.rs
    /// compares).
    pub(crate) fn lock(self) -> i64 {
        match self {
            Role::Publisher => 0x7265_706c_0002,
            Role::Processor => 0x7265_706c_0003,
        }
    }
}

/// A number for the term that begins with this takeover: higher than that of any other before it in
/// this database, unless the database was restored from a backup.
pub fn begin_term(client: &mut Client) -> Result<i64> {
    let row = client.query_one("select pg_current_xact_id()::text::bigint", &[]).context("begin a term")?;
    Ok(row.get(0))
}

/// Waits until this session holds the role; false when a stop is requested instead.
///
/// The session must not be a pooled one, nor go through a transaction pooler: the role ends with it.
pub fn wait_for_role(client: &mut Client, role: Role, context: &ThreadContext) -> Result<bool> {
    let mut waiting = false;
    loop {
        let row = client
            .query_one("select pg_try_advisory_lock($1)", &[&role.lock()])
            .with_context(|| format!("try to become the {}", role.name()))?;
        if row.get(0) {
            return Ok(true);
        }
        if let Some(stranger) = stranger(client, role)? {
            context.unhealthy(&stranger);
        } else {
            if !waiting {
                log::info!("another {} serves this database; standing by to take over", role.name());
                waiting = true;
            }
            context.healthy();
        }
        if context.stop().wait(STANDBY_INTERVAL) {
            return Ok(false);
        }
    }
}

/// Who holds the role's lock without being a service that could lead, and what to run. Any role that may connect can take
/// an advisory lock, and call its session what it likes; but not write to our tables.
fn stranger(client: &mut Client, role: Role) -> Result<Option<String>> {
    let row = client
        .query_opt(
            "select a.pid, a.usename::text, a.application_name
             from pg_locks l join pg_stat_activity a on a.pid = l.pid
             where l.locktype = 'advisory' and l.granted and l.objsubid = 1
               and l.database = (select d.oid from pg_database d where d.datname = current_database())
               and (l.classid::bigint << 32) + l.objid::bigint = $1
               and not coalesce(a.application_name = $2 and coalesce(has_table_privilege(a.usesysid, to_regclass($3), 'update'), true), false)
             limit 1",
            &[&role.lock(), &role.program(), &role.table()],
        )
        .with_context(|| format!("look who is the {}", role.name()))?;
    Ok(row.map(|row| {
        let (pid, user, program): (i32, Option<String>, Option<String>) = (row.get(0), row.get(1), row.get(2));
        format!(
            "the role {} (pid {pid}, application_name {:?}) holds the advisory lock of the {}, and is no {}: end its session, as \
             its role or a superuser: select pg_terminate_backend({pid});",
            printable(&user.unwrap_or_default(), 63),
            printable(&program.unwrap_or_default(), 63),
            role.name(),
            role.program()
        )
    }))
}
