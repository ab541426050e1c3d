//! A table's definition in the target, and what it lacks.

use super::keys::other_key_types;
use super::lacking::{carried_columns, find, hold, lacking_key};
use super::statements::{Column, Parts, quote};
use super::table::Table;
use anyhow::{Context, Result};
use postgres::{GenericClient, Statement};
use shared::wire::Shape;
use std::collections::HashMap;

/// What a look-up depends on: names, types and collations of the columns, the name of the table, its owner,
/// and whether triggers fire. Unlike the versions of catalog rows, it does not change where only a constraint or a default
/// does.
const DEFINITIONS: &str = "
    select a.attrelid,
           pg_catalog.concat_ws(' ', c.relnamespace, c.relname, c.relowner,
               exists (select from pg_catalog.pg_trigger t
                       where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled in ('R', 'A')), pg_catalog.string_agg(
               pg_catalog.concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation, a.attgenerated, a.attidentity),
               ',' order by a.attnum))
    from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
    where a.attrelid = any ($1) and a.attnum > 0 and not a.attisdropped
    group by a.attrelid, c.oid";

/// What of a table its owner can change that may run [code](require_trusted_code) of his.
const CODE: &str = "
    select c.oid, pg_catalog.concat_ws(' ', c.relowner,
        (select pg_catalog.string_agg(t.oid::text, ',' order by t.oid) from pg_catalog.pg_trigger t
         where (t.tgrelid = c.oid or c.relkind = 'p' and t.tgrelid in (select p.relid from pg_catalog.pg_partition_tree(c.oid) p))
           and not t.tgisinternal and t.tgenabled in ('R', 'A')),
        (select pg_catalog.string_agg(r.oid::text, ',' order by r.oid) from pg_catalog.pg_rewrite r where r.ev_class = c.oid),
        (select pg_catalog.string_agg(k.oid::text, ',' order by k.oid) from pg_catalog.pg_constraint k
         where k.conrelid = c.oid or k.contypid in (select d.atttypid from pg_catalog.pg_attribute d where d.attrelid = c.oid)),
        (select pg_catalog.string_agg(i.indexrelid::text, ',' order by i.indexrelid) from pg_catalog.pg_index i
         where i.indrelid = c.oid and (i.indexprs is not null or i.indpred is not null)),
        (select pg_catalog.string_agg(s.oid::text, ',' order by s.oid) from pg_catalog.pg_statistic_ext s where s.stxrelid = c.oid),
        (select pg_catalog.string_agg(d.oid::text, ',' order by d.oid) from pg_catalog.pg_attrdef d where d.adrelid = c.oid))
    from pg_catalog.pg_class c where c.oid = any ($1)";

/// Something of each of some tables, as it is now.
pub(super) struct Look {
    query: &'static str,
    statement: Option<Statement>,
}

impl Look {
    /// At their definitions.
    pub(super) const fn at_definitions() -> Look {
        Look { query: DEFINITIONS, statement: None }
    }

    /// At what may run code.
    pub(super) const fn at_code() -> Look {
        Look { query: CODE, statement: None }
    }

