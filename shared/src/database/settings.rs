//! How to connect to the database: what `DATABASE_URL`, libpq's environment variables and its files say.

use super::conninfo::Conninfo;
use super::endpoints::Endpoint;
use super::passfile;
use super::security::Security;
use crate::config::{Environment, Given, Secret};
use anyhow::{Context, Result, anyhow, bail};
use std::error::Error;
use std::path::Path;
use tokio_postgres::config::{ChannelBinding, Config};

const EXAMPLE: &str = "postgres://user:password@host:5432/database";

/// What is needed for each connection. The files are read again for each.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) security: Security,
    /// Where the password is, if nothing else says it.
    password_file: Option<Given>,
}

impl Settings {
    /// Reads and checks them, and the files once.
    pub(super) fn read(environment: &Environment) -> Result<Settings> {
        let url = Secret::new(environment.required("DATABASE_URL", EXAMPLE)?);
        require_one_at(url.reveal())?;
        let home = environment.line("HOME")?;
        let conninfo = Conninfo::read(url.reveal(), environment)?;
        let settings = Settings {
            config: config(&conninfo, environment)?,
            security: Security::of(&conninfo, home).context("DATABASE_URL cannot be used")?,
            password_file: conninfo.get("passfile").cloned().or_else(|| default_password_file(home)),
        };
        settings.security.load()?;
        for endpoint in super::endpoints::endpoints(&settings.config) {
            settings.add_password(&endpoint, &mut settings.config.clone())?;
        }
        Ok(settings)
    }

    /// The password for this server, where only a file says it.
    pub(super) fn add_password(&self, endpoint: &Endpoint, config: &mut Config) -> Result<()> {
        let password = self.config.get_password().filter(|password| !password.is_empty());
        let (None, Some(file)) = (password, &self.password_file) else { return Ok(()) };
        let (host, port) = endpoint.in_password_file();
        let user =
            self.config.get_user().context("DATABASE_URL names no user, and a password file goes by it")?;
        let database = self.config.get_dbname().unwrap_or_default();
        if let Some(password) = passfile::password(file, [&host, &port.to_string(), database, user])? {
            config.password(password);
        }
        Ok(())
    }
}

fn default_password_file(home: Option<&str>) -> Option<Given> {
    let path = Path::new(home?).join(".pgpass");
    path.exists().then(|| Given::new("the default passfile", path.display().to_string()))
}

/// What follows the first @ would be taken for the host, and shown.
fn require_one_at(url: &str) -> Result<()> {
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if is_url && url.split('?').next().is_some_and(|servers| servers.matches('@').count() > 1) {
        bail!(
            "DATABASE_URL has more than one @ (its value is not shown, it may hold a password): within the user, the password \
             and the database's name an @ is written %40, a / is %2F, a ? is %3F; for example {EXAMPLE}"
        );
    }
    Ok(())
}

/// What the client has to know. The error shows nothing of the URL: what cannot be read may be a part of the password.
fn config(conninfo: &Conninfo, environment: &Environment) -> Result<Config> {
    let mut config: Config = conninfo.for_client.parse().map_err(|error: tokio_postgres::Error| {
        let reason =
            error.source().map(ToString::to_string).filter(|reason| reason.starts_with("invalid value"));
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        not_valid(&reason)
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        bail!("DATABASE_URL names no host; for example {EXAMPLE}");
    }
    if config.get_dbname().is_none() {
        bail!("DATABASE_URL names no database; for example {EXAMPLE}");
    }
    if config.get_password().is_none_or(<[u8]>::is_empty)
        && let Some(password) = environment.line("PGPASSWORD")?
    {
        config.password(password);
    }
    config.channel_binding(channel_binding(conninfo.get("channel_binding"))?);
    Ok(config)
}

fn channel_binding(given: Option<&Given>) -> Result<ChannelBinding> {
    match given.map(|given| (given, given.value.as_str())) {
        None | Some((_, "prefer")) => Ok(ChannelBinding::Prefer),
        Some((_, "disable")) => Ok(ChannelBinding::Disable),
        Some((_, "require")) => Ok(ChannelBinding::Require),
        Some((given, _)) => bail!("invalid value for {}: it takes disable, prefer or require", given.place()),
    }
}

/// That a URL is none, without the URL.
pub(super) fn not_valid(reason: &str) -> anyhow::Error {
    anyhow!(
        "DATABASE_URL is not valid (its value is not shown, it may hold a password){reason}; for example {EXAMPLE}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let variables = variables.iter().copied().chain([("DATABASE_URL", url)]);
        Settings::read(&Environment::from_pairs(
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())),
        ))
    }

    #[test]
    fn what_is_refused_of_a_url_is_not_shown() {
        for (url, reason) in [
            ("postgres://postgres:S3cr@t-part@127.0.0.1:9432/a", "an @ is written %40"),
            ("postgres://postgres:a@S3cret/x@127.0.0.1:9432/a", "a / is %2F"),
            ("postgres://postgres:S3cret@127.0.0.1/a?sslmode=verify-full", "needs to know whom to trust"),
            ("postgres://postgres:S3cret@127.0.0.1/a?sslmode=safe", "it takes disable, prefer, require"),
            (
                "postgres://postgres:S3cret@127.0.0.1/a?channel_binding=x",
                "it takes disable, prefer or require",
            ),
            ("postgres://postgres:S3cret@127.0.0.1/a?S3cret", "is not valid"),
            ("host=127.0.0.1 dbname=a password=x S3cret=1", "is not valid"),
            ("host=127.0.0.1 dbname=a password='S3cret", "is not valid"),
            ("postgres://u:p@127.0.0.1:S3cret/a", "invalid value for option `port`"),
        ] {
            let error = format!("{:#}", read(url, &[]).unwrap_err());
            assert!(
                error.contains(reason) && !error.contains("S3cr") && !error.contains("t-part"),
                "{url}: {error}"
            );
        }
        let config =
            read("postgres://us%40er:p%40ss%2F@127.0.0.1:9432/a?application_name=a@b", &[]).unwrap().config;
        assert_eq!((config.get_user(), config.get_password()), (Some("us@er"), Some(&b"p@ss/"[..])));
    }

    #[test]
    fn a_password_is_taken_from_the_variable_where_the_url_has_none() {
        let password = |url| {
            let settings = read(url, &[("PGPASSWORD", "other")]).unwrap();
            settings.config.get_password().map(<[u8]>::to_vec)
        };
        assert_eq!(password("postgres://u:own@127.0.0.1/a").as_deref(), Some(&b"own"[..]));
        for url in ["postgres://u@127.0.0.1/a", "postgres://u:@127.0.0.1/a", "host=127.0.0.1 user=u dbname=a"]
        {
            assert_eq!(password(url).as_deref(), Some(&b"other"[..]), "{url}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_at_the_start() {
        let url = "postgres://u@127.0.0.1/a?sslmode=verify-full&sslrootcert=/nowhere/ca.crt";
        let error = format!("{:#}", read(url, &[]).unwrap_err());
        assert!(
            error.contains("sslrootcert in DATABASE_URL=/nowhere/ca.crt cannot be used: No such file"),
            "{error}"
        );
        let url = "postgres://u@127.0.0.1/a";
        let error = format!("{:#}", read(url, &[("PGPASSFILE", "/nowhere/pass")]).unwrap_err());
        assert!(error.contains("PGPASSFILE=/nowhere/pass cannot be used: No such file"), "{error}");
    }
}
