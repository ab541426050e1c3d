-- Comparing rows of both sides without sending them: each by its key, and by a hash of the text that messages would carry.
-- Both sides read by these functions. Values are written as the session's settings say (replication.value_settings).

-- The hash of a row, as an expression: of these columns, in this order, whatever the encoding of the database.
create or replace function replication.row_hash(relation regclass, columns text[], alias text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select format('left(md5(convert_to(row(%s)::text, ''UTF8'')), 16)',
                  string_agg(format(case when 'xml'::regtype in (t.oid, t.typbasetype) then '%s.%I::text' else '%s.%I' end, alias, a.attname),
                             ', ' order by wanted.number))
    from unnest(columns) with ordinality as wanted (name, number)
    join pg_attribute a on a.attrelid = relation and a.attname = wanted.name and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
);

-- The columns of a key in the order of its index, with their types and the operators of that order; no rows where no btree
-- index has it. Each side has an order of its own (collations differ between servers).
create or replace function replication.key_order(relation regclass, key_columns text[])
returns table (column_name text, type_name text, number bigint, strategies text[])
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select a.attname::text, format_type(a.atttypid, -1), part.number,
           -- <, <=, =, >=, >
           array(select format('operator(%I.%s)', n.nspname, o.oprname)
                 from pg_amop m join pg_operator o on o.oid = m.amopopr join pg_namespace n on n.oid = o.oprnamespace
                 where m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype and m.amoppurpose = 's'
                 order by m.amopstrategy)
    from (select i.indrelid, i.indkey::int2[] as attnums, i.indclass::oid[] as classes, i.indnkeyatts
          from pg_index i
          join pg_class index_class on index_class.oid = i.indexrelid
          join pg_am am on am.oid = index_class.relam and am.amname = 'btree'
          where i.indrelid = relation and i.indisunique and i.indpred is null and i.indexprs is null and i.indisvalid
            and i.indnkeyatts = cardinality(key_columns)
            and (select array_agg(a.attname::text order by a.attname)
                 from unnest(i.indkey::int2[]) with ordinality as part (attnum, number)
                 join pg_attribute a on a.attrelid = relation and a.attnum = part.attnum
                 where part.number <= i.indnkeyatts)
              = (select array_agg(name order by name) from unnest(key_columns) as wanted (name))
          order by i.indisprimary desc, i.indexrelid limit 1) i
    cross join unnest(i.attnums, i.classes) with ordinality as part (attnum, class, number)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = part.attnum
    join pg_opclass c on c.oid = part.class
    where part.number <= i.indnkeyatts;
end;

-- Whether the key of a row t is behind this one (or, with is_end, not behind it) in the order of its index, as SQL; true
-- for no key.
create or replace function replication.key_bound(relation regclass, key_columns text[], key text, is_end boolean) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $bound$
declare
    fields text[] := replication.row_fields(key);
    behind int := case when is_end then 1 else 5 end;
    part record;
    condition text;
begin
    if key is null then
        return 'true';
    end if;
    for part in
        select format('t.%I', o.column_name) as name, o.strategies, o.number,
               format('%L::%s', fields[array_position(key_columns, o.column_name)], o.type_name) as value,
               count(*) over () as parts,
               bool_and(o.strategies[behind] like 'operator(pg_catalog.%') over () as is_of_the_system
        from replication.key_order(relation, key_columns) o order by o.number desc
    loop
        if part.parts > 1 and part.is_of_the_system then
            -- PostgreSQL looks this up in the index as a whole.
            return (select format('(%s) %s (%s)', string_agg(format('t.%I', o.column_name), ', ' order by o.number),
                                  case when is_end then 'operator(pg_catalog.<=)' else 'operator(pg_catalog.>)' end,
                                  string_agg(format('%L::%s', fields[array_position(key_columns, o.column_name)], o.type_name), ', ' order by o.number))
                    from replication.key_order(relation, key_columns) o);
        end if;
        condition := case when condition is null
                          then format('%s %s %s', part.name, part.strategies[case when is_end then 2 else 5 end], part.value)
                          else format('(%1$s %2$s %3$s or %1$s %4$s %3$s and %5$s)', part.name, part.strategies[behind], part.value,
                                      part.strategies[3], condition) end;
        if part.number = 1 and part.parts > 1 then
            condition := format('%s %s %s and %s', part.name, part.strategies[case when is_end then 2 else 4 end], part.value, condition);
        end if;
    end loop;
    return condition;
end
$bound$;

-- The next rows of a table in the order of its key, from behind one key up to another (null: from the beginning, to the
-- end): up to rows_max, and up to about bytes_max of keys.
create or replace function replication.rows_between(
    relation regclass, key_columns text[], columns text[], after text, up_to text, rows_max int, bytes_max int)
returns table (key text, hash text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $between$
begin
    if not exists (select from replication.key_order(relation, key_columns)) then
        raise exception 'its key has no order' using errcode = 'feature_not_supported';
    end if;
    return query execute format(
        'select s.key, s.hash
         from (select r.key, r.hash, sum(octet_length(r.key)) over (rows unbounded preceding) - octet_length(r.key) as bytes_before
               from (select row(%s)::text as key, %s as hash from %s t where %s and %s order by %s limit %s) r) s
         where s.bytes_before < %s',
        (select string_agg(format('t.%I', k.name), ', ' order by k.number) from unnest(key_columns) with ordinality as k (name, number)),
        replication.row_hash(relation, columns, 't'), relation,
        replication.key_bound(relation, key_columns, after, false), replication.key_bound(relation, key_columns, up_to, true),
        (select string_agg(format('t.%I', o.column_name), ', ' order by o.number) from replication.key_order(relation, key_columns) o),
        rows_max, bytes_max);
end
$between$;

-- The rows of these keys that are there.
create or replace function replication.rows_of_keys(relation regclass, key_columns text[], columns text[], keys text[])
returns table (key text, hash text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $of_keys$
declare
    listed text := (
        -- Literals are read by their types: a cast from text could be anybody's function.
        select string_agg(format('(%L, %s)', asked.key,
                                 (select string_agg(format('%L::%s', (replication.row_fields(asked.key))[k.number], format_type(a.atttypid, -1)),
                                                    ', ' order by k.number)
                                  from unnest(key_columns) with ordinality as k (name, number)
                                  join pg_attribute a on a.attrelid = relation and a.attname = k.name)), ', ')
        from unnest(keys) as asked (key));
begin
    if listed is null then
        return;
    end if;
    return query execute format(
        'select a.key, %s from (values %s) as a (key, %s) cross join lateral (select %s) as k (%s) join %s t on %s',
        replication.row_hash(relation, columns, 't'), listed,
        (select string_agg('part_' || number, ', ' order by number) from generate_series(1, cardinality(key_columns)) number),
        (select string_agg('a.part_' || number, ', ' order by number) from generate_series(1, cardinality(key_columns)) number),
        (select string_agg(quote_ident(k.name), ', ' order by k.number) from unnest(key_columns) with ordinality as k (name, number)),
        relation, replication.key_condition(relation, key_columns, 't', 'k'));
end
$of_keys$;

-- Creates the view of what this database knows: of its tables as a source, as a target, or both in the middle of a chain.
create or replace function replication.make_verification_view() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $make$
begin
    execute 'create or replace view replication.verification as '
        || (select string_agg('select * from ' || view, ' union all ')
            from unnest(array['replication.verification_of_source', 'replication.verification_of_target']) view
            where to_regclass(view) is not null);
    comment on view replication.verification is
        'For each table: whether the target has the rows of the source (equal, differs or unknown), as of which tick, which keys differ, and what to run.';
end
$make$;
