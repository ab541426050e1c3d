-- Pruning the inbox.

-- Deletes up to rows_max batches and as many processed events, of ticks that were applied more than `keep` ago. The ids
-- of applied ticks stay for keep_ticks, since they identify the history. Returns the number of deleted rows (0: nothing
-- is left to do now).
--
-- Rows are deleted by ctid, which never changes here; a self-join reads the whole table each time.
--
-- processed_events has no index by tick. Its ids grow with time, so the oldest are examined in that order, as long as
-- some of them can be deleted.
create or replace function replication.prune_inbox(keep interval, keep_ticks interval, rows_max int) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $prune$
declare
    oldest bigint := coalesce((select min(b.tick) from replication.inbox_batch b),
                              (select p.applied_tick from replication.position p));
    boundary bigint;
    pruned bigint;
    total bigint := 0;
begin
    -- Looks at the oldest ticks that have batches, however many are kept. Earlier ones have none left, but may have events.
    select coalesce(max(a.tick), oldest - 1) into boundary
    from replication.applied_tick a, replication.position p
    where a.tick between oldest and oldest + rows_max
      and a.tick < p.applied_tick and a.applied_at < clock_timestamp() - keep;
    if boundary is not null then
        delete from replication.inbox_batch b where b.ctid = any (array(
            select o.ctid from replication.inbox_batch o
            where o.tick <= boundary order by o.tick, o.first_ordinal limit greatest(rows_max / 100, 1)));
        get diagnostics total = row_count;

        delete from replication.processed_events e where e.ctid = any (array(
            select o.ctid
            from (select p.ctid, p.tick from replication.processed_events p order by p.event_id limit rows_max) o
            where o.tick <= boundary));
        get diagnostics pruned = row_count;
        total := total + pruned;
    end if;
    if total > 0 then
        return total;
    end if;

    -- Last, since the boundary above is found among them. None whose batches are left: a tick that has become old enough
    -- just now would seem not to be applied.
    with doomed as (
        select a.tick from replication.applied_tick a, replication.position p
        where a.tick < least(p.applied_tick, (select min(b.tick) from replication.inbox_batch b))
          and a.applied_at < clock_timestamp() - greatest(keep, keep_ticks)
        order by a.tick limit rows_max)
    delete from replication.applied_tick a using doomed d where a.tick = d.tick;
    get diagnostics pruned = row_count;
    return pruned;
end
$prune$;
