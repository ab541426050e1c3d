-- What both sides ask of a table before they take it.

-- Whether row security hides rows of the table from a role, or keeps it from writing: no policy helps, since replication reads
-- and writes with row_security = off.
create or replace function replication.row_security_hides(relation regclass, role regrole) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (
    select from pg_class c cross join pg_roles r
    where c.oid = relation and c.relrowsecurity and r.oid = role
      and not r.rolsuper and not r.rolbypassrls and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage')));

-- Whether the table has a primary key by which no row can be found: one WITHOUT OVERLAPS, of a type without an order.
create or replace function replication.has_key_without_equality(relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (
    select from pg_index i
    cross join lateral (select array_agg(a.attname::text) as columns
                        from unnest(i.indkey::int2[]) with ordinality as part (attnum, number)
                        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = part.attnum
                        where part.number <= i.indnkeyatts) as key
    where i.indrelid = relation and i.indisprimary and i.indisexclusion
      and (select count(*) from replication.key_operators(relation, key.columns)) < i.indnkeyatts);

-- The statement that gives a table a primary key: on the columns of a unique index that serves as one, where there is such.
create or replace function replication.key_remedy(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return format('ALTER TABLE %s ADD PRIMARY KEY (%s);', relation, coalesce((
    select string_agg(quote_ident(a.attname), ', ' order by part.number)
    from (select i.indkey, i.indnkeyatts
          from pg_index i
          where i.indrelid = relation and i.indisunique and i.indimmediate and i.indisvalid and not i.indisexclusion
            and i.indpred is null and i.indexprs is null
            and (select bool_and(a.attnotnull)
                 from unnest(i.indkey::int2[]) with ordinality as part (attnum, number)
                 join pg_attribute a on a.attrelid = relation and a.attnum = part.attnum
                 where part.number <= i.indnkeyatts)
          order by i.indnkeyatts, i.indexrelid limit 1) as key
    cross join unnest(key.indkey::int2[]) with ordinality as part (attnum, number)
    join pg_attribute a on a.attrelid = relation and a.attnum = part.attnum
    where part.number <= key.indnkeyatts), '...'));
