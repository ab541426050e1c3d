//! Where the servers and programs are, as set by `bench-replication.sh`.

use anyhow::{Context, Result, bail};
use postgres::{Client, NoTls};
use shared::broker::Broker;
use shared::config::Environment;
use std::path::PathBuf;
use std::time::Duration;

/// Variables with this prefix are settings of the services.
const SERVICE_SETTING_PREFIX: &str = "BENCH_SERVICE_";
const STREAM_NOT_FOUND: u64 = 10059;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    A,
    B,
}

#[derive(Clone)]
pub(crate) struct Place {
    postgres_a: String,
    postgres_b: String,
    pub(crate) nats_a: String,
    pub(crate) nats_b: String,
    pub(crate) nats_password: String,
    nats_operator_password: String,
    pub(crate) nats_version: String,
    pub(crate) pgbench: PathBuf,
    pub(crate) services: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) results: PathBuf,
    pub(crate) revision: String,
    pub(crate) service_settings: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn from_env() -> Result<Place> {
        let environment = Environment::read();
        let get = |name: &str| {
            let value = environment.optional(name);
            value.map(str::to_owned).with_context(|| format!("{name} is not set: run ./bench-replication.sh"))
        };
        Ok(Place {
            postgres_a: get("BENCH_POSTGRES_A")?,
            postgres_b: get("BENCH_POSTGRES_B")?,
            nats_a: get("BENCH_NATS_A")?,
            nats_b: get("BENCH_NATS_B")?,
            nats_password: get("BENCH_NATS_PASSWORD")?,
            nats_operator_password: get("BENCH_NATS_OPERATOR_PASSWORD")?,
            nats_version: get("BENCH_NATS_VERSION")?,
            pgbench: get("BENCH_PGBENCH")?.into(),
            services: get("BENCH_SERVICES")?.into(),
            run_dir: get("BENCH_RUN_DIR")?.into(),
            results: get("BENCH_RESULTS")?.into(),
            revision: get("BENCH_REVISION")?,
            service_settings: std::env::vars()
                .filter_map(|(name, value)| {
                    Some((name.strip_prefix(SERVICE_SETTING_PREFIX)?.to_owned(), value))
                })
                .collect(),
        })
    }

    pub(crate) fn database_url(&self, zone: Zone, database: &str) -> String {
        let server = match zone {
            Zone::A => &self.postgres_a,
            Zone::B => &self.postgres_b,
        };
        format!("{server}/{database}")
    }

    pub(crate) fn session(&self, zone: Zone, database: &str) -> Result<Client> {
        Client::connect(&self.database_url(zone, database), NoTls)
            .with_context(|| format!("connect to database {database} in {zone:?}"))
    }

    pub(crate) fn database_exists(&self, zone: Zone, database: &str) -> Result<bool> {
        let mut session = self.session(zone, "postgres")?;
        let row = session
            .query_one("select exists (select from pg_database where datname = $1)", &[&database])
            .context("look for a database")?;
        Ok(row.get(0))
    }

    /// Creates an empty database; an existing one of that name is dropped.
    pub(crate) fn create_database(&self, zone: Zone, database: &str) -> Result<Client> {
        self.drop_database(zone, database)?;
        self.session(zone, "postgres")?
            .batch_execute(&format!("create database {database}"))
            .with_context(|| format!("create database {database} in {zone:?}"))?;
        self.session(zone, database)
    }

    pub(crate) fn drop_database(&self, zone: Zone, database: &str) -> Result<()> {
        self.session(zone, "postgres")?
            .batch_execute(&format!("drop database if exists {database} with (force)"))
            .with_context(|| format!("drop database {database} in {zone:?}"))
    }

    /// So that what earlier phases left to be written is not written during the next one.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        for zone in [Zone::A, Zone::B] {
            self.session(zone, "postgres")?.batch_execute("checkpoint").context("checkpoint")?;
        }
        Ok(())
    }

    /// The process that `bench-replication.sh` started as `component`.
    pub(crate) fn component_pid(&self, component: &str) -> Result<u32> {
        let file = self.run_dir.join(format!("{component}.pid"));
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        text.trim().parse().with_context(|| format!("{} holds no pid", file.display()))
    }

    /// Deletes a stream in zone B, if there is one.
    pub(crate) fn delete_stream(&self, stream: &str) -> Result<()> {
        let variables = [
            ("NATS_URL", self.nats_b.as_str()),
            ("NATS_USER", "operator"),
            ("NATS_PASSWORD", self.nats_operator_password.as_str()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let connection = Broker::from_env(&Environment::from_pairs(variables), "bench")?.connect()?;
        let subject = format!("$JS.API.STREAM.DELETE.{stream}");
        let answer = connection.request(&subject, Vec::new(), Duration::from_secs(5))?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.data).context("read NATS' answer")?;
        match answer.pointer("/error/err_code").and_then(serde_json::Value::as_u64) {
            None | Some(STREAM_NOT_FOUND) => Ok(()),
            Some(_) => bail!("delete stream {stream}: {answer}"),
        }
    }
}
