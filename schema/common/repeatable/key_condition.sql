-- Rows are found by primary key. Two keys are equal if the operators of the key's index say so, whichever schema
-- these operators are in and whatever the search path is.

-- For each column of the relation's primary key (or of the unique index that has just these columns), the operator by
-- which it is compared; no rows where there is no such index. Columns that the index only includes are no part of the key.
-- The index of a key WITHOUT OVERLAPS (PostgreSQL 18) has the operator && at the place of =; there the type's own
-- equality counts.
-- (plpgsql, which keeps the plan: attaching a table asks a dozen times, and planning took most of it.)
create or replace function replication.key_operators(relation regclass, key_columns text[])
returns table (column_name text, operator_schema text, operator_name text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $operators$
declare
    key record;
begin
    select i.indnkeyatts, i.indkey::int2[] as attnums, i.indclass::oid[] as classes, i.indisexclusion into key
    from pg_index i
    where i.indrelid = relation and i.indisunique and i.indpred is null and i.indexprs is null and i.indisvalid
      and i.indnkeyatts = cardinality(key_columns)
      and (select array_agg(a.attname::text order by a.attname)
           from unnest(i.indkey::int2[]) with ordinality as part (attnum, number)
           join pg_attribute a on a.attrelid = relation and a.attnum = part.attnum
           where part.number <= i.indnkeyatts)
        = (select array_agg(name order by name) from unnest(key_columns) as wanted (name))
    order by i.indisexclusion, i.indisprimary desc, i.indexrelid limit 1;

    return query
    select a.attname::text, n.nspname::text, o.oprname::text
    from unnest(key.attnums, key.classes) with ordinality as part (attnum, class, number)
    join pg_attribute a on a.attrelid = relation and a.attnum = part.attnum
    join pg_opclass of_index on of_index.oid = part.class
    cross join lateral (
        select of_index.opcfamily, of_index.opcintype where not key.indisexclusion
        union all
        select c.opcfamily, c.opcintype from pg_opclass c
        where key.indisexclusion and c.opcdefault and c.opcintype = of_index.opcintype
          and c.opcmethod = (select m.oid from pg_am m where m.amname = 'btree')) c
    join pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
                  and m.amopstrategy = 3
    join pg_operator o on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
    where part.number <= key.indnkeyatts;
end
$operators$;

-- By which rule a collation takes different texts for equal, as provider and locale, the same on each server; empty where
-- it takes none. The columns of pg_collation that say so have other names in each version.
create or replace function replication.equal_texts(of_collation oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return coalesce(
    (select concat_ws(' ', case c.collprovider when 'i' then 'icu' when 'c' then 'libc' else c.collprovider::text end,
                      coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate::text),
                      to_jsonb(c) ->> 'collicurules')
     from pg_collation c where c.oid = of_collation and not c.collisdeterministic), '');

-- "l.a operator(pg_catalog.=) r.a and ..." for the columns of the key; null where there is no index on it, or no equality
-- of a type that is in an index WITHOUT OVERLAPS.
create or replace function replication.key_condition(relation regclass, key_columns text[], left_alias text, right_alias text)
returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select case when count(*) = cardinality(key_columns) then string_agg(
               format('%s.%I operator(%I.%s) %s.%I', left_alias, k.column_name, k.operator_schema, k.operator_name, right_alias, k.column_name),
               ' and ' order by array_position(key_columns, k.column_name)) end
    from replication.key_operators(relation, key_columns) k
);
