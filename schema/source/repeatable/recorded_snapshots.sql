-- Snapshots that capture records, of which the publisher makes ticks after a pause.
--
-- A tick may be any snapshot that the source ever had, between the last tick and now. While no publisher takes ticks,
-- nobody but the writers can tell what these were: so about every 4,096 events one of them records the snapshot that its
-- statement has. It costs the others a look at the sequence of the outbox.

-- Of older versions. What calls it is created again below.
drop function if exists replication.capture_wake() cascade;

-- Whether a capture has nothing to do after its events: no publisher waits to be woken, and no snapshot is due. A due
-- snapshot stays due for some events, since a statement may add several, and other sessions add theirs in between.
create or replace function replication.capture_is_over() returns text
language sql immutable
set search_path = pg_catalog, pg_temp
return $over$coalesce(pg_catalog.pg_sequence_last_value('replication.wake_wanted'), 1) operator(pg_catalog.<>) 2
                        and pg_catalog.pg_sequence_last_value('replication.outbox_event_id_seq') operator(pg_catalog.%) 4096 operator(pg_catalog.>=) 16$over$;

-- What it does otherwise. A transaction that has notified cannot be prepared.
create or replace function replication.capture_afterwards() returns text
language sql immutable
set search_path = pg_catalog, pg_temp
return format($afterwards$if not (%s) then
                    if pg_catalog.pg_sequence_last_value('replication.outbox_event_id_seq') operator(pg_catalog.%%) 4096 operator(pg_catalog.<) 16 then
                        insert into replication.recorded_snapshot default values;
                    end if;
                    if pg_catalog.pg_sequence_last_value('replication.wake_wanted') operator(pg_catalog.=) 2
                            and pg_catalog.current_setting('max_prepared_transactions') operator(pg_catalog.=) '0' then
                        perform pg_catalog.pg_notify('replication_wake', '');
                    end if;
                end if;$afterwards$, replication.capture_is_over());

-- The recorded snapshots behind this one, up to rows_max, in the order of their xmax: almost the order in which they were
-- taken. The transaction that recorded one counts as ended in its own snapshot, and was in progress.
create or replace function replication.recorded_snapshots(after_xmax xid8, after_id bigint, rows_max int)
returns table (snapshot_xmax xid8, id bigint, snapshot pg_snapshot)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select r.snapshot_xmax, r.id,
           format('%s:%s:%s', least(pg_snapshot_xmin(r.snapshot), r.txid), r.snapshot_xmax,
                  (select string_agg(in_progress::text, ',' order by in_progress)
                   from (select pg_snapshot_xip(r.snapshot)
                         union
                         select r.txid where r.txid < r.snapshot_xmax) as open (in_progress)))::pg_snapshot
    from replication.recorded_snapshot r
    where (r.snapshot_xmax, r.id) > (after_xmax, after_id)
    order by r.snapshot_xmax, r.id limit rows_max;
end;

-- Whether the second snapshot is later than the first, or the same: nothing that has ended in the first is in progress in
-- the second.
create or replace function replication.is_later(former pg_snapshot, later pg_snapshot) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
return pg_snapshot_xmax(former) <= pg_snapshot_xmax(later)
       and not exists (select from pg_snapshot_xip(later) open where pg_visible_in_snapshot(open, former));
