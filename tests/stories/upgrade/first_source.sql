-- What the first version that landed (5c0cfe4) made of a source's database.
create schema replication;
create table replication.schema_version (side text not null, version int not null, name text not null, applied_at timestamptz not null default clock_timestamp(), primary key (side, version));
-- Rows travel in PostgreSQL's own text form. People read JSON: these functions are for views only.

-- The fields of a row's text form (what record_out writes): NULL where a field is empty and unquoted.
create function replication.row_fields(row_text text) returns text[]
language sql immutable strict parallel safe
return (
    select array_agg(
        case
            when field = '' then null
            when left(field, 1) = '"' then
                replace(replace(substr(field, 2, length(field) - 2), '""', '"'), '\\', '\')
            else field
        end order by number)
    from regexp_matches(
             substr(row_text, 2, length(row_text) - 2) || ',',
             '("(?:[^"\\]|""|\\\\)*"|[^",]*),', 'g') with ordinality as match (fields, number),
         unnest(match.fields) as captured (field)
);

-- A row's text form as JSON, all values as strings; the text itself where it does not fit the columns.
create function replication.row_as_json(columns text[], row_text text) returns json
language sql immutable parallel safe
return case
    when row_text is null then null
    when cardinality(columns) = cardinality(replication.row_fields(row_text))
        then json_object(columns, replication.row_fields(row_text))
    else json_build_object('row', row_text)
end;

-- A JSON array of strings as an array.
create function replication.json_texts(list json) returns text[]
language sql immutable strict parallel safe
return (select array_agg(item order by number)
        from json_array_elements_text(list) with ordinality as element (item, number));
insert into replication.schema_version (side, version, name) values ('common', 1, 'common/001_rows_for_people.sql');
-- The outbox and its ticks.
--
-- The outbox is append-only: rows are written by the capture triggers, in the transaction of the
-- application, and never updated. What was published and confirmed is a position (tick), never a flag.
-- A tick is a snapshot, as in PgQ: its events are those visible in it and not in the tick before.

-- The form of a table's rows at the time of capture. Rows are never changed, only added.
create table replication.shape (
    id int generated always as identity primary key,
    schema_name text not null,
    table_name text not null,
    columns text[] not null,
    key_columns text[] not null
);

-- The tables that are captured, and the shape that their triggers write.
create table replication.attached (
    relation regclass primary key,
    shape_id int not null references replication.shape,
    attached_at timestamptz not null default clock_timestamp()
);

create table replication.outbox_event (
    txid xid8 not null default pg_current_xact_id(),
    id bigint generated always as identity (cache 1),
    shape_id int not null,
    operation "char" not null,   -- I, U, D, T: the statement
    key_text text,               -- the primary key as the text of a row; null for TRUNCATE
    row_text text,               -- the row after the statement; null where it is gone
    created_at timestamptz not null default clock_timestamp(),
    -- The only index. Reading a tick is a range of txid; there is nothing else to look up.
    primary key (txid, id)
);
comment on table replication.outbox_event is
    'Captured changes, append-only. Look at them through the view "outbox".';

create table replication.tick (
    tick bigint primary key,
    tick_id uuid not null default gen_random_uuid(),
    previous_id uuid not null,
    snapshot pg_snapshot not null,
    taken_at timestamptz not null default clock_timestamp()
);
comment on table replication.tick is
    'Moments between which events are carried; (tick, tick_id) identifies one, the number alone never does.';

-- Tick 0: everything before the outbox existed.
insert into replication.tick (tick, previous_id, snapshot)
values (0, '00000000-0000-0000-0000-000000000000', pg_current_snapshot());

-- How far it is published (acknowledged by JetStream) and confirmed (committed in the target).
-- Both may lag behind the truth after a crash; that only causes a resend.
create table replication.progress (
    only_row boolean primary key default true check (only_row),
    published_tick bigint not null references replication.tick,
    confirmed_tick bigint not null references replication.tick,
    target text,                 -- the one target whose confirms count
    check (confirmed_tick >= 0 and published_tick >= 0)
);
insert into replication.progress (published_tick, confirmed_tick) values (0, 0);

-- 2 while the publisher sleeps and wants a NOTIFY from the next capture, else 1. A sequence, because
-- reading it costs less than a table and sees the present value from any snapshot; and it may be
-- wrong without harm: the publisher polls as well.
create sequence replication.wake_wanted minvalue 1 maxvalue 2;

-- The source's part of every event id: 14 hexadecimal digits that differ from source to source.
create function replication.source_digits() returns text
language sql stable parallel safe
return (select left(md5(system_identifier || '/' || current_database()), 14) from pg_control_system());

-- A uuid (version 8) made of the outbox id and the source: the same on every resend, and ordered
-- by id, so that it costs no random index writes where it is stored.
create function replication.event_id(id bigint, source_digits text) returns uuid
language sql immutable parallel safe
return (left(lpad(to_hex(id), 16, '0'), 12) || '8' || substr(lpad(to_hex(id), 16, '0'), 13, 3)
        || '8' || right(to_hex(id), 1) || source_digits)::uuid;
insert into replication.schema_version (side, version, name) values ('source', 1, 'source/001_outbox_and_ticks.sql');
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
    where (s.schema_name, s.table_name, s.columns, s.key_columns)
        = (shape.schema_name, shape.table_name, shape.columns, shape.key_columns)
    order by s.id limit 1;
    if known_shape_id is null then
        insert into replication.shape (schema_name, table_name, columns, key_columns)
        values (shape.schema_name, shape.table_name, shape.columns, shape.key_columns)
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

    select array_agg(a.attname::text order by a.attnum) into shape.columns
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
            select %2$s, 'I', row(%3$s)::text, t::text
            from new_rows k left join %4$s t on (%5$s) = (%3$s);
        elsif tg_op = 'UPDATE' then
            insert into replication.outbox_event (shape_id, operation, key_text, row_text)
            select %2$s, 'U', row(%3$s)::text, t::text
            from (select %6$s from old_rows union select %6$s from new_rows) k
            left join %4$s t on (%5$s) = (%3$s);
        elsif tg_op = 'DELETE' then
            insert into replication.outbox_event (shape_id, operation, key_text, row_text)
            select %2$s, 'D', row(%3$s)::text, t::text
            from old_rows k left join %4$s t on (%5$s) = (%3$s);
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
    (select string_agg(format('t.%I', name), ', ') from unnest(shape.key_columns) as key (name)),
    (select string_agg(format('%I', name), ', ') from unnest(shape.key_columns) as key (name)));

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
insert into replication.schema_version (side, version, name) values ('source', 2, 'source/002_attach.sql');
-- What people and scripts look at.

