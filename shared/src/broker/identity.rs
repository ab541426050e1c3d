//! Who connects to NATS, and how the connection is protected.

use crate::config::{Environment, Given, Secret};
use crate::pem::{self, cannot_be_used, certificates, private_key};
use anyhow::{Context, Result, anyhow, bail, ensure};
use nkeys::KeyPair;
use rustls::ClientConfig;
use rustls::crypto::ring;
use std::fs::read_to_string;
use std::sync::Arc;

/// What each connection needs. The files are read again for each.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) client_name: String,
    login: Option<Login>,
    pub(super) tls: Tls,
}

#[derive(Clone, Debug)]
enum Login {
    Password(String, Secret),
    Token(Secret),
    /// A file with a JWT and the seed of its key.
    Credentials(Given),
    /// A file with the seed of a key.
    Nkey(Given),
}

/// Without any of it, TLS is used where the server asks for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    pub(super) is_required: bool,
    authorities: Option<Given>,
    /// Certificate and key.
    client: Option<(Given, Given)>,
}

impl Identity {
    /// Reads how to log in, and checks the files once. `of_urls` are the logins that `NATS_URL` has; `requires_tls` says
    /// whether one of its servers is `tls://`.
    pub(super) fn from_env(
        environment: &Environment,
        client_name: &str,
        of_urls: Vec<(String, Secret)>,
        requires_tls: bool,
    ) -> Result<Identity> {
        let identity = Identity {
            client_name: client_name.to_owned(),
            login: login(environment, of_urls)?,
            tls: Tls::from_env(environment, requires_tls)?,
        };
        identity.options()?;
        Ok(identity)
    }

    /// What the crate needs to know of it. Reads the files.
    pub(super) fn options(&self) -> Result<nats::Options> {
        let options = match &self.login {
            None => nats::Options::new(),
            Some(Login::Password(user, password)) => nats::Options::with_user_pass(user, password.reveal()),
            Some(Login::Token(token)) => nats::Options::with_token(token.reveal()),
            Some(Login::Credentials(file)) => credentials(file).with_context(|| cannot_be_used(file))?,
            Some(Login::Nkey(file)) => nkey(file).with_context(|| cannot_be_used(file))?,
        };
        self.tls.add_to(options)
    }
}

impl Tls {
    fn from_env(environment: &Environment, requires_tls: bool) -> Result<Tls> {
        let authorities = environment.given("NATS_CA_FILE")?;
        let client = match (environment.given("NATS_CERT_FILE")?, environment.given("NATS_KEY_FILE")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => bail!("NATS_CERT_FILE and NATS_KEY_FILE go together: set both or neither"),
        };
        let is_required = requires_tls || authorities.is_some() || client.is_some();
        Ok(Tls { is_required, authorities, client })
    }

    /// What the files say, for a connection that is not the crate's. Reads them.
    pub(super) fn client_config(&self) -> Result<ClientConfig> {
        let authorities = match &self.authorities {
            Some(file) => pem::authorities(file)?,
            None => pem::authorities_of_this_machine()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities);
        let Some((certificate, key)) = &self.client else { return Ok(builder.with_no_client_auth()) };
        builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .with_context(|| format!("{certificate} and {key} do not go together"))
    }

    /// The crate reads the files itself, and says neither which one it cannot use nor whether one is empty.
    fn add_to(&self, mut options: nats::Options) -> Result<nats::Options> {
        if let Some(file) = &self.authorities {
            certificates(file)?;
            options = options.add_root_certificate(&file.value);
        }
        if let Some((certificate, key)) = &self.client {
            certificates(certificate)?;
            private_key(key)?;
            options = options.client_cert(&certificate.value, &key.value);
        }
        // Also of servers that it learns of, whose addresses say nothing of TLS.
        Ok(options.tls_required(self.is_required))
    }
}

