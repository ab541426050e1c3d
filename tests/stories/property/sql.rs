//! A case as SQL. Every table has a key `k` (and `k2`), columns `u`, `v`, `g` and one column `up…` for each
//! foreign key.

use super::model::{Case, Change, Key, Reference, Table, Unique};

impl Case {
    pub(crate) fn table_names(&self) -> Vec<String> {
        (0..self.tables.len()).map(|number| format!("t{number}")).collect()
    }

    /// The statements that make the tables in the source.
    pub(crate) fn create_in_source(&self) -> String {
        self.create(|columns| columns)
    }

    /// The same in the target.
    pub(crate) fn create_in_target(&self) -> String {
        if !self.target_differs {
            return self.create_in_source();
        }
        self.create(|mut columns| {
            columns.reverse();
            columns.insert(1, "own text not null default 'own'".to_owned());
            columns
        })
    }

    fn create(&self, arrange: impl Fn(Vec<String>) -> Vec<String>) -> String {
        let tables = self.tables.iter().enumerate().map(|(number, table)| {
            let columns = arrange(self.columns(table)).join(", ");
            format!("create table t{number} ({columns}, {})", constraints(table))
        });
        let references = self.tables.iter().enumerate().flat_map(|(number, table)| {
            self.references(table).map(move |(place, reference, to)| {
                let Reference { on_delete, on_update, deferrable, .. } = reference;
                let deferrable = if *deferrable { "deferrable initially deferred" } else { "" };
                format!(
                    "alter table t{number} add foreign key (up{place}) references t{to} on delete {on_delete} \
                     on update {on_update} {deferrable}"
                )
            })
        });
        tables.chain(references).collect::<Vec<_>>().join(";\n")
    }

    fn columns(&self, table: &Table) -> Vec<String> {
        let mut columns = vec![format!("k {}", table.key.sql_type())];
        if table.key == Key::Composite {
            columns.push("k2 text not null default 'x'".to_owned());
        }
        columns.push("u int".to_owned());
        columns.push("v text default 'default'".to_owned());
        if table.generated {
            columns.push("g int generated always as (u * 2) stored".to_owned());
        }
        for (place, _, to) in self.references(table) {
            columns.push(format!("up{place} {}", self.tables[to].key.sql_type()));
        }
        columns
    }

    /// The foreign keys that are possible, each with its place and the number of the table that it refers to.
    fn references<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = (usize, &'a Reference, usize)> {
        table.references.iter().enumerate().filter_map(|(place, reference)| {
            let to = reference.to % self.tables.len();
            let target = &self.tables[to];
            (target.key != Key::Composite && !target.key_deferrable).then_some((place, reference, to))
        })
    }

    /// The statements that fill the tables before the sessions begin.
    pub(crate) fn fill(&self) -> String {
        let tables = self.tables.iter().enumerate().filter(|(_, table)| table.rows > 0);
        let fills = tables.map(|(number, table)| {
            let k = table.key.value("i");
            format!("insert into t{number} (k, u) select {k}, i from generate_series(1, {}) i", table.rows)
        });
        fills.collect::<Vec<_>>().join(";\n")
    }