-- The outbox with its state. Branches with constant flags and bounds on both sides of txid, so that
-- "where processed = false" reads only what is not yet processed, however much is retained.
create view replication.outbox as
with mark as materialized (
    select published.snapshot as published, confirmed.snapshot as confirmed,
           replication.source_digits() as source_digits
    from replication.progress p
    join replication.tick published on published.tick = p.published_tick
    join replication.tick confirmed on confirmed.tick = p.confirmed_tick
), event as (
    select e.*, true as processed, true as confirmed
    from replication.outbox_event e
    where e.txid < pg_snapshot_xmin((select confirmed from mark))
    union all
    select e.*, true, true
    from replication.outbox_event e
    where e.txid >= pg_snapshot_xmin((select confirmed from mark))
      and e.txid < pg_snapshot_xmax((select confirmed from mark))
      and pg_visible_in_snapshot(e.txid, (select confirmed from mark))
    union all
    select e.*, true, false
    from replication.outbox_event e
    where e.txid >= pg_snapshot_xmin((select confirmed from mark))
      and e.txid < pg_snapshot_xmax((select published from mark))
      and pg_visible_in_snapshot(e.txid, (select published from mark))
      and not pg_visible_in_snapshot(e.txid, (select confirmed from mark))
    union all
    select e.*, false, false
    from replication.outbox_event e
    where e.txid >= pg_snapshot_xmin((select published from mark))
      and not pg_visible_in_snapshot(e.txid, (select published from mark))
)
select replication.event_id(e.id, (select source_digits from mark)) as event_id,
       s.schema_name || '.' || s.table_name as table_name,
       case e.operation when 'I' then 'INSERT' when 'U' then 'UPDATE'
                        when 'D' then 'DELETE' else 'TRUNCATE' end as operation,
       replication.row_as_json(s.key_columns, e.key_text) as key,
       replication.row_as_json(s.columns, e.row_text) as data,
       e.created_at, e.processed, e.confirmed, e.txid, e.id
from event e
join replication.shape s on s.id = e.shape_id;
comment on view replication.outbox is
    'One row per captured change. processed: stored by JetStream; confirmed: committed in the target.';

-- Where this source stands; one row.
create view replication.source_status as
select (select system_identifier from pg_control_system()) || '/' || current_database() as source,
       (select max(t.tick) from replication.tick t) as last_tick,
       p.published_tick, p.confirmed_tick, p.target
from replication.progress p;

-- Per attached table, the events that are not contained in a tick, in the caller's snapshot (hence
-- STABLE), and by how many rows they change the table's count (null where a TRUNCATE makes that unknowable).
-- Null arguments mean: from the very beginning. An unknown tick is an error.
create function replication.pending_after(
    after_tick bigint, after_tick_id uuid,
    out table_name text, out events bigint, out net_rows bigint, out oldest timestamptz)
returns setof record
language plpgsql stable
as $pending$
declare
    boundary pg_snapshot;