/// One way of logging in, and not two: nobody can tell which one is meant.
fn login(environment: &Environment, of_urls: Vec<(String, Secret)>) -> Result<Option<Login>> {
    let mut ways: Vec<(&str, Login)> = Vec::new();
    for (user, password) in of_urls {
        let is_known = |(_, login): &(&str, Login)| match login {
            Login::Password(known, secret) => *known == user && secret.reveal() == password.reveal(),
            _ => false,
        };
        if !ways.iter().any(is_known) {
            ways.push(("NATS_URL", Login::Password(user, password)));
        }
    }
    match (environment.line("NATS_USER")?, environment.line("NATS_PASSWORD")?) {
        (Some(user), Some(password)) => {
            ways.push(("NATS_USER", Login::Password(user.to_owned(), Secret::new(password))));
        }
        (None, None) => {}
        _ => bail!("NATS_USER and NATS_PASSWORD go together: set both or neither"),
    }
    ways.extend(
        environment.line("NATS_TOKEN")?.map(|token| ("NATS_TOKEN", Login::Token(Secret::new(token)))),
    );
    ways.extend(
        environment.given("NATS_CREDS_FILE")?.map(|file| ("NATS_CREDS_FILE", Login::Credentials(file))),
    );
    ways.extend(environment.given("NATS_NKEY_FILE")?.map(|file| ("NATS_NKEY_FILE", Login::Nkey(file))));
    ensure!(ways.len() < 2, "two logins are set, by {} and by {}: set one", ways[0].0, ways[1].0);
    Ok(ways.pop().map(|(_, login)| login))
}

fn credentials(file: &Given) -> Result<nats::Options> {
    let text = read_to_string(&file.value)?;
    nats::Options::with_static_credentials(&text)
        .map_err(|_| anyhow!("it is no creds file: it needs a NATS USER JWT and a USER NKEY SEED"))
}

fn nkey(file: &Given) -> Result<nats::Options> {
    let text = read_to_string(&file.value)?;
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    let key = seed
        .and_then(|seed| KeyPair::from_seed(seed).ok())
        .context("it has no line with the seed of a user (SU…)")?;
    // A key that came from a seed can sign.
    Ok(nats::Options::with_nkey(&key.public_key(), move |nonce| key.sign(nonce).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(variables: &[(&str, &str)], of_urls: Vec<(String, Secret)>) -> Result<Identity> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Identity::from_env(&Environment::from_pairs(variables), "test", of_urls, false)
    }

    #[test]
    fn what_contradicts_itself_or_cannot_be_read_is_refused() {
        let of_url = || vec![("u".to_owned(), Secret::new("S3cret"))];
        let user = [("NATS_USER", "u"), ("NATS_PASSWORD", "S3cret")];
        let both = |other: (&'static str, &'static str)| [user[0], user[1], other];
        for (variables, urls, reason) in [
            (&user[..1], Vec::new(), "NATS_USER and NATS_PASSWORD go together"),
            (&user[..], of_url(), "by NATS_URL and by NATS_USER"),
            (&both(("NATS_TOKEN", "S3cret")), Vec::new(), "by NATS_USER and by NATS_TOKEN"),
            (
                &[("NATS_TOKEN", "S3cret"), ("NATS_NKEY_FILE", "/n")],
                Vec::new(),
                "by NATS_TOKEN and by NATS_NKEY_FILE",
            ),
            (&[("NATS_CERT_FILE", "/c")], Vec::new(), "NATS_CERT_FILE and NATS_KEY_FILE go together"),
            (
                &[("NATS_CA_FILE", "/nowhere")],
                Vec::new(),
                "NATS_CA_FILE=/nowhere cannot be used: No such file",
            ),
            (
                &[("NATS_CREDS_FILE", "/nowhere")],
                Vec::new(),
                "NATS_CREDS_FILE=/nowhere cannot be used: No such file",
            ),
            (&[("NATS_NKEY_FILE", "/dev/null")], Vec::new(), "no line with the seed of a user"),
        ] {
            let error = format!("{:#}", identity(variables, urls).unwrap_err());
            assert!(error.contains(reason) && !error.contains("S3cret"), "{error}");
        }
        let [first, second] = [of_url(), of_url()];
        assert!(identity(&[], first.into_iter().chain(second).collect()).is_ok(), "the same twice");
    }
}
