-- The present definition of a table, and whether it can be replicated.

-- Why rows of the table cannot be captured in full, with the remedy; null where they can.
create or replace function replication.refusal(relation regclass, out reason text, out remedy text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select case
               when c.oid is null then 'there is no such table'
               when c.relkind in ('v', 'm') then 'it is a view: it has no rows of its own'
               when c.relkind = 'f' then 'it is a foreign table: its rows are changed elsewhere, unseen by triggers'
               when c.relkind = 'p' then 'it is partitioned: statements on its partitions would escape'
               when c.relkind <> 'r' then 'it is not a table'
               when c.relispartition then 'it is a partition: statements on its parent would escape'
               when c.relpersistence = 't' then 'it is temporary: nobody else can see its rows'
               when c.relpersistence = 'u' then 'it is unlogged: a crash empties it without a trace'
               when exists (select from pg_inherits i where i.inhparent = c.oid) then 'other tables inherit from it: statements on it change their rows, too'
               when exists (select from pg_inherits i where i.inhrelid = c.oid) then 'it inherits from another table: statements on that one would escape'
               when n.nspname in ('replication', 'pg_catalog', 'information_schema') then 'it belongs to the system'
               when not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
                   then 'it has no primary key, by which its rows could be found'
               when replication.has_key_without_equality(relation)
                   then 'its primary key is WITHOUT OVERLAPS, and has a type without an equality of its own'
           end,
           case
               when c.relkind in ('v', 'm') then 'Attach the tables that it reads, and create the view in the target.'
               when c.relkind = 'f' then 'Attach the table at the server where it is.'
               when c.relkind = 'p' or c.relispartition then 'Replicate it as an ordinary table (the target''s may be partitioned).'
               when c.relpersistence = 't' then 'Attach a permanent table.'
               when c.relpersistence = 'u' then format('ALTER TABLE %s SET LOGGED;', relation)
               when exists (select from pg_inherits i where c.oid in (i.inhparent, i.inhrelid)) then 'ALTER TABLE ... NO INHERIT ...; for each child, or one table for all of them.'
               when n.nspname in ('replication', 'pg_catalog', 'information_schema') then 'Attach tables of the application only.'
               when replication.has_key_without_equality(relation) then 'Give it a primary key of types that have an order.'
               else replication.key_remedy(relation)
           end
    from (select relation as oid) wanted
    left join pg_class c on c.oid = wanted.oid
    left join pg_namespace n on n.oid = c.relnamespace;
end;

-- Whether a native logical subscription writes to the table. Its worker fires row triggers only, and capture consists
-- of statement triggers.
create or replace function replication.is_fed_by_subscription(relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (select from pg_subscription_rel r where r.srrelid = relation);

-- Whether the primary key is checked only at commit. Then a transaction that reuses a key which another one deletes is
-- captured without waiting for that one, and the order of both may be wrong.
create or replace function replication.has_deferred_key(relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (select from pg_constraint k where k.conrelid = relation and k.contype = 'p' and k.condeferred);

-- The columns of the table's primary key, in its order; null where it has none.
create or replace function replication.primary_key(relation regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select array_agg(a.attname::text order by k.number)
    from pg_index i
    cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, number)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = relation and i.indisprimary and k.number <= i.indnkeyatts
);

-- The types of the table's columns, in their order. Under this function's search path a type's name is qualified wherever it
-- has to be.
create or replace function replication.column_types(relation regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select array_agg(format_type(a.atttypid, a.atttypmod) order by a.attnum)
    from pg_attribute a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
);

-- For each column of the key, which different texts are equal (replication.equal_texts).
create or replace function replication.key_collations(relation regclass, key_columns text[]) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select array_agg(replication.equal_texts(a.attcollation) order by k.number)
    from unnest(key_columns) with ordinality as k (name, number)
    join pg_attribute a on a.attrelid = relation and a.attname = k.name
);

-- The definition of a table as it is captured. Refuses a table that cannot be replicated.
create or replace function replication.describe(relation regclass) returns replication.shape
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $describe$
declare
    shape replication.shape;
    refused record;
begin
    select * into refused from replication.refusal(relation);
    if refused.reason is not null then
        raise exception 'cannot attach %: %', relation, refused.reason
            using errcode = 'wrong_object_type', hint = refused.remedy;
    end if;

    select n.nspname, c.relname into shape.schema_name, shape.table_name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = relation;

    select array_agg(a.attname::text order by a.attnum),
           coalesce(array_agg(a.attname::text order by a.attnum) filter (where a.attgenerated <> ''), '{}')
    into shape.columns, shape.generated
    from pg_attribute a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped;

    shape.types := replication.column_types(relation);
    shape.key_columns := replication.primary_key(relation);
    shape.key_collations := replication.key_collations(relation, shape.key_columns);
    return shape;
end
$describe$;