    /// Of each of these tables that is there, by oid. Prepares the statement for it the first time.
    pub(super) fn take(
        &mut self,
        client: &mut impl GenericClient,
        relations: &[u32],
    ) -> Result<HashMap<u32, String>> {
        if relations.is_empty() {
            return Ok(HashMap::new());
        }
        let statement = match &self.statement {
            Some(statement) => statement,
            None => self.statement.insert(client.prepare(self.query).context("prepare to look at tables")?),
        };
        let rows = client.query(statement, &[&relations]).context("look at tables")?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Of one table, once.
    fn at(mut self, client: &mut impl GenericClient, relation: u32) -> Result<String> {
        Ok(self.take(client, &[relation])?.remove(&relation).unwrap_or_default())
    }
}

/// Looks up the table of a shape, and creates types and statements for it, under a number of its own. An
/// error that carries [`Fault::Hold`] names what the target lacks, and what to run.
pub(super) fn look_up(client: &mut impl GenericClient, shape: &Shape, number: usize) -> Result<Table> {
    let name = format!("{}.{}", quote(&shape.schema), quote(&shape.table));
    let (relation, role) = find(client, &name)?;
    require_writable(client, relation)?;
    let code =
        has_foreign_owner(client, relation)?.then(|| Look::at_code().at(client, relation)).transpose()?;
    require_trusted_code(client, relation, &name)?;
    let definition = Look::at_definitions().at(client, relation)?;
    let known = columns(client, relation)?;
    let carried = carried_columns(shape, &name, &known)?;
    let key = named(&shape.key, &known);
    let own = known.iter().filter(|column| !shape.columns.contains(&column.name) && !column.generated);
    let (same_key, kept_key) = same_key(client, shape, relation, &name)?;
    if let Some(difference) = other_key_types(shape, &name, &key) {
        return Err(hold(difference));
    }
    let parts = Parts { name: &name, number, carried, key, own: own.collect(), same_key, kept_key };
    client.batch_execute(&parts.create_types()).with_context(|| format!("create the row types of {name}"))?;
    let depth = depth(client, relation)?;
    let has_key_variants = has_key_variants(client, shape, relation)?;
    let immediate = immediate_keys(client, shape, relation)?;
    let upserts = parts.own.is_empty()
        && !parts.has_other_always_identity()
        && immediate.named_by_conflict
        && inserts_go_unnoticed(client, relation)?;
    let mut prepare =
        |sql: String| client.prepare(&sql).with_context(|| format!("prepare to write to {name}"));
    Ok(Table {
        relation,
        code,
        definition,
        depth,
        key_type: parts.key_type(),
        delete: parts.delete(),
        upsert: upserts.then(|| prepare(parts.upsert())).transpose()?,
        update: parts.update(),
        only_inserts: parts.has_other_always_identity(),
        insert: prepare(parts.insert())?,
        insert_missing: parts.insert_missing(),
        is_key_deferrable: !immediate.any,
        existing: parts.existing(),
        first_equal: has_key_variants.then(|| prepare(parts.first_equal())).transpose()?,
        role,
        own_columns: parts.own_columns(),
        name: name.clone(),
    })
}

/// Notes that this table is written to, unless that would send its rows round in a ring of replications.
fn require_writable(client: &mut impl GenericClient, relation: u32) -> Result<()> {
    let row = client
        .query_one("select replication.write_refusal($1::oid::regclass)", &[&relation])
        .context("look up whether a table is replicated from here")?;
    row.get::<_, Option<String>>(0).map_or(Ok(()), |reason| Err(hold(reason)))
}

/// Whether somebody may put code of his into the table who is no superuser.
fn has_foreign_owner(client: &mut impl GenericClient, relation: u32) -> Result<bool> {
    let row = client
        .query_one(
            "select not r.rolsuper from pg_catalog.pg_class c join pg_catalog.pg_roles r on r.oid = c.relowner where c.oid = $1",
            &[&relation],
        )
        .context("look up the owner of a table")?;
    Ok(row.get(0))
}

/// Fails where writing to the table would run code of somebody who may not do what this role may.
pub(super) fn require_trusted_code(client: &mut impl GenericClient, relation: u32, name: &str) -> Result<()> {
    let row = client
        .query_one(
            "select reason, remedy from replication.code_refusal($1::oid::regclass, current_user::regrole)",
            &[&relation],
        )
        .context("look up whose code a table runs")?;
    let refusal: (Option<String>, Option<String>) = (row.get(0), row.get(1));
    refusal.0.zip(refusal.1).map_or(Ok(()), |(reason, remedy)| {
        Err(hold(format!("{name} is not written to: {reason}; run: {remedy}")))
    })
}

fn named<'a>(names: &[String], known: &'a [Column]) -> Vec<&'a Column> {
    names.iter().filter_map(|name| known.iter().find(|column| column.name == *name)).collect()
}

pub(super) fn columns(client: &mut impl GenericClient, relation: u32) -> Result<Vec<Column>> {
    let rows = client
        .query(
            "select a.attname::text,
                    pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname)
                    || coalesce(' collate ' || (select pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(c.collname)
                                                from pg_catalog.pg_collation c
                                                join pg_catalog.pg_namespace cn on cn.oid = c.collnamespace
                                                where c.oid = a.attcollation and a.attcollation <> t.typcollation), ''),
                    a.attgenerated <> '', a.attidentity = 'a', pg_catalog.format_type(a.atttypid, a.atttypmod),
                    replication.equal_texts(a.attcollation), a.attgenerated = 'v'
             from pg_catalog.pg_attribute a
             join pg_catalog.pg_type t on t.oid = a.atttypid
             join pg_catalog.pg_namespace n on n.oid = t.typnamespace
             where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum",
            &[&relation],
        )
        .context("look up the columns of a table")?;
    Ok(rows
        .iter()
        .map(|row| Column {
            name: row.get(0),
            type_name: row.get(1),
            generated: row.get(2),
            always_identity: row.get(3),
            declared_type: row.get(4),
            equal_texts: row.get(5),
            computed_when_read: row.get(6),
        })
        .collect())
}

