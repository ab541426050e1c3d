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
