-- Snapshots that capture records now and then. After a pause the publisher makes ticks of them, so that what was
-- written meanwhile is many ticks and not a single large one.
--
-- No capture may choose the values: it has the privilege to insert the identity alone, which cannot be given a value.
create table replication.recorded_snapshot (
    id bigint generated always as identity (cache 1),
    txid xid8 not null default pg_current_xact_id(),
    snapshot pg_snapshot not null default pg_current_snapshot(),
    snapshot_xmax xid8 not null default pg_snapshot_xmax(pg_current_snapshot()),
    primary key (snapshot_xmax, id)
);
comment on table replication.recorded_snapshot is
    'Moments of the past at which a tick may still be taken.';
alter table replication.recorded_snapshot set (autovacuum_vacuum_scale_factor = 0.05);