begin
    select t.snapshot into boundary
    from replication.tick t
    where t.tick = coalesce(after_tick, 0) and t.tick_id = coalesce(after_tick_id, t.tick_id);
    if boundary is null then
        raise exception 'tick % (%) is not part of the history of this source', after_tick, after_tick_id;
    end if;
    return query
    select name.table_name, coalesce(pending.events, 0),
           case when pending.truncated then null else coalesce(pending.net_rows, 0) end, pending.oldest
    from (select distinct s.schema_name || '.' || s.table_name as table_name
          from replication.attached a join replication.shape s on s.id = a.shape_id) name
    left join (
        select s.schema_name || '.' || s.table_name as table_name, count(*) as events,
               (count(*) filter (where e.operation = 'I') - count(*) filter (where e.operation = 'D'))::bigint as net_rows,
               bool_or(e.operation = 'T') as truncated, min(e.created_at) as oldest
        from replication.outbox_event e join replication.shape s on s.id = e.shape_id
        where e.txid >= pg_snapshot_xmin(boundary) and not pg_visible_in_snapshot(e.txid, boundary)
        group by 1) pending using (table_name);
end
$pending$;

-- By its short name, unless the application has something of that name.
do $do$
begin
    if to_regclass('public.outbox') is null then
        create view public.outbox as select * from replication.outbox;
    else
        raise warning 'public.outbox is taken; use replication.outbox';
    end if;
end
$do$;
insert into replication.schema_version (side, version, name) values ('source', 3, 'source/003_views.sql');
-- ALTER TABLE on an attached table is followed in its own transaction: the rows captured before it keep
-- their shape, those after it get the new one.

-- Refreshes the attached tables that the DDL command touched, where it changed their columns or names.
-- Touches what replication.attach touches. The ALTER TABLE inside attach fires this again, and then
-- finds nothing changed.
create function replication.follow_alter_table() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog
as $follow$
declare
    changed regclass;
begin
    for changed in
        select a.relation
        from replication.attached a
        join replication.shape s on s.id = a.shape_id
        cross join lateral replication.describe(a.relation) d
        where a.relation in (select objid from pg_event_trigger_ddl_commands() where classid = 'pg_class'::regclass)
          and (s.schema_name, s.table_name, s.columns, s.key_columns)
           is distinct from (d.schema_name, d.table_name, d.columns, d.key_columns)
    loop
        perform replication.attach(changed);
    end loop;
end
$follow$;

do $do$
begin
    create event trigger replication_follow_alter_table on ddl_command_end
        when tag in ('ALTER TABLE')
        execute function replication.follow_alter_table();
exception when insufficient_privilege then
    raise warning 'without superuser rights ALTER TABLE cannot be followed: call replication.attach again in the same transaction';
end
$do$;

-- Ends the capture of a table. What was captured before is still carried.
-- Touches replication.attached and the triggers of the table.
create function replication.detach(relation regclass) returns void
language plpgsql
set search_path = pg_catalog
as $detach$
begin
    delete from replication.attached a where a.relation = detach.relation;
    -- Its triggers depend on it.
    execute format('drop function if exists replication.%I() cascade', 'capture_' || relation::oid);
end
$detach$;
comment on function replication.detach(regclass) is
    'Changes of the table are no longer captured from now on.';
insert into replication.schema_version (side, version, name) values ('source', 4, 'source/004_follow_alter_table.sql');
-- What would silently escape capture is worse than an error: this view is empty while every attached
-- table is captured in full. outbox-publisher looks at it once a minute, check-replication.sh each time.

create view replication.capture_problem as
with attached as (
    select a.relation, s.schema_name || '.' || s.table_name as table_name, s.columns,
           exists (select from pg_class c where c.oid = a.relation) as is_there
    from replication.attached a join replication.shape s on s.id = a.shape_id
)
select a.table_name, 'the table is gone; run: select replication.detach(' || a.relation::oid || ')' as problem
from attached a
where not a.is_there
union all
select a.table_name,
       case when t.tgenabled is null then 'its capture trigger for ' || e.event || ' is missing'
            else 'its capture trigger for ' || e.event || ' is not enabled always' end
       || '; changes of it escape; run: select replication.attach(' || quote_literal(a.table_name)
       || '), and compare the table with the target''s'
from attached a
cross join unnest(array['insert', 'update', 'delete', 'truncate']) as e (event)
left join pg_trigger t on t.tgrelid = a.relation and t.tgname = 'replication_' || e.event
where a.is_there and t.tgenabled is distinct from 'A'
union all
select a.table_name,
       'its columns were changed and the capture does not know; run: select replication.attach('
       || quote_literal(a.table_name) || ')'
from attached a
where a.is_there
  and a.columns is distinct from (
      select array_agg(c.attname::text order by c.attnum) from pg_attribute c
      where c.attrelid = a.relation and c.attnum > 0 and not c.attisdropped)
union all
-- With a cache, ids of one session would run ahead of another's, and order would be lost.
select 'replication.outbox_event', 'its id sequence must have CACHE 1'
from pg_sequences s
where s.schemaname = 'replication' and s.sequencename = 'outbox_event_id_seq' and s.cache_size <> 1;
comment on view replication.capture_problem is
    'Empty while every attached table is captured in full; else what is wrong, and what to run.';
insert into replication.schema_version (side, version, name) values ('source', 5, 'source/005_audit.sql');
