-- Which transactions of the source the target shows: the snapshot of the tick that is applied, and that tick's id. A
-- service of the version before moves the position and not the snapshot: then the ids differ, and it is not known.
alter table replication.position add column snapshot pg_snapshot, add column snapshot_id uuid;

-- What the source said last; at most one row.
create table replication.heard_source (
    only_row boolean primary key default true check (only_row),
    source text not null,
    said_at timestamptz not null, -- by the clock of the source
    heard_at timestamptz not null default clock_timestamp(),
    version text not null,
    trouble text,                 -- null while the publisher is healthy
    events bigint not null,       -- that it has read to be sent since it began to lead
    -- When the tick was applied here, nothing had been captured behind it that this snapshot sees.
    tick bigint,
    tick_id uuid,
    snapshot pg_snapshot,
    looked_at timestamptz         -- by the clock of the source
);
comment on table replication.heard_source is 'What the source said in its last heartbeat.';
alter table replication.heard_source set (fillfactor = 50);

select replication.grant_as('replication.heard_source', 'replication.position');
