//! Making connections, within a deadline that covers all of it: name, TCP, login.

use super::channel::{Channel, Failure};
use super::endpoints::{Endpoint, endpoints};
use super::security::Mode;
use super::settings::Settings;
use super::silence::Watch;
use crate::attempts::Attempts;
use crate::fault::Fault;
use crate::metrics::{database_connected, database_lost};
use crate::stopping::receive_until;
use anyhow::{Context, Result, anyhow, ensure};
use crossbeam_channel::bounded;
use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage};
use r2d2::ManageConnection;
use r2d2_postgres::PostgresConnectionManager;
use std::sync::{Arc, LazyLock};
use std::thread::Builder;
use std::time::{Duration, Instant};
use tokio_postgres::config::Config;

/// A connection must be ready within this time.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// An attempt fails by itself, and with its reason, just before it is abandoned.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// With these the server notices within 4 s that a client's machine is gone, and within 1 s, even during a
/// statement, that a client's process is: its session ends, and with it its lock. Nor does it end a session
/// that has nothing to do, or a transaction that takes long, by a default of role or database. (PostgreSQL 17 brought
/// `transaction_timeout`.) The services write also where sessions are read-only by default: a guard against
/// applications, which is not theirs. Notices are for people who type SQL. Nothing here is worth compiling: the
/// planner expects hundreds of thousands of rows of the view `capture_problem`; compiling took ten times what it takes.
const SETTINGS: &str =
    "set tcp_keepalives_idle = 2; set tcp_keepalives_interval = 1; set tcp_keepalives_count = 2;
     set tcp_user_timeout = 4000; set client_connection_check_interval = 1000; set idle_session_timeout = 0;
     set idle_in_transaction_session_timeout = 0;
     select pg_catalog.set_config('transaction_timeout', '0', false)
     where pg_catalog.current_setting('transaction_timeout', true) is not null;
     set default_transaction_read_only = off; set jit = off; set client_min_messages = warning";

/// Each ends by its own timeouts for TCP and login, and the resolver's.
static ATTEMPTS: LazyLock<Attempts> = LazyLock::new(Attempts::default);

/// One server of a database: how to connect to it and to check a connection. Its stream is watched.
type Server = PostgresConnectionManager<Watch>;

/// A connection to one server.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) made_at: Instant,
    server: Server,
}

impl Connected {
    /// Asks the server; fails within the watch's deadlines where it does not answer.
    pub(super) fn check(&mut self) -> Result<(), postgres::Error> {
        self.server.is_valid(&mut self.client).inspect_err(|_| database_lost())
    }

    /// Whether it is known to have ended. Does not block.
    pub(super) fn has_ended(&mut self) -> bool {
        self.server.has_broken(&mut self.client)
    }
}

/// Connects to one database.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    address: Arc<str>,
    settings: Arc<Settings>,
    statement_timeout: Duration,
}

impl Connector {
    pub(super) fn new(settings: Settings, statement_timeout: Duration) -> Connector {
        let endpoints = endpoints(&settings.config);
        if endpoints.iter().any(|endpoint| matches!(endpoint, Endpoint::Unix { .. })) {
            log::warn!(
                "DATABASE_URL uses a Unix socket: a server that hangs is not noticed until it continues"
            );
        }
        let address = address(&endpoints, &settings.config).into();
        Connector { address, settings: Arc::new(settings), statement_timeout }
    }

    /// Logs a warning where others may read what passes.
    pub(super) fn warn_of_plain_text(&self) {
        let Settings { config, security, .. } = &*self.settings;
        if security.mode < Mode::Require && endpoints(config).iter().any(Endpoint::is_elsewhere) {
            log::warn!(
                next = "set sslmode=verify-full and sslrootcert, as docs/security.md says";
                "DATABASE_URL leads to another machine, and sslmode={} allows plain text: rows can be read on the way, and \
                 changed",
                security.mode
            );
        }
    }

