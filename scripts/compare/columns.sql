-- A table's columns in A and B. Three lines: those that both have, as JSON; those that B lacks; those that have another
-- type in B. Variables: table, and columns, those of A with their types as JSON.

set statement_timeout = :timeout;
set client_encoding = 'UTF8';
set search_path = pg_catalog, pg_temp;

with in_a as (
    select name, type, number
    from rows from (json_to_recordset(:'columns') as (name text, type text)) with ordinality as a (name, type, number)
), compared as (
    select in_a.*, format_type(b.atttypid, b.atttypmod) as type_in_b
    from in_a left join pg_attribute b
        on b.attrelid = :'table'::regclass and b.attname = in_a.name and b.attnum > 0 and not b.attisdropped
)
select unnest(array[
    coalesce(json_agg(name order by number) filter (where type_in_b is not null)::text, '[]'),
    coalesce(string_agg(name, ', ' order by number) filter (where type_in_b is null), ''),
    coalesce(string_agg(format('%s (%s in A, %s in B)', name, type, type_in_b), ', ' order by number) filter (where type <> type_in_b), '')])
from compared;
