-- How capture writes rows as text.

-- Older versions had other forms of these. What depends on one that is dropped is created again below.
drop function if exists replication.capture_functions(regclass, replication.shape), replication.capture_function(regclass, replication.shape);
do $do$
begin
    -- Older ones return text, or rows of other columns.
    if pg_get_function_result(to_regprocedure('replication.text_settings(regclass, text[])')) <> 'TABLE(name text, clause text)' then
        drop function replication.text_settings(regclass, text[]) cascade;
    end if;
end
$do$;

-- The expression for a row's text form: PostgreSQL's own, except that xml keeps its declaration (xml drops it within a
-- row and keeps it when it is cast).
create or replace function replication.row_text(relation regclass, alias text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select format('row(%s)::pg_catalog.text',
                  string_agg(format(case when 'xml'::regtype in (t.oid, t.typbasetype) then '%s.%I::pg_catalog.text' else '%s.%I' end,
                                    alias, attname), ', ' order by attnum))
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
);

-- The expression for the text form of a row as it was just inserted: the same text from the row as a whole, which costs
-- less, where no column is xml.
create or replace function replication.inserted_row_text(relation regclass, alias text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select case when bool_or('xml'::regtype in (t.oid, t.typbasetype)) then replication.row_text(relation, alias)
                else format('(%s.*)::pg_catalog.text', alias) end
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
);

-- The settings that decide how values of the table's types are written as text, each with the SET clause that pins it.
-- All of them for a type that is not known here. The time zone does not change which moment a text means; it is pinned
-- for keys, whose text must be the same.
create or replace function replication.text_settings(relation regclass, key_columns text[])
returns table (name text, clause text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with recursive part (type, in_key) as (
        select a.atttypid, a.attname = any (key_columns)
        from pg_attribute a
        where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
        union
        select inner_type, part.in_key
        from part
        join pg_type t on t.oid = part.type
        cross join lateral (
            select t.typbasetype where t.typtype = 'd'
            union all
            select t.typelem where t.typcategory = 'A'
            union all
            select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
            union all
            select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        ) as inside (inner_type)
    ),
    plain as (
        select case when t.typnamespace = 'pg_catalog'::regnamespace then t.typname end as name, part.in_key
        from part join pg_type t on t.oid = part.type
        where t.typtype = 'b' and t.typcategory <> 'A'
    ),
    known (names, setting, only_in_key) as (
        values
            ('{bool,int2,int4,int8,numeric,oid,text,varchar,bpchar,char,name,uuid,json,jsonb,xml,inet,cidr,macaddr,macaddr8,bit,
               varbit,tsvector,tsquery,xid,xid8,pg_lsn}'::text[], null, false),
            ('{regclass,regproc,regprocedure,regoper,regoperator,regtype,regrole,regnamespace,regconfig,regdictionary,
               regcollation}', 'search_path', false),
            ('{date,time,timetz,timestamp,timestamptz}', 'datestyle', false),
            ('{timestamptz}', 'timezone', true),
            ('{interval}', 'intervalstyle', false),
            ('{float4,float8,point,line,lseg,box,path,polygon,circle}', 'extra_float_digits', false),
            ('{bytea}', 'bytea_output', false),
            ('{money}', 'lc_monetary', false)
    )
    select known.setting,
           case known.setting when 'search_path' then 'set search_path = pg_catalog, pg_temp'
                else format('set %I = %L', known.setting, v.value) end
    from known
    left join replication.value_settings() v on v.name = known.setting
    where known.setting is not null
      and exists (
          select from plain
          where (plain.name = any (known.names) and (plain.in_key or not known.only_in_key))
             or not exists (select from known any_of where plain.name = any (any_of.names)))
    order by known.setting;
end;
