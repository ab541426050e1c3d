//! What is asked of the connection to a server: encryption, and proof of who the server is. The words and their meaning
//! are libpq's; where they would protect less than they seem to, they are refused.

use super::certificates;
use super::channel::{Channel, Encryption};
use super::conninfo::Conninfo;
use crate::config::Given;
use anyhow::{Context, Result, bail, ensure};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Mode::Disable => "disable",
            Mode::Prefer => "prefer",
            Mode::Require => "require",
            Mode::VerifyCa => "verify-ca",
            Mode::VerifyFull => "verify-full",
        })
    }
}

/// The settings; the files that they name are read anew for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Security {
    pub(super) mode: Mode,
    is_direct: bool,
    /// A file of certificates, or `system`.
    pub(super) authorities: Option<Given>,
    pub(super) revoked: Option<Given>,
    /// Certificate and key.
    pub(super) client: Option<(Given, Given)>,
}

impl Security {
    /// Fails where the settings contradict each other. `home` has the directory `.postgresql`, whose files count where
    /// they are there and nothing else is said.
    pub(super) fn of(conninfo: &Conninfo, home: Option<&str>) -> Result<Security> {
        let found = |name: &str| {
            let path = Path::new(home?).join(".postgresql").join(name);
            path.exists().then(|| Given::new(format!("the default {name}"), path.display().to_string()))
        };
        let file = |name: &str, default| conninfo.get(name).cloned().or_else(|| found(default));
        let authorities = file("sslrootcert", "root.crt");
        let is_system = authorities.as_ref().is_some_and(is_system);
        let mode = mode(conninfo.get("sslmode"), is_system)?;
        let is_direct = is_direct(conninfo.get("sslnegotiation"))?;
        let security = Security {
            mode,
            is_direct,
            authorities,
            revoked: file("sslcrl", "root.crl"),
            client: client(file("sslcert", "postgresql.crt"), file("sslkey", "postgresql.key"))?,
        };
        security.check(conninfo)?;
        Ok(security)
    }

    fn check(&self, conninfo: &Conninfo) -> Result<()> {
        let Security { mode, is_direct, authorities, .. } = self;
        ensure!(
            !is_direct || *mode >= Mode::Require,
            "sslnegotiation=direct goes with sslmode=require or stronger, and sslmode is {mode}"
        );
        if let Some(given) = authorities.as_ref().filter(|given| is_system(given)) {
            ensure!(
                *mode == Mode::VerifyFull,
                "{given} trusts every authority that the machine knows: it goes with sslmode=verify-full, and sslmode is {mode}"
            );
        }
        if let (Mode::Prefer, Some(given)) = (mode, conninfo.get("sslrootcert")) {
            bail!(
                "{given} protects nothing with sslmode=prefer, which is the default and goes on in plain text where TLS \
                 fails: say sslmode=verify-full"
            );
        }
        ensure!(
            *mode < Mode::VerifyCa || authorities.is_some(),
            "sslmode={mode} needs to know whom to trust: say sslrootcert=FILE, with the certificate of the authority, or \
             sslrootcert=system"
        );
        if let Some(given) = conninfo.get("sslcrl") {
            ensure!(
                self.verifies() || *mode == Mode::Disable,
                "{given} says which certificates are revoked, and none is verified: say sslrootcert, and sslmode=verify-full"
            );
        }
        Ok(())
    }

    /// Whether the server has to prove that an authority knows it. As in libpq, `require` asks for it where there is a file
    /// of authorities.
    pub(super) fn verifies(&self) -> bool {
        self.mode >= Mode::Require && self.authorities.is_some()
    }

    /// Reads the files. Fails where one cannot be used, with its setting and path.
    pub(super) fn load(&self) -> Result<Channel> {
        if self.mode == Mode::Disable {
            return Ok(Channel::plain());
        }
        let config = certificates::client_config(self).context("set up TLS")?;
        Ok(Channel::encrypted(Encryption {
            config: Arc::new(config),
            is_direct: self.is_direct,
            is_required: self.mode >= Mode::Require,
        }))
    }
}

