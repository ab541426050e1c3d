//! The two databases, as far as they are known.

use crate::demo;
use crate::side::{Name, Side};
use anyhow::{Context, Error, Result, anyhow, bail};
use shared::config::Environment;
use shared::database::Database;
use std::collections::BTreeMap;
use std::time::Duration;

const EXAMPLE: &str = "postgres://user:password@host:5432/database";

/// One or both.
pub(crate) struct Sides {
    source: Option<Side>,
    target: Option<Side>,
}

impl Sides {
    /// Reads the environment. Nothing is connected yet, except where `DATABASE_URL` has to say which side it is.
    pub(crate) fn from_env(statement_timeout: Duration) -> Result<Sides> {
        let variables: BTreeMap<String, String> =
            std::env::vars().filter(|(_, value)| !value.is_empty()).collect();
        shared::logging::start(&logging(&variables), "replicationctl")?;
        let is_given = |name: &str| variables.contains_key(name) || variables.contains_key(&file(name));
        if is_given(Name::Source.variable()) || is_given(Name::Target.variable()) {
            let side = |name: Name| {
                let given = is_given(name.variable()).then(|| side(name, &variables, statement_timeout));
                given.transpose()
            };
            return Ok(Sides { source: side(Name::Source)?, target: side(Name::Target)? });
        }
        if is_given("DATABASE_URL") {
            return Sides::of_a_service(&variables, statement_timeout);
        }
        Sides::of_the_demo(&variables, statement_timeout)
    }

    pub(crate) fn source(&self) -> Result<&Side> {
        self.source.as_ref().ok_or_else(|| missing(Name::Source))
    }

    pub(crate) fn target(&self) -> Result<&Side> {
        self.target.as_ref().ok_or_else(|| missing(Name::Target))
    }

    /// What a side answers; none where it is not known.
    pub(crate) fn ask_source<T>(&self, ask: impl FnOnce(&Side) -> Result<T>) -> Option<Result<T>> {
        self.source.as_ref().map(ask)
    }

    pub(crate) fn ask_target<T>(&self, ask: impl FnOnce(&Side) -> Result<T>) -> Option<Result<T>> {
        self.target.as_ref().map(ask)
    }

    /// Those that are known.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Side> {
        self.source.iter().chain(&self.target)
    }

    /// As in the environment of a service: the database says which side it is, or that it is both.
    fn of_a_service(variables: &BTreeMap<String, String>, timeout: Duration) -> Result<Sides> {
        let read = |name| of_variable(name, "DATABASE_URL", variables.clone(), timeout);
        let (source, target) = (read(Name::Source)?, read(Name::Target)?);
        let sides = Sides {
            source: source.is_there()?.then_some(source),
            target: target.is_there()?.then_some(target),
        };
        if sides.all().next().is_none() {
            bail!(
                "the database of DATABASE_URL has no schema of this system; name both with {} and {}",
                Name::Source.variable(),
                Name::Target.variable()
            );
        }
        Ok(sides)
    }

    fn of_the_demo(variables: &BTreeMap<String, String>, timeout: Duration) -> Result<Sides> {
        let (source, target) = demo::urls(variables)?;
        let side = |name: Name, url: String| {
            // What was meant for something else must not reach these servers.
            let mut variables: BTreeMap<String, String> =
                variables.clone().into_iter().filter(|(name, _)| !name.starts_with("PG")).collect();
            variables.insert(name.variable().to_owned(), url);
            self::side(name, &variables, timeout)
        };
        Ok(Sides { source: Some(side(Name::Source, source)?), target: Some(side(Name::Target, target)?) })
    }
}

/// Quiet while all is well.
fn logging(variables: &BTreeMap<String, String>) -> Environment {
    let level = variables.get("RUST_LOG").cloned().unwrap_or_else(|| "warn".to_owned());
    Environment::from_pairs([("RUST_LOG".to_owned(), level)])
}

fn side(name: Name, variables: &BTreeMap<String, String>, timeout: Duration) -> Result<Side> {
    of_variable(name, name.variable(), variables.clone(), timeout)
}

/// The services' own way to read a URL takes it from `DATABASE_URL`.
fn of_variable(
    name: Name,
    variable: &str,
    mut variables: BTreeMap<String, String>,
    timeout: Duration,
) -> Result<Side> {
    let given = [(variable.to_owned(), "DATABASE_URL".to_owned()), (file(variable), file("DATABASE_URL"))]
        .map(|(given, read)| (read, variables.remove(&given)));
    for (read, value) in given {
        match value {
            Some(value) => variables.insert(read, value),
            None => variables.remove(&read),
        };
    }
    let database = Environment::from_pairs(variables)
        .with_secrets()
        .and_then(|environment| Database::from_env(&environment, "replicationctl", timeout, 1));
    let database = database.map_err(|error| renamed(&error, variable))?;
    Ok(Side::new(name, database))
}

/// The error with the variable that was really read.
fn renamed(error: &Error, variable: &str) -> Error {
    anyhow!(format!("{error:#}").replace("DATABASE_URL", variable))
}

fn file(variable: &str) -> String {
    format!("{variable}_FILE")
}

fn missing(name: Name) -> Error {
    let variable = name.variable();
    anyhow!("this needs the {}: set {variable}, for example {variable}={EXAMPLE}", name.words())
}

/// Fails where a side that is needed is missing, before anything is done at the other.
pub(crate) fn both(sides: &Sides) -> Result<(&Side, &Side)> {
    Ok((sides.source().context("both sides are needed")?, sides.target().context("both sides are needed")?))
}
