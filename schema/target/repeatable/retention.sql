-- What the target no longer needs to remember.

-- Deletes up to rows_max batches and as many processed events, of ticks that were applied more than `keep` ago;
-- the ids of applied ticks stay for keep_ticks, since they tell another history. Returns how many rows went
-- (0: there is nothing more to do now).
--
-- processed_events has no index by tick. Its ids grow with time, so the oldest are looked at in their order, as
-- long as there are some to delete among them.
create or replace function replication.prune_inbox(keep interval, keep_ticks interval, rows_max int) returns bigint
language plpgsql
set search_path = pg_catalog
as $prune$
declare
    boundary bigint;
    pruned bigint;
    total bigint := 0;
begin
    select max(a.tick) into boundary
    from replication.applied_tick a, replication.position p
    where a.tick < p.applied_tick and a.applied_at < clock_timestamp() - keep;
    if boundary is not null then
        with doomed as (
            select b.tick, b.first_ordinal from replication.inbox_batch b
            where b.tick <= boundary order by b.tick, b.first_ordinal limit greatest(rows_max / 100, 1))
        delete from replication.inbox_batch b using doomed d where (b.tick, b.first_ordinal) = (d.tick, d.first_ordinal);
        get diagnostics total = row_count;

        with oldest as (
            select e.event_id, e.tick from replication.processed_events e order by e.event_id limit rows_max)
        delete from replication.processed_events e using oldest o
        where e.event_id = o.event_id and o.tick <= boundary;
        get diagnostics pruned = row_count;
        total := total + pruned;
    end if;
    if total > 0 then
        return total;
    end if;

    -- Last, since the boundary above is found among them.
    with doomed as (
        select a.tick from replication.applied_tick a, replication.position p
        where a.tick < p.applied_tick and a.applied_at < clock_timestamp() - greatest(keep, keep_ticks)
        order by a.tick limit rows_max)
    delete from replication.applied_tick a using doomed d where a.tick = d.tick;
    get diagnostics pruned = row_count;
    return pruned;
end
$prune$;