    /// The same, with `factor` times the statement timeout.
    pub(super) fn with_timeout_factor(&self, factor: u32) -> Connector {
        Connector { statement_timeout: self.statement_timeout * factor, ..self.clone() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What an error of a connection that is being made is about.
    pub(super) fn connecting(&self) -> String {
        format!("connect to PostgreSQL at {}", self.address)
    }

    /// Sets what a session needs. Not in the startup message: poolers refuse what they do not know there.
    pub(super) fn prepare(&self, client: &mut Client) -> Result<()> {
        let statement_timeout_ms = self.statement_timeout.as_millis();
        client
            .batch_execute(&format!("{SETTINGS}; set statement_timeout = {statement_timeout_ms}"))
            .context("set up the connection")
    }

    /// A new connection, not yet [prepared](Connector::prepare). Waits at most [`CONNECT_DEADLINE`], and not
    /// while the process stops.
    pub(super) fn connect(&self) -> Result<Connected> {
        let deadline = Instant::now() + CONNECT_DEADLINE;
        let (connected, result) = bounded(1);
        let connector = self.clone();
        let attempt = ATTEMPTS.begin()?;
        // Not the supervisor's: looking up a name may hang, and then cannot be joined.
        Builder::new()
            .name("postgres-connect".to_owned())
            .spawn(move || {
                let _attempt = attempt;
                // Where nobody waits any longer, the connection ends here.
                let _ = connected.send(connector.connect_by(deadline));
            })
            .context("start a thread")?;
        let connected = receive_until(&result, deadline + LAST_WORDS)
            .unwrap_or_else(|_| Err(anyhow!("it has not answered for {} s", CONNECT_DEADLINE.as_secs())));
        database_connected(connected.is_ok());
        connected
    }

    /// Tries the servers in turn.
    fn connect_by(&self, ready_by: Instant) -> Result<Connected> {
        let mut last_error = anyhow!("the host has no address");
        let channel = self.settings.security.load()?;
        for endpoint in endpoints(&self.settings.config) {
            for endpoint in endpoint.resolve()? {
                if Instant::now() >= ready_by {
                    return Err(last_error);
                }
                match self.connect_to(&endpoint, &channel, ready_by) {
                    Ok(connected) => return Ok(connected),
                    Err(error) => last_error = error,
                }
            }
        }
        Err(last_error)
    }

    fn connect_to(&self, endpoint: &Endpoint, channel: &Channel, ready_by: Instant) -> Result<Connected> {
        let mut server = self.server(endpoint, channel.clone(), ready_by)?;
        let client = match server.connect() {
            // As libpq does with sslmode=prefer.
            Err(error) if channel.may_be_plain() && is_refusal_of_tls(&error) => {
                log::debug!("connecting in plain text, since TLS to {} failed: {error}", self.address);
                server = self.server(endpoint, Channel::plain(), ready_by)?;
                server.connect()?
            }
            connected => connected?,
        };
        Ok(Connected { client, made_at: Instant::now(), server })
    }

    /// One server only: the watch cannot learn which of several a connection went to, and its probes must go
    /// to the same one.
    fn server(&self, endpoint: &Endpoint, channel: Channel, ready_by: Instant) -> Result<Server> {
        // No timeout at all would be none: it is past in a moment.
        let within = ready_by.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut config = endpoint.config(&self.settings.config, within);
        self.settings.add_password(endpoint, &mut config)?;
        let watch = Watch {
            address: self.address.clone(),
            channel,
            probe: Arc::new(config.clone()),
            statement_timeout: self.statement_timeout,
            ready_by,
        };
        Ok(PostgresConnectionManager::new(config.into(), watch))
    }

    /// A session outside the pool, of which no pooler gives the server to others.
    pub(super) fn session(&self) -> Result<Client> {
        // Before anything is set on a server that may be somebody else's a moment later.
        let own = self.connect().and_then(|Connected { mut client, .. }| {
            self.require_own_server(&mut client)?;
            require_primary(&mut client)?;
            self.prepare(&mut client)?;
            Ok(client)
        });
        own.with_context(|| format!("open a session with PostgreSQL at {}", self.address))
    }

    /// A pooler in transaction mode has no sessions to give: a lock would belong to nobody. It gives
    /// the server of a session to another connection while that session is open, or another server
    /// to the session while its own is busy with the other connection.
    ///
    /// In the simple protocol, since such a pooler may not know prepared statements.
    fn require_own_server(&self, session: &mut Client) -> Result<()> {
        let own = value(session, "select pg_backend_pid()")?;
        let other = value(&mut self.connect()?.client, "begin; select pg_backend_pid()")?;
        if other != own && value(session, "select pg_backend_pid()")? == own {
            return Ok(());
        }
        Err(anyhow!(
            "DATABASE_URL leads through a connection pooler that has no sessions (PgBouncer with pool_mode=transaction, \
             for example): an advisory lock and LISTEN need one. Connect to PostgreSQL itself, or use pool_mode=session"
        )
        .context(Fault::Fatal))
    }
}

/// TLS did not come about, or the server lets nobody in by it (`hostnossl` in its `pg_hba.conf`). A wrong password is no reason
/// to say it once more, in plain text.
fn is_refusal_of_tls(error: &postgres::Error) -> bool {
    Failure::within(error).is_some_and(|failure| failure.is_answer)
        || error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

fn require_primary(client: &mut Client) -> Result<()> {
    ensure!(
        value(client, "select pg_is_in_recovery()")? == "f",
        "it is a standby, which takes no writes. Name the primary, or all servers and let the writable one be found: \
         postgres://user:password@host1:5432,host2:5432/database?target_session_attrs=read-write"
    );
    Ok(())
}

/// The answer to `query`, which has one value, such as the process of the server that carried it out.
fn value(client: &mut Client, query: &str) -> Result<String> {
    let messages = client.simple_query(query).context("ask about the server")?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(row.context("the server does not say")?.to_owned())
}

/// The servers, for people, without credentials.
fn address(endpoints: &[Endpoint], config: &Config) -> String {
    let servers: Vec<String> = endpoints
        .iter()
        .map(|endpoint| match endpoint {
            Endpoint::Tcp { host, port, .. } => format!("{host}:{port}"),
            Endpoint::Unix { directory, port } => format!("{}:{port}", directory.display()),
        })
        .collect();
    format!("{}/{}", servers.join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::fake_server::{FakeServer, STATEMENT_TIMEOUT, database};
    use super::*;

    /// The other one was starting up when this connection was made. It answers by the time of the probe, and
    /// must not vouch for the one that hangs.
    #[test]
    fn a_probe_goes_to_the_server_of_its_connection() {
        let (other, own) = (FakeServer::start(), FakeServer::start());
        other.refuse(true);
        let database = database(&[other.port(), own.port()], 1);
        let mut client = database.connection().unwrap();
        other.refuse(false);
        own.fall_silent();
        let begun = Instant::now();
        let error = client.batch_execute("select 1").unwrap_err();
        let (took, limit) = (begun.elapsed(), Duration::from_secs(20));
        assert!(took < limit && limit < STATEMENT_TIMEOUT, "{took:?}: {error}");
    }
}
