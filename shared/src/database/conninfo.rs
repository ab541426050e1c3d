//! What `DATABASE_URL` and libpq's environment variables say, parameter by parameter.
//!
//! The client knows fewer parameters than libpq. Those that it does not know are taken out here, and one that nobody
//! knows, or that is of no use here, is refused: a parameter that is ignored may be the one that was to protect.

use super::settings::not_valid;
use crate::config::{Environment, Given};
use anyhow::{Result, bail};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What this project does with a parameter by itself, with the environment variable that libpq reads where the
/// parameter is not said.
const OWN: [(&str, &str); 8] = [
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslcrl", "PGSSLCRL"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("passfile", "PGPASSFILE"),
];

/// What libpq knows and this project does not, with the values that change nothing.
const UNKNOWN: [(&str, &str, &[&str]); 24] = [
    ("service", "PGSERVICE", &[]),
    ("servicefile", "", &[]),
    ("sslcompression", "PGSSLCOMPRESSION", &["0"]),
    ("sslcertmode", "PGSSLCERTMODE", &["allow"]),
    ("sslpassword", "", &[]),
    ("sslcrldir", "PGSSLCRLDIR", &[]),
    ("sslsni", "PGSSLSNI", &["1"]),
    ("sslkeylogfile", "", &[]),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", &["TLSv1.3"]),
    ("requiressl", "PGREQUIRESSL", &["0"]),
    ("requirepeer", "PGREQUIREPEER", &[]),
    ("require_auth", "PGREQUIREAUTH", &[]),
    ("gssencmode", "PGGSSENCMODE", &["disable", "prefer"]),
    ("gssdelegation", "PGGSSDELEGATION", &["0"]),
    ("gsslib", "PGGSSLIB", &[]),
    ("krbsrvname", "PGKRBSRVNAME", &[]),
    ("min_protocol_version", "PGMINPROTOCOLVERSION", &["3.0"]),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION", &[]),
    ("client_encoding", "PGCLIENTENCODING", &["UTF8", "utf8", "UTF-8"]),
    ("datestyle", "PGDATESTYLE", &[]),
    ("timezone", "PGTZ", &[]),
    ("geqo", "PGGEQO", &[]),
    ("replication", "", &[]),
];

/// What the client knows, and `DATABASE_URL` has to say: the variable is refused where it would have counted.
/// (`PGAPPNAME` never counts: the services say who they are.)
const SAID_IN_URL: [(&str, &str); 9] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("options", "PGOPTIONS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
];

/// The parameters of a connection.
pub(super) struct Conninfo {
    /// What the client understands.
    pub(super) for_client: String,
    own: BTreeMap<&'static str, Given>,
}

impl Conninfo {
    /// Takes apart `DATABASE_URL`, and adds what the environment says besides. An error shows no value that may be a
    /// password.
    pub(super) fn read(url: &str, environment: &Environment) -> Result<Conninfo> {
        let Parsed { server, mut said, parameters } = parse(url).ok_or_else(|| not_valid(""))?;
        let (mut own, mut others) = (BTreeMap::new(), Vec::new());
        for (name, value) in parameters {
            said.push(name.clone());
            if let Some((known, _)) = OWN.iter().find(|(known, _)| *known == name) {
                own.insert(*known, Given::new(format!("{known} in DATABASE_URL"), value));
            } else if let Some((_, _, harmless)) = UNKNOWN.iter().find(|(known, ..)| *known == name) {
                if !harmless.contains(&value.as_str()) {
                    bail!("DATABASE_URL says {name}, which the services do not support; leave it out");
                }
            } else {
                others.push((name, value));
            }
        }
        let is_said = |name: &str| said.iter().any(|said| said == name);
        for (name, variable) in OWN.iter().filter(|(name, _)| !is_said(name)) {
            if let Some(value) = environment.line(variable)? {
                own.insert(name, Given::new(*variable, value));
            }
        }
        own.retain(|_, given| !given.value.is_empty());
        refuse_variables(environment, &is_said)?;
        Ok(Conninfo { for_client: for_client(server, &others), own })
    }

