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
