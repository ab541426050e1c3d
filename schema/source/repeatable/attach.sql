-- Attaching and detaching tables.

-- Lets the role of outbox-publisher read what is compared with the target: keys, and hashes of rows.
create or replace function replication.grant_verification(relation regclass, role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
declare
    id int := replication.capture_id(relation);
begin
    execute format('grant execute on function replication.verify_slice_%1$s(oid, text[], text, int, int), '
                   'replication.verify_keys_%1$s(oid, text[], text[]) to %2$s', id, role);
end
$grant$;

-- Writes a table's capture functions, where they are not what they should be. Locks no table. They stay the caller's where
-- the shape is of the role with the number 0 and the caller is no superuser.
create or replace function replication.renew_capture_functions(relation regclass, shape_id int) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set check_function_bodies = on
as $renew$
declare
    generated text := replication.capture_functions(relation, shape_id);
    mark text := 'Written by replication.attach: ' || md5(generated);
begin
    if obj_description(to_regproc('replication.capture_' || replication.capture_id(relation)), 'pg_proc') is distinct from mark
       or exists (select from replication.capture_function_names(relation) f where to_regproc(f) is null) then
        execute generated;
        execute format('comment on function replication.%I() is %L', 'capture_' || replication.capture_id(relation), mark);
        perform replication.grant_verification(relation, r) from replication.roles_that_update('replication.progress') r;
    end if;
    if replication.capture_role_number(shape_id) > 0 or replication.is_superuser() then
        perform replication.give_to_capture_role(relation, replication.capture_role_number(shape_id));
    end if;
end
$renew$;

-- Makes those of a table's triggers that are not what they should be: only that locks the table, waiting for
-- transactions that are writing to it.
create or replace function replication.renew_capture_triggers(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $renew$
declare
    stale text[] := array(select replication.stale_capture_triggers(relation));
    event text;
begin
    foreach event in array stale loop
        execute replication.capture_trigger(relation, event);
    end loop;
    if stale <> '{}' then
        perform replication.switch_capture_on(relation);
    end if;
end
$renew$;

-- The triggers of a table that call capture functions, whichever these are.
create or replace function replication.capture_triggers(relation regclass) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select t.tgname::text
    from pg_trigger t join pg_proc p on p.oid = t.tgfoid
    where t.tgrelid = relation and p.pronamespace = 'replication'::regnamespace and p.proname ~ '^capture_(insert_)?[0-9]+$';
end;

-- Drops these capture functions, where they are and no trigger calls them.
create or replace function replication.drop_capture_functions(functions text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $drop$
declare
    function text;
begin
    for function in
        select f from unnest(functions) f
        where to_regproc(f) is not null and not exists (select from pg_trigger t where t.tgfoid = to_regproc(f))
    loop
        execute format('drop function %s', function);
    end loop;
end
$drop$;

-- An older one has no parameter cascade.
drop function if exists replication.attach(regclass);

-- Refuses a table that is to be attached and whose changes would not be captured right, or that capture would harm. One that
-- is attached already is only refreshed; what was done to it since is the audit's to report.
create or replace function replication.require_attachable(relation regclass, cascade boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $require$
declare
    reason text;
    remedy text;
    is_written boolean := false;
begin
    if to_regclass('replication.written') is not null then
        -- The target's side may be missing here, so the statement is not planned before.
        execute 'select exists (select from replication.written w where w.relation = $1)' into is_written using relation;
    end if;
    if getdatabaseencoding() = 'SQL_ASCII' then
        reason := 'its database has the encoding SQL_ASCII, whose bytes need not be text';
        remedy := 'Dump the database and restore it into one that is created with ENCODING ''UTF8''.';
    elsif is_written and not require_attachable.cascade then
        reason := 'inbox-processor writes to it, and what it writes would be sent on';
        remedy := format('In a chain (A -> B -> C): select replication.attach(%L, cascade => true); never back to where the rows come '
                         'from, on no way: each change would go round for ever.', relation::text);
    elsif replication.is_fed_by_subscription(relation) then
        reason := 'a logical subscription writes to it, which fires no statement triggers';
        remedy := 'Attach the table at the server where its rows come from; or take it out of the subscription.';
    elsif replication.has_deferred_key(relation) then
        reason := 'its primary key is INITIALLY DEFERRED, so the order of its changes cannot be determined';
        remedy := 'Recreate the key as NOT DEFERRABLE or DEFERRABLE INITIALLY IMMEDIATE.';
    end if;
    if reason is not null then
        raise exception 'cannot attach %: %', relation, reason using errcode = 'wrong_object_type', hint = remedy;
    end if;
end
$require$;

-- The number of the role whose capture functions the table gets, which is made if it is missing. 0 where the caller has no
-- right to make it and may be captured with his own rights.
create or replace function replication.capture_role_of(relation regclass) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $role$
declare
    owner regrole := replication.table_owner(relation);
    number int;
begin
    if owner = current_user::regrole and not replication.is_superuser() then
        return 0;
    end if;
    number := replication.make_capture_role(owner);
    if number is null and replication.capture_id(relation) is null then
        raise exception 'cannot attach %: capture would have the rights of %, which its owner, %, could take', relation, current_user, owner
            using errcode = 'insufficient_privilege',
                  hint = format('Attach it as a superuser; or as %1$s, where that role may use the schema "replication"; or let %2$s make a role '
                                'for it: ALTER ROLE %2$s CREATEROLE; GRANT %1$s TO %2$s WITH ADMIN OPTION;', owner, quote_ident(current_user));
    end if;
    return coalesce(number, 0);
end
$role$;

-- Refuses a table of which row security would hide rows from its capture: changes of it would fail.
create or replace function replication.require_seen_in_full(relation regclass, captured_by regrole, is_first boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $require$
begin
    if replication.row_security_hides(relation, captured_by) then
        raise exception '% %: row security hides rows of it from %, whose rights capture has, so that changes of it would fail',
                case when is_first then 'cannot attach' else 'cannot change the replicated table' end, relation, captured_by
            using errcode = 'wrong_object_type',
                  hint = format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY; or, as a superuser: ', relation)
                      || case when captured_by = current_user::regrole then format('ALTER ROLE %s BYPASSRLS;', captured_by)
                              else format('select replication.capture_past_row_security(%L); (code of its owner''s then sees past the row '
                                          'security of whatever he may read)', relation::text) end;
    end if;
end
$require$;

-- Lets the capture of this table, and of all tables of its owner, see past row security that applies to the owner himself.
create or replace function replication.capture_past_row_security(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $past$
begin
    execute format('alter role %I bypassrls',
                   replication.capture_role_name(replication.make_capture_role(replication.table_owner(relation))));
end
$past$;
comment on function replication.capture_past_row_security(regclass) is
    'Lets the role that captures this table see all of its rows, whatever row security its owner has forced.';

-- The next number of a shape of this role's.
create or replace function replication.new_shape_id(role_number int) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $new$
declare
    shape_id int;
begin
    perform pg_advisory_xact_lock(replication.lock_number('capture role'));
    shape_id := (select coalesce(max(s.id), role_number << 16) + 1 from replication.shape s
                 where replication.capture_role_number(s.id) = role_number);
    if replication.capture_role_number(shape_id) <> role_number then
        raise exception 'the tables of one owner have had too many shapes' using errcode = 'program_limit_exceeded',
            hint = 'Start over, which forgets those that are no longer used: select replication.start_over();';
    end if;
    return shape_id;
end
$new$;

-- Attaches a table, or refreshes what is known of it (after ALTER TABLE).
--
-- Writes capture functions for the table: their statements are then planned once per session, which
-- a common one with dynamic SQL cannot have (measured: 17 against 75 us per statement).
-- Touches replication.shape, replication.attached, and the triggers of the table. Waits for
-- transactions that are writing to it, unless its triggers are there already.
--
-- In a database that is a target, too, a table that inbox-processor writes to is sent on only with cascade; what is
-- attached so stays so.
create or replace function replication.attach(relation regclass, cascade boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $attach$
declare
    shape replication.shape;
    known_shape_id int;
    role_number int;
    captured_by regrole;
    is_first boolean := replication.capture_id(relation) is null;
    refused record;
begin
    shape := replication.describe(relation);
    if is_first then
        perform replication.require_attachable(relation, attach.cascade);
    else
        perform replication.follow_rename(relation);
        if replication.capture_switch(relation) <> 'on' then
            perform replication.note_hole(relation, 'off');
        end if;
    end if;
    role_number := replication.capture_role_of(relation);
    captured_by := case when role_number = 0 and not replication.is_superuser() then current_user
                        else replication.capture_role_name(role_number) end;
    -- An older version captured it past row security, as it is to go on.
    if not is_first and replication.row_security_hides(relation, captured_by) and replication.is_superuser()
       and to_regproc('replication.capture_explain_' || replication.capture_id(relation)) is null then
        perform replication.capture_past_row_security(relation);
    end if;
    perform replication.require_seen_in_full(relation, captured_by, is_first);

    select s.id into known_shape_id
    from replication.shape s
    where replication.capture_role_number(s.id) = role_number
      and (s.schema_name, s.table_name, s.columns, s.key_columns, s.types, s.generated, s.key_collations)
        = (shape.schema_name, shape.table_name, shape.columns, shape.key_columns, shape.types, shape.generated, shape.key_collations)
    order by s.id limit 1;
    if known_shape_id is null then
        insert into replication.shape (id, schema_name, table_name, columns, key_columns, types, generated, key_collations)
        overriding system value
        values (replication.new_shape_id(role_number), shape.schema_name, shape.table_name, shape.columns, shape.key_columns, shape.types, shape.generated, shape.key_collations)
        returning id into known_shape_id;
    end if;
    shape.id := known_shape_id;

    insert into replication.attached as a (relation, shape_id, sent_oid, cascade)
    values (relation, shape.id, relation::oid, attach.cascade)
    on conflict on constraint attached_pkey do update set shape_id = excluded.shape_id, cascade = a.cascade or excluded.cascade
    where a.shape_id <> excluded.shape_id or excluded.cascade and not a.cascade;

    perform replication.renew_capture_functions(relation, shape.id);
    perform replication.renew_capture_triggers(relation);
    if is_first then
        select * into refused from replication.planning_problem(relation) limit 1;
        if refused.problem is not null then
            raise exception 'cannot attach %: %', relation, refused.problem
                using errcode = 'wrong_object_type', hint = refused.remedy;
        end if;
    end if;
end
$attach$;
comment on function replication.attach(regclass, boolean) is
    'Captures every change of the table from now on. The same table must exist in the target.';

-- Stops capturing a table. Events that were captured before are still replicated.
-- Touches replication.attached and the triggers of the table. Takes the oid of a table that is gone, too, and one that is
-- not to take the place of an attached table whose name it has.
create or replace function replication.detach(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $detach$
declare
    functions text[] := array(select f from replication.capture_function_names(relation) f);
    trigger_name text;
    forgotten bigint;
begin
    if not exists (select from pg_class c where c.oid = relation) and functions <> '{}' then
        perform replication.follow_drop(relation);
        return;
    end if;
    forgotten := replication.forget_holes(relation);
    delete from replication.attached a where a.relation = detach.relation;
    if not found and forgotten = 0 then
        raise warning '% was not attached', relation;
    end if;
    for trigger_name in select t from replication.capture_triggers(relation) t loop
        execute format('drop trigger %I on %s', trigger_name, relation);
    end loop;
    perform replication.drop_capture_functions(functions);
    perform replication.take_from_capture_roles(relation);
end
$detach$;
comment on function replication.detach(regclass) is
    'Stops capturing changes of the table.';

-- Renews the capture functions of tables that an older version attached. Locks none of these tables. A table that needs
-- other triggers is left to "outbox-publisher migrate", and reported by replication.capture_problem until then.
do $do$
declare
    attached regclass;
begin
    for attached in
        select a.relation from replication.attached a
        where (select r.reason from replication.refusal(a.relation) r) is null
          and not exists (select from replication.stale_capture_triggers(a.relation))
        order by a.relation
    loop
        perform replication.attach(attached);
    end loop;
    -- What earlier versions left where a table had got another oid by a restore.
    perform replication.drop_capture_functions(array(
        select 'replication.' || p.proname
        from pg_proc p
        where p.pronamespace = 'replication'::regnamespace and p.proname ~ '^(capture_(insert_|rows_|explain_)?|verify_(slice|keys)_)[0-9]+$'
          and substring(p.proname from '[0-9]+$') not in (select a.id::text from replication.attached a)));
end
$do$;