    /// A change of table `number`, counted round.
    pub(crate) fn statement(&self, number: usize, change: &Change) -> String {
        let number = number % self.tables.len();
        let table = &self.tables[number];
        let key = |value: u8| table.key.value(&value.to_string());
        let up = |value: Option<u8>| self.up(table, value);
        match change {
            Change::Insert { key: k, unique, up: value, conflict } => {
                let conflict = match *conflict {
                    "do update" => format!("on conflict ({}) do update set u = excluded.u, v = 'upserted'", table.key.columns()),
                    "do nothing" => "on conflict do nothing".to_owned(),
                    _ => String::new(),
                };
                let (columns, values) = up(*value);
                format!("insert into t{number} (k, u{columns}) values ({}, {}{values}) {conflict}", key(*k), null_or(*unique))
            }
            Change::InsertMany { from, count, up: value } => {
                let (columns, values) = up(*value);
                let k = table.key.value("i");
                let conflict = if has_deferrable(table) { "" } else { "on conflict do nothing" };
                format!(
                    "insert into t{number} (k, u, v{columns}) select {k}, i + 50, 'many'{values} \
                     from generate_series({from}, {from} + {count}) i {conflict}"
                )
            }
            Change::MoveKey { from, to } => format!("update t{number} set k = {} where k = {}", key(*to), key(*from)),
            Change::ShiftKeys { by } => format!("update t{number} set k = {}", table.key.shifted(*by)),
            Change::SetUnique { key: k, unique } => format!("update t{number} set u = {} where k = {}", null_or(*unique), key(*k)),
            Change::SwapUnique { one, other } => format!(
                "with a as (select u from t{number} where u = {one}) update t{number} set u = -1000 where u = {one};
                 update t{number} set u = {one} where u = {other}; update t{number} set u = {other} where u = -1000"
            ),
            // The lowest becomes the highest, and so on.
            Change::ReverseUnique => format!(
                "update t{number} set u = -1 - u; update t{number} set u = u - (select min(u) from t{number})"
            ),
            Change::SetUp { key: k, up: value } => {
                let value = |to: usize| {
                    value.map_or("null".to_owned(), |value| self.tables[to].key.value(&value.to_string()))
                };
                let set: Vec<String> = self
                    .references(table)
                    .map(|(place, _, to)| format!(", up{place} = {}", value(to)))
                    .collect();
                let set = set.concat();
                format!("update t{number} set v = 'up'{set} where k = {}", key(*k))
            }
            Change::Touch { modulo } => format!("update t{number} set v = v || '.' where u % {modulo} = 0"),
            Change::Delete { from, to } => format!("delete from t{number} where k between {} and {}", key(*from), key(*to)),
            Change::Truncate => format!("truncate t{number} cascade"),
            Change::ParentAndChild { parent, child } => self.parent_and_child(number, *parent, *child),
            Change::DeleteAndInsert { gone, new } => format!(
                "with gone as (delete from t{number} where k = {} returning u) insert into t{number} (k, u) select {}, max(u) from gone",
                key(*gone),
                key(*new)
            ),
        }
    }

    /// Both are born in one statement, in the order that the database likes.
    fn parent_and_child(&self, number: usize, parent: u8, child: u8) -> String {
        let table = &self.tables[number];
        let Some((place, _, to)) = self.references(table).next() else {
            return format!("insert into t{number} (k) values ({})", table.key.value(&child.to_string()));
        };
        format!(
            "with p as (insert into t{to} (k) values ({}) returning k) insert into t{number} (k, up{place}) select {}, k from p",
            self.tables[to].key.value(&parent.to_string()),
            table.key.value(&child.to_string())
        )
    }

    fn up(&self, table: &Table, value: Option<u8>) -> (String, String) {
        let Some(value) = value else { return (String::new(), String::new()) };
        self.references(table)
            .map(|(place, _, to)| {
                (format!(", up{place}"), format!(", {}", self.tables[to].key.value(&value.to_string())))
            })
            .unzip()
    }
}

fn constraints(table: &Table) -> String {
    let deferrable = if table.key_deferrable { " deferrable initially immediate" } else { "" };
    let unique = match table.unique {
        Unique::No => "",
        Unique::Column => ", unique (u)",
        Unique::Deferred => ", unique (u) deferrable initially deferred",
        Unique::Pair => ", unique (u, v)",
    };
    format!("primary key ({}){deferrable}{unique}", table.key.columns())
}

/// Then PostgreSQL knows no ON CONFLICT.
fn has_deferrable(table: &Table) -> bool {
    table.key_deferrable || table.unique == Unique::Deferred
}

fn null_or(value: Option<u8>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

impl Key {
    fn sql_type(self) -> &'static str {
        match self {
            Key::Int | Key::Composite => "int",
            Key::Text => "text",
            Key::Numeric => "numeric",
        }
    }

    fn columns(self) -> &'static str {
        if self == Key::Composite { "k, k2" } else { "k" }
    }

    /// A number as a key; numerics now and then with another scale, which is the same key.
    fn value(self, number: &str) -> String {
        match self {
            Key::Int | Key::Composite => number.to_owned(),
            Key::Text => format!("('key \"' || {number} || '\"')"),
            Key::Numeric => format!("round({number}, ({number}) % 3)"),
        }
    }

    fn shifted(self, by: i8) -> String {
        match self {
            Key::Int | Key::Composite => format!("k + {by}"),
            Key::Numeric => format!("round(k + {by}, {})", by.unsigned_abs()),
            Key::Text => format!("k || '{by}'"),
        }
    }
}
