-- The role that owns the capture functions of tables that a superuser attaches.
--
-- PostgreSQL evaluates expressions of a table's owner (in statistics, CHECK constraints, indexes) while it plans a
-- statement, with the rights of whoever plans. The capture functions are SECURITY DEFINER: owned by a superuser, they
-- would run the owner's code as superuser. This role cannot log in; it may add captured rows to the outbox and read the
-- attached tables, and nothing else. Roles belong to the server, so all of its databases share this one.

-- Makes the role, if it is missing, and grants it what every capture function needs. Does nothing where the caller is
-- not a superuser: then the functions are the caller's. Refuses a role of that name that may do more.
create or replace function replication.make_capture_role() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $make$
declare
    attempts_left int := 10;
    role pg_roles;
begin
    if not replication.is_superuser() then
        return;
    end if;
    -- Other databases of this server may create or drop it at this moment. Once it has been granted something, it
    -- cannot be dropped until this transaction ends.
    loop
        begin
            if to_regrole('replication_capture') is null then
                create role replication_capture nologin bypassrls;
                comment on role replication_capture is 'Owns the capture functions of the schema "replication".';
            end if;
            perform replication.grant_to_capture_role();
            exit;
        exception when duplicate_object or unique_violation or undefined_object then
            attempts_left := attempts_left - 1;
            if attempts_left = 0 then
                raise;
            end if;
        end;
    end loop;

    select r.* into role from pg_roles r where r.rolname = 'replication_capture';
    if role.rolsuper or role.rolcanlogin or role.rolcreaterole or role.rolcreatedb or role.rolreplication
       or exists (select from pg_auth_members m where role.oid in (m.roleid, m.member)) then
        raise exception 'the role replication_capture may do more than capture, or is shared with another role'
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'ALTER ROLE replication_capture NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION; and REVOKE its '
                         'memberships (pg_auth_members), in either direction.';
    end if;
    -- Without it, capture fails on tables with row security.
    if not role.rolbypassrls then
        alter role replication_capture bypassrls;
    end if;
end
$make$;

create or replace function replication.is_superuser() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return (select r.rolsuper from pg_roles r where r.rolname = current_user);

-- Whether the access list grants the capture role this privilege itself, and not only PUBLIC.
create or replace function replication.grants_capture_role(acl aclitem[], privilege text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (
    select from aclexplode(acl) a
    where a.grantee = to_regrole('replication_capture')::oid and a.privilege_type = privilege);

-- What every capture function needs: no privilege on columns that have a default, so no event can be given a transaction
-- or an id of somebody's choice.
create or replace function replication.grant_to_capture_role() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
begin
    perform replication.grant_usage_to_capture_role('replication');
    if not has_column_privilege('replication_capture', 'replication.outbox_event', 'row_text', 'insert') then
        grant insert (shape_id, operation, key_text, row_text) on replication.outbox_event to replication_capture;
    end if;
    if not has_column_privilege('replication_capture', 'replication.recorded_snapshot', 'id', 'insert') then
        grant insert (id) on replication.recorded_snapshot to replication_capture;
    end if;
    if not has_column_privilege('replication_capture', 'replication.moved_key', 'new_key', 'insert') then
        grant insert (id, new_key) on replication.moved_key to replication_capture;
    end if;
    if not has_sequence_privilege('replication_capture', 'replication.wake_wanted', 'select')
       or not has_sequence_privilege('replication_capture', 'replication.outbox_event_id_seq', 'select') then
        grant select on sequence replication.wake_wanted, replication.outbox_event_id_seq to replication_capture;
    end if;
end
$grant$;

-- Two sessions that grant on one schema at the same time: the second waits, and then has nothing to do.
create or replace function replication.grant_usage_to_capture_role(schema_name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
begin
    if (select replication.grants_capture_role(n.nspacl, 'USAGE') from pg_namespace n where n.nspname = schema_name) then
        return;
    end if;
    perform pg_advisory_xact_lock(replication.lock_number('capture role'));
    if not (select replication.grants_capture_role(n.nspacl, 'USAGE') from pg_namespace n where n.nspname = schema_name) then
        execute format('grant usage on schema %I to replication_capture', schema_name);
    end if;
end
$grant$;

-- The schemas that the capture functions of a table name: its own, and those of its key's operators.
create or replace function replication.capture_schemas(relation regclass) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select n.nspname::text
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = relation
    union
    select o.operator_schema
    from replication.key_operators(relation, replication.primary_key(relation)) o
    where o.operator_schema <> 'pg_catalog';
end;

-- Makes a table's capture functions the capture role's, and lets it read the table. Where the caller is not a
-- superuser, they stay the caller's.
create or replace function replication.give_to_capture_role(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $give$
declare
    schema_name text;
    function regprocedure;
begin
    if not replication.is_superuser() then
        return;
    end if;
    perform replication.make_capture_role();
    for schema_name in select s from replication.capture_schemas(relation) s order by s loop
        perform replication.grant_usage_to_capture_role(schema_name);
    end loop;
    if not (select replication.grants_capture_role(c.relacl, 'SELECT') from pg_class c where c.oid = relation) then
        execute format('grant select on %s to replication_capture', relation);
    end if;
    for function in
        select p.oid::regprocedure from replication.capture_function_names(relation) f join pg_proc p on p.oid = to_regproc(f)
        where p.proowner <> 'replication_capture'::regrole
    loop
        execute format('alter function %s owner to replication_capture', function);
    end loop;
end
$give$;

-- Takes from the capture role what it has for a table that is no longer attached. Takes the oid of one that is gone, too.
create or replace function replication.take_from_capture_role(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $take$
declare
    schema_name text;
begin
    if (select replication.grants_capture_role(c.relacl, 'SELECT') from pg_class c where c.oid = relation) then
        execute format('revoke select on %s from replication_capture', relation);
    end if;
    for schema_name in
        select n.nspname
        from pg_namespace n
        where replication.grants_capture_role(n.nspacl, 'USAGE') and n.nspname <> 'replication'
          and n.nspname not in (select s from replication.attached a cross join lateral replication.capture_schemas(a.relation) s)
        order by n.nspname
    loop
        execute format('revoke usage on schema %I from replication_capture', schema_name);
    end loop;
end
$take$;

select replication.make_capture_role();
