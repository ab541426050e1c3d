//! The SQL that writes to one table. Every name has its schema, so no search path matters.

/// A column of the target's table.
pub(super) struct Column {
    pub(super) name: String,
    /// With its schema and a collation of its own, without length or precision: an assignment applies these.
    pub(super) type_name: String,
    /// As `format_type` writes it, with length or precision.
    pub(super) declared_type: String,
    /// Which different texts its collation takes for equal, as the source says it of a key: empty for none.
    pub(super) equal_texts: String,
    pub(super) generated: bool,
    /// A generated column that is not stored: VIRTUAL, as PostgreSQL 18 calls it.
    pub(super) computed_when_read: bool,
    /// GENERATED ALWAYS AS IDENTITY: an INSERT may give it a value, an UPDATE may not.
    pub(super) always_identity: bool,
}

/// What the statements are built from.
pub(super) struct Parts<'a> {
    /// The table.
    pub(super) name: &'a str,
    pub(super) number: usize,
    /// The columns that the source sends, in its order.
    pub(super) carried: Vec<&'a Column>,
    pub(super) key: Vec<&'a Column>,
    /// Columns that only the target has, except generated ones.
    pub(super) own: Vec<&'a Column>,
    /// Whether a row `t` has the key of `k`.
    pub(super) same_key: String,
    /// Whether a row `kept` has the key of `k`.
    pub(super) kept_key: String,
}

impl Parts<'_> {
    /// The composite type of this session to which the text of rows is cast.
    pub(super) fn row_type(&self) -> String {
        format!("pg_temp.row_{}", self.number)
    }

    pub(super) fn key_type(&self) -> String {
        format!("pg_temp.key_{}", self.number)
    }

    pub(super) fn create_types(&self) -> String {
        let fields = |columns: &[&Column]| {
            list(columns, |column| format!("{} {}", quote(&column.name), column.type_name))
        };
        format!(
            "create type {} as ({}); create type {} as ({})",
            self.row_type(),
            fields(&self.carried),
            self.key_type(),
            fields(&self.key)
        )
    }

    pub(super) fn delete(&self) -> String {
        format!("delete from {} t using {} k where {}", self.name, self.few_keys(), self.same_key)
    }

    pub(super) fn existing(&self) -> String {
        format!("select count(*) from {} t, {} k where {}", self.name, self.few_keys(), self.same_key)
    }

    pub(super) fn first_equal(&self) -> String {
        // By position: a column of the key may have any name.
        let columns =
            (1..=self.key.len()).map(|number| format!("part_{number}")).collect::<Vec<_>>().join(", ");
        format!(
            "select pg_catalog.first_value(k.number) over (partition by {columns} order by k.number)
             from pg_catalog.unnest($1::text[]::{}[]) with ordinality as k ({columns}, number) order by k.number",
            self.key_type()
        )
    }

    /// Generated columns are left out; identity columns take the source's value.
    pub(super) fn insert(&self) -> String {
        let columns = list(&self.written(), |column| quote(&column.name));
        format!(
            "insert into {} ({columns}) overriding system value select {columns} from {}",
            self.name,
            self.rows()
        )
    }

    /// Inserts rows, or updates those whose key exists.
    pub(super) fn upsert(&self) -> String {
        let conflict = list(&self.key, |column| quote(&column.name));
        let set = self.set("excluded");
        let action = if set.is_empty() { "nothing".to_owned() } else { format!("update set {set}") };
        format!("{} on conflict ({conflict}) do {action}", self.insert())
    }

    /// Updates the rows that exist. None where no column can be set.
    pub(super) fn update(&self) -> Option<String> {
        let set = self.set("k");
        (!set.is_empty()).then(|| {
            format!("update {} t set {set} from {} k where {}", self.name, self.few_rows(), self.same_key)
        })
    }

    /// The assignments of an UPDATE. The key is among them: an equal key may have another text (1.0 and 1.00).
    fn set(&self, row: &str) -> String {
        let mut set = self.written();
        set.retain(|column| !column.always_identity);
        list(&set, |column| format!("{0} = {row}.{0}", quote(&column.name)))
    }

    /// Inserts the rows that do not exist.
    pub(super) fn insert_missing(&self) -> String {
        let columns =
            |prefix: &str| list(&self.written(), |column| format!("{prefix}{}", quote(&column.name)));
        format!(
            "insert into {0} ({1}) overriding system value select {2} from {3} k
             where not exists (select from {0} t where {4})",
            self.name,
            columns(""),
            columns("k."),
            self.few_rows(),
            self.same_key
        )
    }

    /// Whether existing rows can only be written by deleting them first.
    pub(super) fn has_other_always_identity(&self) -> bool {
        let is_key = |column: &Column| self.key.iter().any(|key| key.name == column.name);
        self.carried.iter().any(|column| column.always_identity && !is_key(column))
    }

    /// The columns that get a value.
    pub(super) fn written(&self) -> Vec<&Column> {
        self.carried.iter().copied().filter(|column| !column.generated).collect()
    }

    pub(super) fn rows(&self) -> String {
        format!("pg_catalog.unnest($1::text[]::{}[])", self.row_type())
    }

    /// Keys to find rows of the table by: for the planner there are always ten, so that each is looked up in the
    /// index of the key, as PostgreSQL's own apply worker does. It would read the whole table for each key where the
    /// statistics say that there are more keys than rows: they may date from when the table was small or emptied.
    pub(super) fn few_keys(&self) -> String {
        unnest_few(&self.key_type())
    }

    /// Rows that exist in the table, as [`Self::few_keys`].
    fn few_rows(&self) -> String {
        unnest_few(&self.row_type())
    }
}

/// The planner looks into an array that it knows, and counts ten for the result of a query.
fn unnest_few(row_type: &str) -> String {
    format!("pg_catalog.unnest((select $1::text[]::{row_type}[]))")
}

pub(super) fn list(columns: &[&Column], form: impl Fn(&Column) -> String) -> String {
    columns.iter().map(|column| form(column)).collect::<Vec<_>>().join(", ")
}

/// An identifier as SQL.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
