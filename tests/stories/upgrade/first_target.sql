-- What the first version that landed (5c0cfe4) made of a target's database.
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
-- The inbox, what was applied, and the position. Written only by inbox-processor, and always in the
-- transaction that it describes.

-- How far this target is; at most one row, for the one source that it follows.
create table replication.position (
    only_row boolean primary key default true check (only_row),
    source text not null,
    timeline bigint not null,
    -- Batches up to here are stored. (tick, id): a number alone does not identify a tick.
    received_tick bigint not null,
    received_id uuid not null,
    received_ordinal bigint not null,
    received_total bigint not null,
    -- Everything up to and including this tick is committed in the tables; null before the first.
    applied_tick bigint,
    applied_id uuid,
    -- An event that the target cannot take holds everything behind it.
    held_since timestamptz,
    held_error text,
    constraint received_within_total check (received_ordinal between 1 and received_total),
    constraint applied_not_beyond_received check (applied_tick <= received_tick)
);

-- Batches as received: one row for each message of a tick.
create table replication.inbox_batch (
    tick bigint not null,
    first_ordinal bigint not null,
    last_ordinal bigint not null,
    tick_id uuid not null,
    payload text not null,
    received_at timestamptz not null default clock_timestamp(),
    primary key (tick, first_ordinal)
);
create index inbox_batch_received_at on replication.inbox_batch (received_at);
comment on table replication.inbox_batch is
    'Messages as received, one row for each. The view "inbox" shows one row for each event.';

do $do$
begin
    alter table replication.inbox_batch alter column payload set compression lz4;
exception when feature_not_supported then
    raise warning 'this PostgreSQL is built without lz4; the inbox is compressed with pglz';
end
$do$;

-- The ticks that are committed here.
create table replication.applied_tick (
    tick bigint primary key,
    tick_id uuid not null,
    events bigint not null,
    taken_at timestamptz not null,
    applied_at timestamptz not null default clock_timestamp()
);

-- Every event whose effect is committed here: the second line of defence behind the position.
create table replication.processed_events (
    event_id uuid primary key,
    tick bigint not null,
    processed_at timestamptz not null default clock_timestamp()
);
comment on table replication.processed_events is
    'Every event that was applied, written in the transaction that applied it.';

-- Messages that cannot be ours, with the reason; they stop nothing.
create table replication.quarantine (
    id bigint generated always as identity primary key,
    received_at timestamptz not null default clock_timestamp(),
    reason text not null,
    payload bytea not null
);
insert into replication.schema_version (side, version, name) values ('target', 1, 'target/001_inbox_and_positions.sql');
-- What people and scripts look at.

-- The inbox, event by event. created_at is when the event's message was stored here.
create view replication.inbox as
select (e.event ->> 'event_id')::uuid as event_id,
       (shape.shape ->> 'schema') || '.' || (shape.shape ->> 'table') as table_name,
       e.event ->> 'operation' as operation,
       replication.row_as_json(replication.json_texts(shape.shape -> 'key'), e.event ->> 'key') as key,
       replication.row_as_json(replication.json_texts(shape.shape -> 'columns'), e.event ->> 'row') as data,
       b.received_at as created_at,
       a.tick is not null as processed,
       a.applied_at as processed_at,
       case when a.tick is null then (select p.held_error from replication.position p) end as error,
       b.tick,
       (b.payload::json ->> 'first')::bigint + e.number - 1 as ordinal
from replication.inbox_batch b
left join replication.applied_tick a on a.tick = b.tick and a.tick_id = b.tick_id
cross join lateral json_array_elements(b.payload::json -> 'events') with ordinality as e (event, number)
cross join lateral (
    select s.shape from json_array_elements(b.payload::json -> 'shapes') as s (shape)
    where s.shape ->> 'id' = e.event ->> 'shape' limit 1) as shape
-- A batch that overlapped what was there was stored from its first new event on.
where (b.payload::json ->> 'first')::bigint + e.number - 1 between b.first_ordinal and b.last_ordinal;
comment on view replication.inbox is
    'One row per event. The table behind it, replication.inbox_batch, has one row per message.';

-- Where this target stands; no row before the first message.
create view replication.target_status as
select p.source, p.received_tick, p.received_ordinal, p.received_total, p.applied_tick, p.applied_id as applied_tick_id,
       (select a.applied_at from replication.applied_tick a where a.tick = p.applied_tick) as applied_at,
       (select coalesce(sum(b.last_ordinal - b.first_ordinal + 1), 0) from replication.inbox_batch b)::bigint
           as inbox_events,
       (select coalesce(sum(b.last_ordinal - b.first_ordinal + 1), 0) from replication.inbox_batch b
        where b.tick > coalesce(p.applied_tick, 0))::bigint as inbox_unprocessed,
       (select max(b.received_at) from replication.inbox_batch b) as last_received_at,
       p.held_since, p.held_error
from replication.position p;

-- By their short names, unless the application has something of that name.
do $do$
declare
    name text;
begin
    foreach name in array array['inbox', 'processed_events'] loop
        if to_regclass('public.' || name) is null then
            execute format('create view public.%I as select * from replication.%I', name, name);
        else
            raise warning 'public.% is taken; use replication.%', name, name;
        end if;
    end loop;
end
$do$;
insert into replication.schema_version (side, version, name) values ('target', 2, 'target/002_views.sql');
