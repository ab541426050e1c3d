//! Who may read the objects of the schema, across an upgrade: views are dropped and made again with each version, and
//! default privileges give what is new to whom its owner may never have thought of.

use anyhow::{Context, Result};
use postgres::Transaction;
use postgres::types::ToSql;

/// The relations of the schema, the roles of services, and what is granted on its views, by their names and those of their
/// columns.
const PRESENT: &str = "
    with relation as (
        select c.oid, c.relname, c.relkind, c.relowner, c.relacl from pg_class c
        where c.relnamespace = to_regnamespace('replication') and c.relkind in ('r', 'p', 'v', 'S')
    ), granted as (
        select r.relname, null::name as attname, r.relowner, a.* from relation r, aclexplode(r.relacl) a where r.relkind = 'v'
        union all
        select r.relname, t.attname, r.relowner, a.*
        from relation r join pg_attribute t on t.attrelid = r.oid, aclexplode(t.attacl) a where r.relkind = 'v'
    )
    select (select coalesce(array_agg(oid), '{}') from relation),
           (select coalesce(array_agg(a.grantee), '{}') from relation r, aclexplode(r.relacl) a
            where r.relname in ('progress', 'position') and a.privilege_type = 'UPDATE'),
           (select coalesce(json_agg(json_build_object('view', relname, 'column', attname, 'grantee', grantee::bigint,
                                                       'privilege', privilege_type, 'grantable', is_grantable)), '[]')::text
            from granted where grantee <> relowner)";

/// Takes what default privileges gave on relations that were not there before ($1), but from the services' roles ($2).
const REVOKE: &str = "
    select distinct format('revoke all on %s replication.%I from %s', case c.relkind when 'S' then 'sequence' else 'table' end,
                           c.relname, case a.grantee when 0 then 'public' else a.grantee::regrole::text end)
    from pg_class c
    join pg_default_acl d on d.defaclrole = c.relowner and d.defaclnamespace in (0, c.relnamespace)
                         and d.defaclobjtype = case c.relkind when 'S' then 'S' else 'r' end,
    aclexplode(d.defaclacl) a
    where c.relnamespace = 'replication'::regnamespace and c.relkind in ('r', 'p', 'v', 'S') and c.oid <> all ($1)
      and a.grantee <> c.relowner and a.grantee <> all ($2)";

/// Grants what was granted ($1) on views, and on columns of them, that are there again.
const GRANT: &str = "
    select format('grant %s%s on replication.%I to %s%s', f.privilege, ' (' || quote_ident(f.column) || ')', c.relname,
                  case f.grantee when 0 then 'public' else f.grantee::oid::regrole::text end,
                  case when f.grantable then ' with grant option' else '' end)
    from json_to_recordset($1::text::json) f (view name, \"column\" name, grantee bigint, privilege text, grantable boolean)
    join pg_class c on c.relnamespace = 'replication'::regnamespace and c.relname = f.view and c.relkind = 'v'
    where f.column is null
       or exists (select from pg_attribute t where t.attrelid = c.oid and t.attname = f.column and not t.attisdropped)";

/// What was there before the files of a version are applied.
pub(super) struct Rights {
    relations: Vec<u32>,
    service_roles: Vec<u32>,
    granted: String,
}

impl Rights {
    pub(super) fn read(transaction: &mut Transaction<'_>) -> Result<Rights> {
        let row = transaction.query_one(PRESENT, &[]).context("read the rights on the schema's views")?;
        Ok(Rights { relations: row.get(0), service_roles: row.get(1), granted: row.get(2) })
    }

    /// Takes what default privileges gave on what is new. (A role that may update some tables of ours would be taken for a
    /// service's.)
    pub(super) fn withhold(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        run_each(transaction, REVOKE, &[&self.relations, &self.service_roles])
    }

    /// Makes the rights on what the files have made what they were before; nobody gets more.
    pub(super) fn restore(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        self.withhold(transaction)?;
        run_each(transaction, GRANT, &[&self.granted])
    }
}

/// Runs the statements that a query returns.
fn run_each(
    transaction: &mut Transaction<'_>,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<()> {
    for row in transaction.query(query, parameters).context("look up rights on what is new")? {
        let statement: String = row.get(0);
        transaction.batch_execute(&statement).with_context(|| format!("run {statement}"))?;
    }
    Ok(())
}
