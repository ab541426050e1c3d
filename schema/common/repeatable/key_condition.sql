-- Rows are found by primary key. Two keys are equal if the operators of the key's index say so, whichever schema
-- these operators are in and whatever the search path is.

-- For each column of the relation's primary key (or of the unique index that has just these columns), the operator by
-- which it is compared; no rows where there is no such index. Columns that the index only includes are no part of the key.
create or replace function replication.key_operators(relation regclass, key_columns text[])
returns table (column_name text, operator_schema text, operator_name text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select a.attname, n.nspname, o.oprname
    from (select i.indexrelid, i.indnkeyatts, i.indkey, i.indclass
          from pg_index i
          where i.indrelid = relation and i.indisunique and i.indpred is null and i.indexprs is null and i.indisvalid
            and i.indnkeyatts = cardinality(key_columns)
            and (select array_agg(a.attname::text order by a.attname)
                 from unnest(i.indkey::int2[]) with ordinality as part (attnum, number)
                 join pg_attribute a on a.attrelid = relation and a.attnum = part.attnum
                 where part.number <= i.indnkeyatts)
              = (select array_agg(name order by name) from unnest(key_columns) as wanted (name))
          order by i.indisprimary desc, i.indexrelid limit 1) as key
    cross join unnest(key.indkey::int2[], key.indclass::oid[]) with ordinality as part (attnum, class, number)
    join pg_attribute a on a.attrelid = relation and a.attnum = part.attnum
    join pg_opclass c on c.oid = part.class
    join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = 3
                  and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
    join pg_operator o on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
    where part.number <= key.indnkeyatts;
end;

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

-- "l.a operator(pg_catalog.=) r.a and ..." for the columns of the key; null where there is no index on it.
create or replace function replication.key_condition(relation regclass, key_columns text[], left_alias text, right_alias text)
returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select string_agg(
               format('%s.%I operator(%I.%s) %s.%I', left_alias, k.column_name, k.operator_schema, k.operator_name, right_alias, k.column_name),
               ' and ' order by array_position(key_columns, k.column_name))
    from replication.key_operators(relation, key_columns) k
);
