-- Tables by the names that people type.

-- The tables that a pattern means: schema.table, or a table of public. In either part, * stands for any characters and ?
-- for one. Never a table of the system.
create or replace function replication.tables_like(pattern text) returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with wanted as (
        select case when position('.' in pattern) > 0 then split_part(pattern, '.', 1) else 'public' end as schema_name,
               case when position('.' in pattern) > 0 then substr(pattern, position('.' in pattern) + 1) else pattern end as table_name
    ), matching as (
        -- Every other character stands for itself.
        select '^' || replace(replace(regexp_replace(w.schema_name, '([^[:alnum:]_*?])', '\\\1', 'g'), '*', '.*'), '?', '.') || '$' as schema_name,
               '^' || replace(replace(regexp_replace(w.table_name, '([^[:alnum:]_*?])', '\\\1', 'g'), '*', '.*'), '?', '.') || '$' as table_name
        from wanted w
    )
    select c.oid::regclass
    from matching m
    join pg_namespace n on n.nspname ~ m.schema_name
    join pg_class c on c.relnamespace = n.oid and c.relname ~ m.table_name
    where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
      and n.nspname not in ('replication', 'pg_catalog', 'information_schema') and n.nspname !~ '^pg_'
    order by n.nspname, c.relname;
end;
