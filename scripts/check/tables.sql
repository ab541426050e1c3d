-- The attached tables, as check-replication.sh counts them: the smallest first, as many as have a gigabyte together, and at
-- most five hundred. Each column becomes one line "name=value".

-- An error of this session (a timeout, a missing schema) is not an error of the system.
set log_min_messages = panic;
set statement_timeout = '20s';
set search_path = pg_catalog, pg_temp;

select to_regclass('replication.source_status') is not null as has_schema \gset
\echo a_has_schema=:has_schema
\if :has_schema
    with attached as (
        select s.schema_name, s.table_name, s.schema_name || '.' || s.table_name as plain, c.oid, pg_table_size(c.oid) as bytes,
               regexp_replace(regexp_replace(s.schema_name || '.' || s.table_name, '^public\.', ''), '[[:cntrl:]]', '?', 'g') as shown,
               case when not has_table_privilege(c.oid, 'select') or not has_schema_privilege(n.oid, 'usage') then 'this role may not read it in A'
                    when row_security_active(c.oid) then 'row security hides rows from this role in A' end as hindrance
        from replication.attached a
        join replication.shape s on s.id = a.shape_id
        join pg_class c on c.oid = a.relation
        join pg_namespace n on n.oid = c.relnamespace
    ), ranked as (
        select *, row_number() over (order by hindrance is not null, bytes, oid) as number,
               sum(bytes) over (order by hindrance is not null, bytes, oid) as total
        from attached
    ), judged as (
        select *, hindrance is null and total <= 1073741824 and number <= 500 as counted from ranked
    )
    select count(*) as attached,
           count(*) filter (where plain in ('public.users', 'public.payments')) as attached_of_demo,
           coalesce(jsonb_agg(jsonb_build_object('number', number, 'schema', schema_name, 'table', table_name, 'shown', shown) order by number)
                    filter (where counted), '[]') as tables,
           coalesce(string_agg(shown || ' (' || coalesce(hindrance, pg_size_pretty(bytes)) || ')', ', ' order by number) filter (where not counted), '') as not_counted,
           count(*) filter (where hindrance is not null) as hindered
    from judged \gset
    select :attached as attached, jsonb_array_length(:'tables'::jsonb) as counted, :attached_of_demo as attached_of_demo, :'tables' as tables, :'not_counted' as not_counted, :hindered as hindered;
    \pset expanded off
    select 'shown_' || number, shown from jsonb_to_recordset(:'tables'::jsonb) as t (number int, shown text)
    union all
    select 'literal_' || number, quote_literal(format('%I.%I', schema, "table"))
    from jsonb_to_recordset(:'tables'::jsonb) as t (number int, schema text, "table" text);
\endif
