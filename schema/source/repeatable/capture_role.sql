-- The roles that own capture functions: one for each owner of attached tables.
--
-- PostgreSQL evaluates expressions of a table's owner (in statistics, CHECK constraints, indexes) while it plans a
-- statement, with the rights of whoever plans; and capture functions are SECURITY DEFINER. So they belong to a role that
-- has what the table's owner has, as a member of him, and may add events of that owner's tables to the outbox. Whoever
-- owns a table gains nothing by code that runs inside capture. Superusers' tables have one role together, which is a
-- member of nobody. None of these roles can log in. Roles belong to the server: its databases share them, each for the
-- same owner.
--
-- They are numbered, and the number is in the shapes of the owner's tables (id / 65536), which is how a constraint of the
-- outbox tells whose events are whose at the cost of a comparison. (A policy would do, but not for sessions with
-- row_security = off.)

-- Older versions had one role for all.
drop function if exists replication.make_capture_role(), replication.grant_to_capture_role(),
    replication.grants_capture_role(aclitem[], text), replication.grant_usage_to_capture_role(text),
    replication.give_to_capture_role(regclass), replication.take_from_capture_role(regclass);

create or replace function replication.is_superuser() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return (select r.rolsuper from pg_roles r where r.rolname = current_user);

-- The name of the role of this number; 0 is that of superusers.
create or replace function replication.capture_role_name(number int) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
return 'replication_capture' || case when number = 0 then '' else '_' || number end;

-- The number of a shape's role.
create or replace function replication.capture_role_number(shape_id int) returns int
language sql immutable
set search_path = pg_catalog, pg_temp
return shape_id >> 16;

-- The number of the role for the tables of this owner; null where there is none yet. What a role is a member of says whose
-- it is, in all databases of the server.
create or replace function replication.capture_role_number(owner regrole) returns int
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select case when r.rolsuper then 0 else (
               select min(substring(of_owner.rolname from '[0-9]+$')::int)
               from pg_auth_members m join pg_roles of_owner on of_owner.oid = m.member
               where m.roleid = r.oid and of_owner.rolname ~ '^replication_capture_[1-9][0-9]{0,4}$') end
    from pg_roles r where r.oid = owner
);

create or replace function replication.table_owner(relation regclass) returns regrole
language sql stable
set search_path = pg_catalog, pg_temp
return (select c.relowner::regrole from pg_class c where c.oid = relation);

-- The capture roles that are there.
create or replace function replication.capture_roles() returns setof regrole
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select r.oid::regrole from pg_roles r where r.rolname ~ '^replication_capture(_[1-9][0-9]{0,4})?$' order by r.rolname;
end;

