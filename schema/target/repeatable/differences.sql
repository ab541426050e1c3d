-- What the tables of this target lack, as inbox-processor judges them, before the first row arrives.

-- Judges tables of the source, as its view replication.attached_table describes them, as a JSON array. is_refused: apply
-- would be blocked; otherwise rows are taken, and the difference is one to know of.
create or replace function replication.schema_differences(attached json)
returns table (table_name text, is_refused boolean, difference text, remedy text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with there as (
        select a.table_name, format('%I.%I', a.schema_name, a.plain_name) as quoted, a.columns, a.types, a.key_columns, a.generated,
               c.oid as relation, c.relkind in ('r', 'p') as is_table
        from json_to_recordset(attached) as a (table_name text, schema_name text, plain_name text, columns text[], types text[],
                                               key_columns text[], generated text[])
        left join pg_namespace n on n.nspname = a.schema_name
        left join pg_class c on c.relnamespace = n.oid and c.relname = a.plain_name
    ), there_column as (
        select t.*, sent.name, t.types[sent.number] as type, sent.number, sent.name = any (t.generated) as is_generated
        from there t cross join lateral unnest(t.columns) with ordinality as sent (name, number)
        where t.is_table
    ), here_column as (
        select a.attrelid as relation, a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type,
               a.attgenerated <> '' as is_generated, a.attnotnull and not a.atthasdef and a.attidentity = '' as needs_value
        from pg_attribute a join there t on t.relation = a.attrelid
        where t.is_table and a.attnum > 0 and not a.attisdropped
    )
    select t.table_name, true, 'the target has no such table', format('create it as it is in the source: pg_dump --schema-only --table=''%s''', t.quoted)
    from there t where t.relation is null
    union all
    select t.table_name, true, 'it is no table in the target', 'give what is there another name, and create the table'
    from there t where not t.is_table
    union all
    select s.table_name, true, format('the target has no column %I', s.name), format('ALTER TABLE %s ADD COLUMN %I %s;', s.quoted, s.name, coalesce(s.type, '...'))
    from there_column s where not exists (select from here_column h where h.relation = s.relation and h.name = s.name)
    union all
    select s.table_name, true, format('the target takes no value for its generated column %I', s.name),
           format('ALTER TABLE %s ALTER COLUMN %I DROP EXPRESSION;', s.quoted, s.name)
    from there_column s join here_column h on h.relation = s.relation and h.name = s.name
    where h.is_generated and not s.is_generated
    union all
    select t.table_name, true, format('the target has no unique key on (%s), by which the source finds its rows', key.columns),
           format('ALTER TABLE %s ADD %s (%s);', t.quoted,
                  case when exists (select from pg_index i where i.indrelid = t.relation and i.indisprimary) then 'UNIQUE' else 'PRIMARY KEY' end, key.columns)
    from there t
    cross join lateral (select string_agg(quote_ident(k.name), ', ' order by k.number) as columns
                        from unnest(t.key_columns) with ordinality as k (name, number)) as key
    where t.is_table and replication.key_condition(t.relation, t.key_columns, 't', 'k') is null
    union all
    select s.table_name, false, format('column %I is %s in the source and %s in the target: values are read from their text', s.name, s.type, h.type),
           format('ALTER TABLE %s ALTER COLUMN %I TYPE %s;', s.quoted, s.name, s.type)
    from there_column s join here_column h on h.relation = s.relation and h.name = s.name
    where s.type is distinct from h.type and s.type is not null
    union all
    select t.table_name, h.needs_value,
           case when h.needs_value then format('only the target has the column %I, which is NOT NULL and has no default', h.name)
                else format('only the target has the column %I: rows that are new there get its default', h.name) end,
           case when h.needs_value then format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL; -- or give it a default', t.quoted, h.name) end
    from there t join here_column h on h.relation = t.relation
    where h.name <> all (t.columns) and not h.is_generated
    union all
    select t.table_name, true, r.reason, r.remedy
    from there t cross join lateral replication.accept_refusal(t.relation, null) r
    where t.is_table and r.reason is not null
    order by 1, 2 desc, 3;
end;
comment on function replication.schema_differences(json) is
    'What tables of the source lack here: select json_agg(t) from replication.attached_table t, there, gives the argument.';
