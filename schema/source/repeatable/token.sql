-- Reading one's own writes: what replication.wait_for and replication.contains take in the target.

-- What the target is to show: in a transaction that has written, that transaction; otherwise all that the caller sees now.
-- Text for those functions, and for nobody else to read.
create or replace function replication.token() returns text
language sql volatile security definer   -- applications need no right on the tables of this schema
set search_path = pg_catalog, pg_temp
return concat_ws('|', replication.wal_timeline(),
                 coalesce('x' || pg_current_xact_id_if_assigned()::text, 's' || pg_current_snapshot()::text),
                 replication.source_id());
comment on function replication.token() is
    'For replication.wait_for and replication.contains in the target: this transaction, if it has written something; otherwise all that it sees.';
