-- Short names for people, and the removal of the schema.

-- Names in "public" are the application's: ours are there only where somebody asked for them.
--
-- Makes public.<name> as a view of replication.<name>, unless the application has something of that name. It gives nobody
-- more than replication.<name> does, whatever the default privileges in "public" are.
create or replace function replication.make_short_name(name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $make$
begin
    if to_regclass(format('public.%I', name)) is null then
        execute format('create view public.%I with (security_invoker = true) as select * from replication.%I', name, name);
        execute format('comment on view public.%I is %L', name, 'replication.' || name || ', for people');
    else
        raise warning 'public.% is taken; use replication.%', name, name;
    end if;
exception when insufficient_privilege then
    raise warning 'no right to create public.%; use replication.%', name, name;
end
$make$;

-- Whether public.<name> is ours: a view of the one in this schema.
create or replace function replication.has_short_name(name text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (select from pg_depend d join pg_rewrite r on r.oid = d.objid
               where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass
                 and r.ev_class = to_regclass(format('public.%I', name))
                 and d.refobjid = to_regclass(format('replication.%I', name)));

-- Drops public.<name> where it is ours, before its view is created again, and notes whether it was.
create or replace function replication.drop_short_name(name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $drop$
declare
    was_there boolean := replication.has_short_name(name);
begin
    perform set_config('replication.had_short_name_' || name, was_there::text, true);
    if was_there then
        execute format('drop view public.%I', name);
    end if;
end
$drop$;

-- Makes it after that, where it was, or where the setting replication.short_names of the database asks for it.
create or replace function replication.make_short_name_again(name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $make$
begin
    if current_setting('replication.had_short_name_' || name, true) = 'true' or current_setting('replication.short_names', true) = 'on' then
        perform replication.make_short_name(name);
    end if;
end
$make$;

create or replace function replication.make_short_names() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $make$
begin
    perform replication.make_short_name(name)
    from unnest(array['outbox', 'inbox', 'processed_events']) as name
    where to_regclass('replication.' || name) is not null and not replication.has_short_name(name);
end
$make$;
comment on function replication.make_short_names() is
    'Makes outbox, inbox and processed_events in the schema "public" as views of those in "replication" that this side has.';

create or replace function replication.drop_short_names() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $drop$
begin
    perform replication.drop_short_name(name) from unnest(array['outbox', 'inbox', 'processed_events']) as name;
end
$drop$;
comment on function replication.drop_short_names() is
    'Drops our views outbox, inbox and processed_events from the schema "public".';

-- Removes the schema, the short names and all triggers from this database. The other side keeps what it has received.
-- Refuses while a service uses this database.
create or replace function replication.remove() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $remove$
declare
    running text;
    role text;
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
    if not (select r.rolsuper from pg_roles r where r.rolname = current_user) then
        return;
    end if;
    -- The roles of capture: what they may read here, and those that no other database of the server needs.
    foreach role in array array(select r.rolname from pg_roles r where r.rolname ~ '^replication_capture(_[1-9][0-9]{0,4})?$') loop
        begin
            execute format('drop owned by %I', role);
            execute format('drop role %I', role);
        exception
            when dependent_objects_still_exist then
                execute format('drop owned by %I', role);
            when undefined_object then
                -- Another database was the last to need it.
                null;
        end;
    end loop;
end
$remove$;
comment on function replication.remove() is
    'Removes replication from this database, triggers included.';