/// Fails where the table has no unique key on the columns of the source's key.
pub(super) fn require_same_key(
    client: &mut impl GenericClient,
    shape: &Shape,
    relation: u32,
    name: &str,
) -> Result<()> {
    same_key(client, shape, relation, name).map(drop)
}

/// Whether a row `t`, and whether a row `kept`, has the key of `k`, as SQL.
fn same_key(
    client: &mut impl GenericClient,
    shape: &Shape,
    relation: u32,
    name: &str,
) -> Result<(String, String)> {
    let row = client
        .query_one(
            "select replication.key_condition($1::oid::regclass, $2, 't', 'k'),
                    replication.key_condition($1::oid::regclass, $2, 'kept', 'k')",
            &[&relation, &shape.key],
        )
        .context("look up the key of a table")?;
    let conditions: (Option<String>, Option<String>) = (row.get(0), row.get(1));
    match conditions.0.zip(conditions.1) {
        Some(conditions) => Ok(conditions),
        None => Err(hold(lacking_key(client, shape, relation, name)?)),
    }
}

/// Whether two keys can be equal although their text differs. Types of which that is unknown count as such.
fn has_key_variants(client: &mut impl GenericClient, shape: &Shape, relation: u32) -> Result<bool> {
    let row = client
        .query_one(
            "select not replication.key_equality_is_textual($1::oid::regclass, $2)",
            &[&relation, &shape.key],
        )
        .context("look up the types of the key")?;
    Ok(row.get(0))
}

/// Unique indexes on the key that are immediate. Without one, rows with equal keys can exist until a statement or
/// transaction ends.
struct ImmediateKeys {
    any: bool,
    /// There is one that ON CONFLICT can name by its columns: not one WITHOUT OVERLAPS.
    named_by_conflict: bool,
}

fn immediate_keys(client: &mut impl GenericClient, shape: &Shape, relation: u32) -> Result<ImmediateKeys> {
    let row = client
        .query_one(
            "select pg_catalog.count(*) > 0, pg_catalog.count(*) filter (where not i.indisexclusion) > 0
             from pg_catalog.pg_index i
             where i.indrelid = $1 and i.indisunique and i.indimmediate and i.indpred is null and i.indexprs is null
               and i.indnkeyatts = pg_catalog.cardinality($2::text[])
               and not exists (select from pg_catalog.unnest(i.indkey::int2[]) with ordinality as k (attnum, n)
                               join pg_catalog.pg_attribute a on a.attrelid = $1 and a.attnum = k.attnum
                               where k.n <= i.indnkeyatts and a.attname <> all ($2::text[]))",
            &[&relation, &shape.key],
        )
        .context("look up the key of a table")?;
    Ok(ImmediateKeys { any: row.get(0), named_by_conflict: row.get(1) })
}

/// Whether no trigger sees the INSERT of an upsert, and no rule forbids that, even a disabled one.
fn inserts_go_unnoticed(client: &mut impl GenericClient, relation: u32) -> Result<bool> {
    let row = client
        .query_one(
            "select c.relkind = 'r'
                    and not exists (select from pg_catalog.pg_trigger t
                                    where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled in ('R', 'A'))
                    and not exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid and r.ev_type in ('2', '3'))
             from pg_catalog.pg_class c where c.oid = $1",
            &[&relation],
        )
        .context("look up the triggers of a table")?;
    Ok(row.get(0))
}

/// The number of tables from which the table descends by foreign keys, itself included: more than any of
/// them has, unless they descend from it, too.
fn depth(client: &mut impl GenericClient, relation: u32) -> Result<i64> {
    let row = client
        .query_one(
            "with recursive up (relation) as (
                 select $1::oid
                 union
                 select c.confrelid from up
                 join pg_catalog.pg_constraint c on c.conrelid = up.relation and c.contype = 'f')
             select count(*) from up",
            &[&relation],
        )
        .context("look up the parents of a table")?;
    Ok(row.get(0))
}
