-- The tables that A captures: name as SQL has it, plain name, parts, key columns, columns with their types.

set statement_timeout = :timeout;
set client_encoding = 'UTF8';
set search_path = pg_catalog, pg_temp;

select a.relation,
       n.nspname || '.' || c.relname,
       -- About a thousand rows in each, by the planner's estimate.
       (2 ^ greatest(0, least(16, ceil(log(2, greatest(c.reltuples::numeric, pg_relation_size(c.oid) / 200, 1) / 1000)))))::int,
       to_json(s.key_columns),
       (select json_agg(json_build_object('name', t.attname, 'type', format_type(t.atttypid, t.atttypmod)) order by t.attnum)
        from pg_attribute t where t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped)
from replication.attached a
join replication.shape s on s.id = a.shape_id
join pg_class c on c.oid = a.relation
join pg_namespace n on n.oid = c.relnamespace
order by 2;