    /// What is said of one of [`OWN`].
    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.own.get(name)
    }
}

/// Those that libpq would have listened to and the services do not.
fn refuse_variables(environment: &Environment, is_said: &dyn Fn(&str) -> bool) -> Result<()> {
    let says = |variable: &str, harmless: &[&str]| {
        environment.optional(variable).is_some_and(|value| !harmless.contains(&value))
    };
    for (name, variable) in SAID_IN_URL.iter().filter(|(name, _)| !is_said(name)) {
        if says(variable, &[]) {
            bail!(
                "{variable} is set, which the services do not read: say {name} in DATABASE_URL, or unset {variable}"
            );
        }
    }
    for (name, variable, harmless) in UNKNOWN.iter().filter(|(name, ..)| !is_said(name)) {
        if !variable.is_empty() && says(variable, harmless) {
            bail!("{variable} is set, and the services do not support {name}; unset it");
        }
    }
    Ok(())
}

/// `postgres://` with what is before the parameters; none in the form of `name=value`.
struct Parsed<'a> {
    server: Option<&'a str>,
    /// What `server` says by its form.
    said: Vec<String>,
    parameters: Vec<(String, String)>,
}

fn for_client(server: Option<&str>, parameters: &[(String, String)]) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    if let Some(server) = server {
        let pairs = parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        return format!("{server}?{}", pairs.collect::<Vec<_>>().join("&"));
    }
    let pairs = parameters.iter().map(|(name, value)| format!("{name}='{}'", quoted(value)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// None where it cannot be read.
fn parse(url: &str) -> Option<Parsed<'_>> {
    let scheme = ["postgres://", "postgresql://"].iter().find(|scheme| url.starts_with(**scheme));
    let Some(scheme) = scheme else {
        return Some(Parsed { server: None, said: Vec::new(), parameters: parse_pairs(url)? });
    };
    let rest = &url[scheme.len()..];
    // As in libpq, a login may have a ? in it; and for the client a /.
    let login = rest.find('@').filter(|at| !(rest[..*at].contains('/') && rest[..*at].contains('?')));
    let after_login = scheme.len() + login.map_or(0, |at| at + 1);
    let query = url[after_login..].find('?').map(|at| after_login + at);
    let server = &url[..query.unwrap_or(url.len())];
    let mut parameters = Vec::new();
    for pair in query.map_or("", |at| &url[at + 1..]).split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let decoded = |text| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
        parameters.push((decoded(name)?, decoded(value)?));
    }
    Some(Parsed {
        server: Some(server),
        said: said_by_form(&rest[..login.unwrap_or(0)], &server[after_login..]),
        parameters,
    })
}

/// What `user:password` and `host:port,host:port/database` say.
fn said_by_form(login: &str, servers: &str) -> Vec<String> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (hosts, database) = servers.split_once('/').unwrap_or((servers, ""));
    let has_port =
        hosts.split(',').any(|host| host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']')));
    [("user", !user.is_empty()), ("password", !password.is_empty()), ("host", !hosts.is_empty())]
        .into_iter()
        .chain([("port", has_port), ("dbname", !database.is_empty())])
        .filter(|(_, is_said)| *is_said)
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// `name=value` and `name='va\'lue'`, with spaces between them.
fn parse_pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = parse_value(behind.trim_start())?;
        pairs.push((name.trim_end().to_owned(), value));
        rest = behind.trim_start();
    }
    Some(pairs)
}

