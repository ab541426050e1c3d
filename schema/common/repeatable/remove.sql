-- Short names for people, and the removal of the schema.

-- Makes public.<name> as a view of replication.<name>, unless the application has something of that name.
create or replace function replication.make_short_name(name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $make$
begin
    if to_regclass(format('public.%I', name)) is null then
        execute format('create view public.%I as select * from replication.%I', name, name);
        execute format('comment on view public.%I is %L', name, 'replication.' || name || ', for people');
    else
        raise warning 'public.% is taken; use replication.%', name, name;
    end if;
exception when insufficient_privilege then
    raise warning 'no right to create public.%; use replication.%', name, name;
end
$make$;

-- Drops public.<name> where it is ours: a view of the one in this schema.
create or replace function replication.drop_short_name(name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $drop$
begin
    if exists (select from pg_depend d join pg_rewrite r on r.oid = d.objid
               where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass
                 and r.ev_class = to_regclass(format('public.%I', name))
                 and d.refobjid = to_regclass(format('replication.%I', name))) then
        execute format('drop view public.%I', name);
    end if;
end
$drop$;

-- Removes the schema, the short names and all triggers from this database. The other side keeps what it has received.
-- Refuses while a service uses this database.
create or replace function replication.remove() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $remove$
declare
    running text;
begin
    select string_agg(distinct coalesce(nullif(a.application_name, ''), 'a service') || ' (pid ' || l.pid || ')', ', ') into running
    from pg_locks l left join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and (l.classid::bigint << 32) + l.objid::bigint in (replication.lock_number('publisher'), replication.lock_number('processor'))
      and l.database = (select oid from pg_database where datname = current_database());
    if running is not null then
        raise exception 'a replication service uses this database: %', running
            using errcode = 'object_in_use', hint = 'Stop it first: ./stop-replication.sh outbox-publisher inbox-processor';
    end if;
    set local client_min_messages = warning;
    drop schema replication cascade;
    -- What it may read here. The role itself belongs to the server; other databases may need it.
    if (select r.rolsuper from pg_roles r where r.rolname = current_user) and to_regrole('replication_capture') is not null then
        drop owned by replication_capture;
    end if;
end
$remove$;
comment on function replication.remove() is
    'Removes replication from this database, triggers included.';
