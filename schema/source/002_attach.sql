-- Attaching a table: from that moment on, every committed change of it is captured.

-- Attaches a table, or refreshes what is known of it (after ALTER TABLE).
--
-- Writes a capture function for the table: its statements are then planned once per session, which
-- a common function with dynamic SQL cannot have (measured: 17 against 75 µs per statement).
-- Touches replication.shape, replication.attached, and the triggers of the table. Waits for
-- transactions that are writing to it.
create function replication.attach(relation regclass) returns void
language plpgsql
set search_path = pg_catalog
as $attach$
declare
    shape replication.shape;
    known_shape_id int;
    event text;
begin
    shape := replication.describe(relation);

    select s.id into known_shape_id
    from replication.shape s
    where (s.schema_name, s.table_name, s.columns, s.key_columns, s.types, s.generated)
        = (shape.schema_name, shape.table_name, shape.columns, shape.key_columns, shape.types, shape.generated)
    order by s.id limit 1;
    if known_shape_id is null then
        insert into replication.shape (schema_name, table_name, columns, key_columns, types, generated)
        values (shape.schema_name, shape.table_name, shape.columns, shape.key_columns, shape.types, shape.generated)
        returning id into known_shape_id;
    end if;
    shape.id := known_shape_id;

    insert into replication.attached as a (relation, shape_id) values (relation, shape.id)
    on conflict on constraint attached_pkey do update set shape_id = excluded.shape_id
    where a.shape_id <> excluded.shape_id;

    execute replication.capture_function(relation, shape);
    foreach event in array array['insert', 'update', 'delete', 'truncate'] loop
        execute replication.capture_trigger(relation, event);
        -- Also in sessions with session_replication_role = replica.
        execute format('alter table %s enable always trigger %I', relation, 'replication_' || event);
    end loop;
end
$attach$;
comment on function replication.attach(regclass) is
    'Captures every change of the table from now on. The same table must exist in the target.';

-- What an attached table looks like; refuses what cannot be carried.
create function replication.describe(relation regclass) returns replication.shape
language plpgsql stable
set search_path = pg_catalog
as $describe$
declare
    shape replication.shape;
    kind "char";
    persistence "char";
begin
    select c.relkind, c.relpersistence, n.nspname, c.relname
    into kind, persistence, shape.schema_name, shape.table_name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = relation;
    if kind <> 'r' or persistence <> 'p' then
        raise exception 'cannot attach %: it is not an ordinary, permanent table', relation
            using errcode = 'wrong_object_type';
    end if;

    -- Under this function's search path a type's name is qualified wherever it has to be.
    select array_agg(a.attname::text order by a.attnum),
           array_agg(format_type(a.atttypid, a.atttypmod) order by a.attnum),
           coalesce(array_agg(a.attname::text order by a.attnum) filter (where a.attgenerated <> ''), '{}')
    into shape.columns, shape.types, shape.generated
    from pg_attribute a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped;

    select array_agg(a.attname::text order by k.number) into shape.key_columns
    from pg_index i
    cross join unnest(i.indkey) with ordinality as k (attnum, number)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = relation and i.indisprimary;
    if shape.key_columns is null then
        raise exception 'cannot attach %: it has no primary key', relation
            using errcode = 'object_not_in_prerequisite_state',
                  hint = format('Add one: ALTER TABLE %s ADD PRIMARY KEY (...);', relation);
    end if;
    return shape;
end
$describe$;

-- The expression for a row's text form. It is the row's own, except that xml drops its declaration there
-- and keeps it when it is cast.
create function replication.row_text(relation regclass, alias text) returns text
language sql stable
set search_path = pg_catalog
return (
    select case when bool_or(xml) then format('case when %s.ctid is not null then row(%s)::text end', alias,
                                              string_agg(format(case when xml then '%s.%I::text' else '%s.%I' end, alias, attname),
                                                         ', ' order by attnum))
                else format('%s::text', alias) end
    from (select a.attname, a.attnum, 'xml'::regtype in (t.oid, t.typbasetype) as xml
          from pg_attribute a join pg_type t on t.oid = a.atttypid
          where a.attrelid = relation and a.attnum > 0 and not a.attisdropped) as columns
);

-- The statement that creates a table's capture function.
--
-- The function writes, for each key that the statement touched, the row as it stands now: rows
-- as the statement wrote them would leave the target wrong where an AFTER ROW trigger changes its own row,
-- since the nested statement's triggers fire first. Reading again by key always converges.
-- The settings pin the text form of values, and the plan: a loop over the touched keys with a
-- look-up in the primary key (transition tables have no statistics; other joins ran for minutes).
create function replication.capture_function(relation regclass, shape replication.shape) returns text
language sql stable
set search_path = pg_catalog
return format(
    $format$
    create or replace function replication.%1$I() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog
    set extra_float_digits = 3
    set datestyle = 'ISO, YMD'
    set intervalstyle = 'postgres'
    set bytea_output = 'hex'
    set timezone = 'UTC'
    set lc_monetary = 'C'
    set enable_hashjoin = off
    set enable_mergejoin = off
    set enable_seqscan = off
    set jit = off
    as $capture$
    declare
        wake_wanted bigint;
    begin
        if tg_op = 'INSERT' then
            insert into replication.outbox_event (shape_id, operation, key_text, row_text)
            select %2$s, 'I', row(%3$s)::text, %7$s
            from new_rows k left join %4$s t on %5$s;
        elsif tg_op = 'UPDATE' then
            insert into replication.outbox_event (shape_id, operation, key_text, row_text)
            select %2$s, 'U', row(%3$s)::text, %7$s
            from (select %6$s from old_rows union select %6$s from new_rows) k
            left join %4$s t on %5$s;
        elsif tg_op = 'DELETE' then
            insert into replication.outbox_event (shape_id, operation, key_text, row_text)
            select %2$s, 'D', row(%3$s)::text, %7$s
            from old_rows k left join %4$s t on %5$s;
        else
            insert into replication.outbox_event (shape_id, operation) values (%2$s, 'T');
        end if;
        select last_value into wake_wanted from replication.wake_wanted;
        if wake_wanted = 2 then
            perform pg_notify('replication_wake', '');
        end if;
        return null;
    end
    $capture$
    $format$,
    'capture_' || relation::oid,
    shape.id,
    (select string_agg(format('k.%I', name), ', ') from unnest(shape.key_columns) as key (name)),
    format('%I.%I', shape.schema_name, shape.table_name),
    replication.key_condition(relation, shape.key_columns, 't', 'k'),
    (select string_agg(format('%I', name), ', ') from unnest(shape.key_columns) as key (name)),
    replication.row_text(relation, 't'));

-- The statement that creates one of a table's four capture triggers.
create function replication.capture_trigger(relation regclass, event text) returns text
language sql stable
set search_path = pg_catalog
return format(
    'create or replace trigger %I after %s on %s %s for each statement execute function replication.%I()',
    'replication_' || event, event, relation,
    case event
        when 'insert' then 'referencing new table as new_rows'
        when 'update' then 'referencing old table as old_rows new table as new_rows'
        when 'delete' then 'referencing old table as old_rows'
    end,
    'capture_' || relation::oid);