/// The value, and what comes behind it.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let (is_quoted, mut value) = (text.starts_with('\''), String::new());
    let mut characters = text.char_indices().skip(usize::from(is_quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, character)| character)),
            '\'' if is_quoted => return Some((value, &text[at + 1..])),
            _ if !is_quoted && character.is_whitespace() => return Some((value, &text[at..])),
            _ => value.push(character),
        }
    }
    (!is_quoted).then_some((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::config::Config;

    fn read(url: &str, variables: &[(&str, &str)]) -> Result<Conninfo> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Conninfo::read(url, &Environment::from_pairs(variables))
    }

    #[test]
    fn both_forms_say_the_same() {
        for url in [
            "postgres://us%40er:p%3Fw@a:1,b:2/d?sslrootcert=/ca%20x&sslmode=verify-full&options=-c%20a%3D1%26",
            "user=us@er password='p?w' host=a,b port = 1,2 dbname=d sslrootcert='/ca x' sslmode=verify-full options='-c a=1&'",
        ] {
            let conninfo = read(url, &[]).unwrap();
            assert_eq!(conninfo.get("sslrootcert").unwrap().value, "/ca x");
            assert_eq!(conninfo.get("sslmode").unwrap().to_string(), "sslmode in DATABASE_URL=verify-full");
            let config: Config = conninfo.for_client.parse().unwrap();
            assert_eq!((config.get_user(), config.get_password()), (Some("us@er"), Some(&b"p?w"[..])));
            assert_eq!((config.get_dbname(), config.get_options()), (Some("d"), Some("-c a=1&")));
            assert_eq!((config.get_hosts().len(), config.get_ports()), (2, &[1, 2][..]));
        }
        let config: Config =
            read(r"host=a dbname=d password='a\'b\\c'", &[]).unwrap().for_client.parse().unwrap();
        assert_eq!(config.get_password(), Some(&br"a'b\c"[..]));
    }

    #[test]
    fn a_question_mark_in_a_password_and_an_at_in_a_parameter_are_told_from_others() {
        let conninfo = read("postgres://u:a?sslmode=x@h/d?sslmode=require", &[]).unwrap();
        assert_eq!(conninfo.get("sslmode").unwrap().value, "require");
        let conninfo = read("postgres://h/d?sslmode=require&options=a@b", &[]).unwrap();
        assert_eq!(conninfo.get("sslmode").unwrap().value, "require");
        let config: Config = conninfo.for_client.parse().unwrap();
        assert_eq!((config.get_user(), config.get_options()), (None, Some("a@b")));
    }

    #[test]
    fn a_variable_counts_where_the_url_does_not_say_it() {
        let sslmode = |url| {
            let conninfo = read(url, &[("PGSSLMODE", "require")]).unwrap();
            conninfo.get("sslmode").unwrap().to_string()
        };
        assert_eq!(sslmode("host=h dbname=d"), "PGSSLMODE=require");
        assert_eq!(sslmode("host=h dbname=d sslmode=disable"), "sslmode in DATABASE_URL=disable");
    }

    #[test]
    fn what_libpq_would_have_listened_to_is_never_ignored() {
        let url = "postgres://u:p@h:5432/d";
        for (variable, value) in
            [("PGSERVICE", "S3cret"), ("PGREQUIRESSL", "1"), ("PGOPTIONS", "-c S3cret=1")]
        {
            let error = read(url, &[(variable, value)]).err().unwrap().to_string();
            assert!(error.starts_with(variable) && !error.contains("S3cret"), "{error}");
        }
        for (variable, value) in [("PGHOST", "x"), ("PGPORT", "1"), ("PGUSER", "x"), ("PGDATABASE", "x")] {
            assert!(read(url, &[(variable, value)]).is_ok(), "{variable} is said by the URL");
            assert!(read("postgres://", &[(variable, value)]).is_err(), "{variable} is not said");
        }
        assert!(read("postgres://u:p@h/d", &[("PGPORT", "1")]).is_err());
        assert!(read(url, &[("PGGSSENCMODE", "disable"), ("PGDATA", "/d"), ("PGAPPNAME", "x")]).is_ok());
        for parameter in
            ["sslcrldir=/x", "require_auth=none", "sslpassword=S3cret", "ssl_min_protocol_version=TLSv1.3"]
        {
            let error = read(&format!("{url}?{parameter}"), &[]).err().unwrap().to_string();
            let name = parameter.split('=').next().unwrap();
            assert!(error.contains(name) && !error.contains("S3cret"), "{error}");
        }
        assert!(read(&format!("{url}?gssencmode=disable&sslsni=1"), &[]).is_ok());
    }
}
