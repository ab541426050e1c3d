-- How values travel: as text, which both sides must write and read alike.

-- The settings under which values are written as text and read again, whatever the defaults of server, database and
-- role are. The one definition: capture, resend, inbox-processor and compare-replication.sh take them from here.
create or replace function replication.value_settings() returns table (name text, value text)
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
    select setting.name, setting.value
    from (values ('datestyle', 'ISO, YMD'), ('timezone', 'UTC'), ('intervalstyle', 'postgres'), ('extra_float_digits', '3'),
                 ('bytea_output', 'hex'), ('lc_monetary', 'C'), ('xmloption', 'content'), ('array_nulls', 'on')
         ) as setting (name, value);
end;

-- Whether two values of the key are equal exactly where their texts are. Not so for 1.0 and 1.00, and not by some
-- collations; false also for types that are not known here.
create or replace function replication.key_equality_is_textual(relation regclass, key_columns text[]) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select count(*) = cardinality(key_columns)
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    left join pg_collation c on c.oid = a.attcollation
    where a.attrelid = relation and a.attname = any (key_columns) and coalesce(c.collisdeterministic, true)
      and (t.typtype = 'e'
           or t.oid = any ('{bool,bytea,int2,int4,int8,oid,uuid,text,varchar,name,date,time,timestamp,timestamptz,
                             inet,cidr,macaddr,macaddr8,bit,varbit,money,pg_lsn,xid8}'::regtype[])
           or (t.oid = 'bpchar'::regtype and a.atttypmod > 0))
);
