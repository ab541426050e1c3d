-- The numbers of the advisory locks, which no other program is likely to use. shared/src/leadership.rs and schema.rs take
-- the same; a test there compares.
create or replace function replication.lock_number(name text) returns bigint
language sql immutable
set search_path = pg_catalog, pg_temp
return case name
    when 'migration' then x'7265706c0001'::bigint
    when 'publisher' then x'7265706c0002'::bigint
    when 'processor' then x'7265706c0003'::bigint
    when 'capture role' then x'7265706c0005'::bigint
end;

-- Whether a service holds its lock, and so is the one that works on this database.
create or replace function replication.is_led(service text) returns boolean
language sql volatile
set search_path = pg_catalog, pg_temp
begin atomic
    select exists (
        select from pg_locks l
        where l.locktype = 'advisory' and l.granted and l.objsubid = 1
          and (l.classid::bigint << 32) + l.objid::bigint = replication.lock_number(service)
          and l.database = (select d.oid from pg_database d where d.datname = current_database()));
end;
