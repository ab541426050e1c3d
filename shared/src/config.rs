//! Configuration: the environment, read once, and checked value by value.
//!
//! A bad value is refused with the variable, the value and what is allowed; it is never silently replaced by
//! a default. Secrets are kept in [`Secret`], which never prints itself.

use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// What can be secret: each can be in a file instead, which the variable of that name with `_FILE` at its end names.
const SECRETS: [&str; 5] = ["DATABASE_URL", "PGPASSWORD", "NATS_URL", "NATS_PASSWORD", "NATS_TOKEN"];
/// Bytes of such a file.
const SECRET_MAX: u64 = 64 * 1024;

/// A snapshot of the environment variables of this process.
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the environment. Variables that are set but empty count as not set.
    pub fn read() -> Environment {
        Environment::from_pairs(std::env::vars())
    }

    /// The same, with each secret that is in a file. Fails where such a file cannot be read, or has nothing in it, and
    /// where the variable is set as well.
    pub fn with_secrets(mut self) -> Result<Environment> {
        for name in SECRETS {
            let file = format!("{name}_FILE");
            let Some(path) = self.line(&file)?.map(str::to_owned) else { continue };
            ensure!(!self.0.contains_key(name), "{name} and {file} are both set; set one of them");
            let value = read_secret(&path).with_context(|| format!("{file}={path} cannot be used"))?;
            self.0.insert(name.to_owned(), value);
        }
        Ok(self)
    }

    /// An environment made of these variables. A value that was read from a file may end with a newline, which
    /// does not count.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Environment {
        let pairs =
            pairs.into_iter().map(|(name, value)| (name, value.trim_end_matches(['\r', '\n']).to_owned()));
        Environment(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The value of `name`, if it is set.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The same, without control characters. The error does not show the value.
    pub fn line(&self, name: &str) -> Result<Option<&str>> {
        match self.optional(name) {
            Some(value) if value.contains(char::is_control) => {
                bail!("{name} is not allowed: it has a control character, such as a newline, within it")
            }
            value => Ok(value),
        }
    }

    /// The same; `example` goes into the error where it is not set.
    pub fn required(&self, name: &str, example: &str) -> Result<&str> {
        self.line(name)?.ok_or_else(|| anyhow!("{name} is not set; set it, for example {name}={example}"))
    }

    /// The same, with its variable.
    pub fn given(&self, name: &str) -> Result<Option<Given>> {
        Ok(self.line(name)?.map(|value| Given::new(name, value)))
    }

    /// True or false.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.optional(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(value) => bail!("{name}={value} is not allowed: it takes true or false"),
        }
    }

    /// Whether the operator has said that nobody reads or changes what passes between this service and its servers.
    pub fn plain_text_is_accepted(&self) -> Result<bool> {
        self.flag("PLAIN_TEXT_ACCEPTED", false)
    }

    /// A whole number within `allowed`.
    pub fn count<T>(&self, name: &str, default: T, allowed: RangeInclusive<T>) -> Result<T>
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        Ok(self.count_if_set(name, allowed)?.unwrap_or(default))
    }

    /// The same; none where it is not set.
    pub fn count_if_set<T>(&self, name: &str, allowed: RangeInclusive<T>) -> Result<Option<T>>
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let Some(value) = self.optional(name) else { return Ok(None) };
        match value.trim().parse::<T>() {
            Ok(number) if allowed.contains(&number) => Ok(Some(number)),
            _ => bail!(
                "{name}={value} is not allowed: it takes a whole number from {} to {}",
                allowed.start(),
                allowed.end()
            ),
        }
    }

    /// A duration in seconds within `allowed`; fractions are accepted.
    pub fn seconds(&self, name: &str, default: f64, allowed: RangeInclusive<f64>) -> Result<Duration> {
        let seconds = match self.optional(name) {
            None => default,
            Some(value) => match value.trim().parse::<f64>() {
                Ok(seconds) if allowed.contains(&seconds) => seconds,
                _ => bail!(
                    "{name}={value} is not allowed: it takes seconds from {} to {}, fractions included",
                    allowed.start(),
                    allowed.end()
                ),
            },
        };
        Ok(Duration::from_secs_f64(seconds))
    }

    /// A word that NATS accepts as a stream name or as one token of a subject.
    pub fn nats_name(&self, name: &str, default: &str) -> Result<String> {
        let value = self.optional(name).unwrap_or(default);
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if value.chars().all(fits) {
            Ok(value.to_owned())
        } else {
            bail!("{name}={value} is not allowed: it takes letters, digits, '-' and '_'")
        }
    }
}