-- Refuses a role that may do more than capture for this owner.
create or replace function replication.require_only_capture(name text, owner regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $require$
declare
    role pg_roles;
begin
    select r.* into role from pg_roles r where r.rolname = name;
    if role.rolsuper or role.rolcanlogin or role.rolcreaterole or role.rolcreatedb or role.rolreplication
       or name = replication.capture_role_name(0) and exists (select from pg_auth_members m where role.oid in (m.roleid, m.member))
       or name <> replication.capture_role_name(0)
          and exists (select from pg_auth_members m where m.member = role.oid and m.roleid <> owner) then
        raise exception 'the role % may do more than capture, or is shared with another role', name
            using errcode = 'object_not_in_prerequisite_state',
                  hint = format('ALTER ROLE %1$I NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION; and REVOKE its '
                                'memberships (pg_auth_members), in either direction.', name);
    end if;
end
$require$;

-- Makes the role for the tables of this owner, if it is missing, and grants it what every capture function needs. Returns
-- its number; null where the caller has no right to make it.
create or replace function replication.make_capture_role(owner regrole) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $make$
declare
    attempts_left int := 10;
    number int;
    name text;
begin
    -- Other databases of this server may create or drop it at this moment. Once it has been granted something, it
    -- cannot be dropped until this transaction ends.
    loop
        begin
            number := replication.capture_role_number(owner);
            if number is null then
                -- Never one that was another owner's, who may be gone.
                number := (select coalesce(max(substring(r.rolname from '[0-9]+$')::int), 0) + 1
                           from pg_roles r where r.rolname ~ '^replication_capture_[1-9][0-9]{0,4}$');
                if number >= 32768 then
                    raise exception 'there are too many roles of capture' using errcode = 'program_limit_exceeded',
                        hint = 'DROP ROLE those that are members of nobody (replication_capture_...).';
                end if;
            end if;
            name := replication.capture_role_name(number);
            if to_regrole(name) is null then
                execute format('create role %I nologin', name);
                execute format('comment on role %I is %L', name, 'Owns capture functions of the schema "replication".');
                if number > 0 then
                    execute format('grant %I to %I', (select r.rolname from pg_roles r where r.oid = owner), name);
                end if;
                if not replication.is_superuser() then
                    execute format('grant %I to current_user', name);
                end if;
            end if;
            perform replication.grant_to_capture_role(name);
            exit;
        exception when duplicate_object or unique_violation or undefined_object then
            attempts_left := attempts_left - 1;
            if attempts_left = 0 then
                raise;
            end if;
        end;
    end loop;
    -- Without it, capture fails on tables with row security. An owner's role is its owner, to whom that does not apply.
    if number = 0 and not (select r.rolbypassrls from pg_roles r where r.rolname = name) then
        execute format('alter role %I bypassrls', name);
    end if;
    perform replication.require_only_capture(name, owner);
    return number;
exception when insufficient_privilege then
    if replication.is_superuser() then
        raise;
    end if;
    return null;
end
$make$;

-- Whether the access list grants the role this privilege itself, and not only PUBLIC.
create or replace function replication.is_granted(acl aclitem[], role regrole, privilege text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (select from aclexplode(acl) a where a.grantee = role and a.privilege_type = privilege);

-- What every capture function needs: no privilege on columns that have a default, so no event can be given a transaction
-- or an id of somebody's choice.
create or replace function replication.grant_to_capture_role(role text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
declare
    function regprocedure;
begin
    perform replication.grant_usage('replication', role::regrole);
    if not has_column_privilege(role, 'replication.outbox_event', 'row_text', 'insert') then
        execute format('grant insert (shape_id, operation, key_text, row_text) on replication.outbox_event to %I', role);
    end if;
    if not has_column_privilege(role, 'replication.recorded_snapshot', 'id', 'insert') then
        execute format('grant insert (id) on replication.recorded_snapshot to %I', role);
    end if;
    if not has_column_privilege(role, 'replication.moved_key', 'new_key', 'insert') then
        execute format('grant insert (id, new_key) on replication.moved_key to %I', role);
    end if;
    if not has_sequence_privilege(role, 'replication.wake_wanted', 'select')
       or not has_sequence_privilege(role, 'replication.outbox_event_id_seq', 'select') then
        execute format('grant select on sequence replication.wake_wanted, replication.outbox_event_id_seq to %I', role);
    end if;
    -- Where it was taken from PUBLIC.
    for function in
        select to_regprocedure(f) from unnest(array['replication.is_own_event(bigint, text)', 'replication.refuse_renamed(regclass, text)',
                                                    'replication.planning_error(text)',
                                                    'replication.rows_between(regclass, text[], text[], text, text, int, int)',
                                                    'replication.rows_of_keys(regclass, text[], text[], text[])',
                                                    'replication.key_order(regclass, text[])', 'replication.row_hash(regclass, text[], text)',
                                                    'replication.key_bound(regclass, text[], text, boolean)', 'replication.row_fields(text)',
                                                    'replication.key_operators(regclass, text[])',
                                                    'replication.key_condition(regclass, text[], text, text)']) f
        -- While the schema is made, not all are there; attach asks again.
        where to_regprocedure(f) is not null and not has_function_privilege(role, to_regprocedure(f), 'execute')
    loop
        execute format('grant execute on function %s to %I', function, role);
    end loop;
end
$grant$;

-- Two sessions that grant on one schema at the same time: the second waits, and then has nothing to do.
create or replace function replication.grant_usage(schema_name text, role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
begin
    if (select replication.is_granted(n.nspacl, role, 'USAGE') from pg_namespace n where n.nspname = schema_name) then
        return;
    end if;
    perform pg_advisory_xact_lock(replication.lock_number('capture role'));
    if not (select replication.is_granted(n.nspacl, role, 'USAGE') from pg_namespace n where n.nspname = schema_name) then
        execute format('grant usage on schema %I to %s', schema_name, role);
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

-- Makes a table's capture functions those of this number's role, and lets it read the table. What former roles of the
-- table had for it goes.
create or replace function replication.give_to_capture_role(relation regclass, number int) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $give$
declare
    role regrole := replication.capture_role_name(number)::regrole;
    has_to_lend boolean := not replication.is_superuser();
    schema_name text;
    function regprocedure;
begin
    for schema_name in select s from replication.capture_schemas(relation) s order by s loop
        perform replication.grant_usage(schema_name, role);
    end loop;
    if not (select replication.is_granted(c.relacl, role, 'SELECT') from pg_class c where c.oid = relation) then
        execute format('grant select on %s to %s', relation, role);
    end if;
    for function in
        select p.oid::regprocedure from replication.capture_function_names(relation) f join pg_proc p on p.oid = to_regproc(f)
        where p.proowner <> role
    loop
        -- A function's owner must be able to make one; who is no superuser lends him that.
        if has_to_lend then
            execute format('grant create on schema replication to %s', role);
        end if;
        execute format('alter function %s owner to %s', function, role);
        if has_to_lend then
            execute format('revoke create on schema replication from %s', role);
        end if;
    end loop;
    perform replication.take_from_capture_roles(relation, role);
end
$give$;

-- Takes from the capture roles, but for this one, what they have for a table. Takes the oid of one that is gone, too.
create or replace function replication.take_from_capture_roles(relation regclass, but_for regrole default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $take$
declare
    role regrole;
    schema_name text;
begin
    for role in
        select r from replication.capture_roles() r
        where but_for is null
           or r <> but_for and exists (select from pg_class c where c.oid = relation and replication.is_granted(c.relacl, r, 'SELECT'))
    loop
        if (select replication.is_granted(c.relacl, role, 'SELECT') from pg_class c where c.oid = relation) then
            execute format('revoke select on %s from %s', relation, role);
        end if;
        for schema_name in
            select n.nspname
            from pg_namespace n
            where replication.is_granted(n.nspacl, role, 'USAGE') and n.nspname <> 'replication'
              and n.nspname not in (select s
                                    from replication.attached a
                                    join pg_proc p on p.oid = to_regproc('replication.capture_' || a.id) and p.proowner = role
                                    cross join lateral replication.capture_schemas(a.relation) s)
            order by n.nspname
        loop
            execute format('revoke usage on schema %I from %s', schema_name, role);
        end loop;
    end loop;
end
$take$;

-- Whether an event of this transaction's is one that the role may have added.
create or replace function replication.is_own_event(id bigint, role text) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
return exists (select from replication.outbox_event e
               where e.txid = pg_current_xact_id() and e.id = is_own_event.id
                 and replication.capture_role_name(replication.capture_role_number(e.shape_id)) = role);

-- Whether capture roles can add events of their own owner's tables only.
create or replace function replication.is_outbox_guarded() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return (select count(*) = 2 from pg_constraint c
        where c.conname = 'own_tables' and c.conrelid in ('replication.outbox_event'::regclass, 'replication.moved_key'::regclass));

-- Sees to that. Locks the outbox against writers, and waits for those whose transactions are open. The constraint of the
-- outbox says it in its own words: calling them would cost more for each event.
create or replace function replication.guard_outbox() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $guard$
begin
    if not replication.is_outbox_guarded() then
        alter table replication.outbox_event
            drop constraint if exists own_tables,
            add constraint own_tables check (shape_id >= 65536 and current_user = 'replication_capture_' || (shape_id >> 16)
                                             or not starts_with(current_user, 'replication_capture_')) not valid;
        alter table replication.moved_key
            drop constraint if exists own_tables,
            add constraint own_tables check (not starts_with(current_user, 'replication_capture_')
                                             or replication.is_own_event(id, current_user)) not valid;
    end if;
end
$guard$;

do $do$
begin
    if replication.is_superuser() then
        -- So that no application's transaction is the first to need it.
        perform replication.make_capture_role(current_user::regrole);
    end if;
    -- Just made, and nobody's yet. Otherwise outbox-publisher migrate does it, waiting for a short while at a time.
    if (select age(c.xmin) <= 0 from pg_class c where c.oid = 'replication.outbox_event'::regclass) then
        perform replication.guard_outbox();
    end if;
end
$do$;
