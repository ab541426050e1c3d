//! One database, and how it is asked.

use anyhow::{Context, Result, anyhow, bail};
use postgres::error::SqlState;
use postgres::types::ToSql;
use serde::de::DeserializeOwned;
use shared::database::{Database, Pooled};

/// Values are read and shown alike, whatever the defaults of the server are.
const SESSION: &str =
    "set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set search_path = pg_catalog, pg_temp";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Source,
    Target,
}

impl Name {
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Name::Source => "SOURCE_DATABASE_URL",
            Name::Target => "TARGET_DATABASE_URL",
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Name::Source => "source",
            Name::Target => "target",
        }
    }

    /// The letter under which the scripts and pages know it.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Name::Source => "A",
            Name::Target => "B",
        }
    }

    fn service(self) -> &'static str {
        match self {
            Name::Source => "outbox-publisher",
            Name::Target => "inbox-processor",
        }
    }

    /// A table that only this side has.
    fn own_table(self) -> &'static str {
        match self {
            Name::Source => "replication.progress",
            Name::Target => "replication.position",
        }
    }
}

pub(crate) struct Side {
    name: Name,
    database: Database,
}

impl Side {
    pub(crate) fn new(name: Name, database: Database) -> Side {
        Side { name, database }
    }

    pub(crate) fn name(&self) -> Name {
        self.name
    }

    /// Whether the database has this side's objects.
    pub(crate) fn is_there(&self) -> Result<bool> {
        let row =
            self.connect()?.query_one("select to_regclass($1) is not null", &[&self.name.own_table()])?;
        Ok(row.get(0))
    }

    /// The rows of a query, by the names of their columns.
    pub(crate) fn rows<T: DeserializeOwned>(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<T>> {
        let as_json = format!("select to_json(r)::text from ({query}) r");
        let rows =
            self.connect()?.query(&as_json, parameters).map_err(|error| self.explain(&as_json, error))?;
        rows.iter()
            .map(|row| {
                serde_json::from_str(row.get(0)).with_context(|| format!("read the answer to {query}"))
            })
            .collect()
    }

    /// The one row of a query.
    pub(crate) fn row<T: DeserializeOwned>(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T> {
        match self.rows(query, parameters)?.pop() {
            Some(row) => Ok(row),
            None => bail!("the {} has no row for: {query}", self.name.words()),
        }
    }

    /// Does something.
    pub(crate) fn execute(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<()> {
        self.connect()?.execute(statement, parameters).map_err(|error| self.explain(statement, error))?;
        Ok(())
    }

    fn connect(&self) -> Result<Pooled> {
        let mut connection =
            self.database.connection().with_context(|| format!("the {}", self.name.words()))?;
        connection.batch_execute(SESSION).context("set up the session")?;
        Ok(connection)
    }

    /// The error with what to do about it: PostgreSQL's own hint, or what is missing here.
    fn explain(&self, statement: &str, error: postgres::Error) -> anyhow::Error {
        const MISSING: [SqlState; 5] = [
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::UNDEFINED_COLUMN,
            SqlState::INVALID_SCHEMA_NAME,
            SqlState::UNDEFINED_OBJECT,
        ];
        let side = self.name.words();
        let Some(refused) = error.as_db_error() else {
            return anyhow!(error).context(format!("ask the {side}"));
        };
        if MISSING.contains(refused.code()) && refused.message().contains("replication") {
            return anyhow!(
                "the {side} has no schema \"replication\" of this version ({}); run, as the owner of the database: {} \
                 migrate",
                refused.message(),
                self.name.service()
            );
        }
        if *refused.code() == SqlState::INSUFFICIENT_PRIVILEGE {
            return anyhow!(
                "the {side}: {}; this takes the owner of its schema \"replication\"",
                refused.message()
            );
        }
        let hint = refused.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        let text = format!("the {side}: {}{hint}", refused.message());
        // What the caller may look for.
        anyhow!(error).context(format!("ask for: {statement}")).context(text)
    }
}

/// Whether the error is PostgreSQL's with this SQLSTATE.
pub(crate) fn has_state(error: &anyhow::Error, state: &str) -> bool {
    let states = error.chain().filter_map(|cause| cause.downcast_ref::<postgres::Error>());
    states.filter_map(postgres::Error::code).any(|code| code.code() == state)
}

/// The error as one line for people: what PostgreSQL said is in it once.
pub(crate) fn words(error: &anyhow::Error) -> String {
    let refused = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<postgres::Error>().is_some_and(|error| error.as_db_error().is_some())
    };
    // The outermost says it already.
    if error.chain().skip(1).any(refused) {
        return error.to_string();
    }
    format!("{error:#}")
}