/// The text of a file without the end of its line.
fn read_secret(path: &str) -> Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    ensure!(file.metadata()?.is_file(), "it is not a file");
    file.take(SECRET_MAX + 1).read_to_string(&mut text)?;
    ensure!(text.len() as u64 <= SECRET_MAX, "it has more than {SECRET_MAX} bytes");
    let secret =
        text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    ensure!(!secret.is_empty(), "it is empty");
    Ok(secret.to_owned())
}

/// A value, with the place where it was said. Shows both: it is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    place: String,
    /// The value itself.
    pub value: String,
}

impl Given {
    /// `place` is a variable, or what stands for one in a sentence.
    pub fn new(place: impl Into<String>, value: impl Into<String>) -> Given {
        Given { place: place.into(), value: value.into() }
    }

    /// Where it was said, without the value.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Display for Given {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.place, self.value)
    }
}

/// A value that must not appear in a log: it prints as `***`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` from being printed.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str, value: &str) -> Environment {
        Environment::from_pairs([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_secret_can_be_in_a_file_and_never_in_two_places() {
        let path = std::env::temp_dir().join(format!("secret-{}", std::process::id()));
        let file = path.to_str().unwrap();
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            environment("NATS_PASSWORD_FILE", file).with_secrets()
        };
        for (text, secret) in
            [("a b", "a b"), ("word\n", "word"), ("word\r\n", "word"), ("word\n\n", "word\n")]
        {
            assert_eq!(read(text).unwrap().optional("NATS_PASSWORD"), Some(secret));
        }
        let error = |environment: Result<Environment>| format!("{:#}", environment.err().unwrap());
        assert_eq!(error(read("\n")), format!("NATS_PASSWORD_FILE={file} cannot be used: it is empty"));
        assert!(error(read(&"x".repeat(70_000))).ends_with("it has more than 65536 bytes"));
        let both = [("NATS_PASSWORD", "p"), ("NATS_PASSWORD_FILE", file)];
        let both = Environment::from_pairs(both.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(
            error(both.with_secrets()),
            "NATS_PASSWORD and NATS_PASSWORD_FILE are both set; set one of them"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(error(environment("DATABASE_URL_FILE", file).with_secrets()).contains("No such file"));
    }

    #[test]
    fn fractions_of_seconds_are_accepted() {
        let interval = environment("POLL_INTERVAL", "0.25").seconds("POLL_INTERVAL", 0.5, 0.01..=60.0);
        assert_eq!(interval.unwrap(), Duration::from_millis(250));
    }

    #[test]
    fn a_bad_value_is_refused_with_variable_value_and_what_is_allowed() {
        for value in ["fast", "-1", "0", "NaN", "61", "1s"] {
            let error = environment("POLL_INTERVAL", value)
                .seconds("POLL_INTERVAL", 0.5, 0.01..=60.0)
                .unwrap_err()
                .to_string();
            assert_eq!(
                error,
                format!(
                    "POLL_INTERVAL={value} is not allowed: it takes seconds from 0.01 to 60, fractions included"
                )
            );
        }
        let error = environment("BATCH_SIZE", "2.5").count("BATCH_SIZE", 25, 1..=1000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "BATCH_SIZE=2.5 is not allowed: it takes a whole number from 1 to 1000"
        );
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        assert_eq!(environment("BATCH_SIZE", "").count("BATCH_SIZE", 25, 1..=1000).unwrap(), 25);
    }

    #[test]
    fn a_newline_at_the_end_does_not_count_and_one_within_is_refused() {
        assert_eq!(environment("NATS_PASSWORD", "secret\r\n").line("NATS_PASSWORD").unwrap(), Some("secret"));
        let error = environment("NATS_PASSWORD", "se\ncret").line("NATS_PASSWORD").unwrap_err().to_string();
        assert!(error.starts_with("NATS_PASSWORD is not allowed") && !error.contains("cret"), "{error}");
    }

    #[test]
    fn a_flag_is_true_or_false() {
        assert!(environment("ON", "true").flag("ON", false).unwrap());
        assert!(environment("OTHER", "true").flag("ON", true).unwrap());
        let error = environment("ON", "yes").flag("ON", false).unwrap_err().to_string();
        assert_eq!(error, "ON=yes is not allowed: it takes true or false");
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        assert_eq!(format!("{:?}", Secret::new("password123")), "***");
    }
}