/// Whether these are the authorities that the machine knows.
pub(super) fn is_system(authorities: &Given) -> bool {
    authorities.value == "system"
}

fn mode(given: Option<&Given>, is_system: bool) -> Result<Mode> {
    let Some(given) = given else {
        return Ok(if is_system { Mode::VerifyFull } else { Mode::Prefer });
    };
    match given.value.as_str() {
        "allow" => bail!(
            "{}=allow is not supported: it prefers plain text. Say prefer, or better verify-full",
            given.place()
        ),
        word => {
            let modes = [Mode::Disable, Mode::Prefer, Mode::Require, Mode::VerifyCa, Mode::VerifyFull];
            let mode = modes.into_iter().find(|mode| mode.to_string() == word);
            mode.with_context(|| {
                format!(
                    "invalid value for {}: it takes disable, prefer, require, verify-ca or verify-full",
                    given.place()
                )
            })
        }
    }
}

fn is_direct(given: Option<&Given>) -> Result<bool> {
    match given.map(|given| (given, given.value.as_str())) {
        None | Some((_, "postgres")) => Ok(false),
        Some((_, "direct")) => Ok(true),
        Some((given, _)) => bail!("invalid value for {}: it takes postgres or direct", given.place()),
    }
}

fn client(certificate: Option<Given>, key: Option<Given>) -> Result<Option<(Given, Given)>> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(certificate), None) => bail!("{certificate} has no key: say sslkey as well"),
        (None, Some(key)) => bail!("{key} has no certificate: say sslcert as well"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn security(parameters: &str) -> Result<Security> {
        let url = format!("postgres://u:p@h/d?{parameters}");
        Security::of(&Conninfo::read(&url, &Environment::from_pairs([])).unwrap(), None)
    }

    #[test]
    fn the_words_of_libpq_have_their_meaning() {
        for (parameters, mode, verifies) in [
            ("", Mode::Prefer, false),
            ("sslmode=disable", Mode::Disable, false),
            ("sslmode=require", Mode::Require, false),
            ("sslmode=require&sslrootcert=/ca", Mode::Require, true),
            ("sslmode=verify-ca&sslrootcert=/ca", Mode::VerifyCa, true),
            ("sslmode=verify-full&sslrootcert=/ca&sslcrl=/crl", Mode::VerifyFull, true),
            ("sslrootcert=system", Mode::VerifyFull, true),
            ("sslmode=require&sslnegotiation=direct", Mode::Require, false),
        ] {
            let security = security(parameters).unwrap();
            assert_eq!((security.mode, security.verifies()), (mode, verifies), "{parameters}");
        }
    }

    #[test]
    fn what_would_protect_less_than_it_seems_to_is_refused() {
        for (parameters, reason) in [
            ("sslmode=allow", "it prefers plain text"),
            ("sslmode=safe", "it takes disable, prefer, require, verify-ca or verify-full"),
            ("sslmode=verify-full", "needs to know whom to trust"),
            ("sslmode=verify-ca", "needs to know whom to trust"),
            ("sslrootcert=/ca", "sslrootcert in DATABASE_URL=/ca protects nothing with sslmode=prefer"),
            ("sslmode=prefer&sslrootcert=/ca", "say sslmode=verify-full"),
            ("sslmode=verify-ca&sslrootcert=system", "it goes with sslmode=verify-full"),
            ("sslmode=require&sslcrl=/crl", "none is verified"),
            ("sslnegotiation=direct", "goes with sslmode=require or stronger"),
            ("sslnegotiation=quick", "it takes postgres or direct"),
            ("sslmode=require&sslcert=/c", "sslcert in DATABASE_URL=/c has no key"),
            ("sslmode=require&sslkey=/k", "has no certificate"),
        ] {
            let error = format!("{:#}", security(parameters).unwrap_err());
            assert!(error.contains(reason), "{parameters}: {error}");
        }
    }
}
