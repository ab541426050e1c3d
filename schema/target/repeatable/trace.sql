-- The way of one transaction, as far as the target knows it.

-- Where a tick of the source is. is_known: this target follows that source, and its history is the one of the tick.
create or replace function replication.trace_in_target(source text, tick bigint, tick_id uuid)
returns table (is_known boolean, received boolean, received_at timestamptz, applied boolean, applied_at timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select p.source = trace_in_target.source and coalesce(a.tick_id, b.tick_id, trace_in_target.tick_id) = trace_in_target.tick_id,
           p.received_tick > trace_in_target.tick or p.received_tick = trace_in_target.tick and p.received_ordinal = p.received_total,
           b.received_at, coalesce(p.applied_tick >= trace_in_target.tick, false), a.applied_at
    from replication.position p
    left join replication.applied_tick a on a.tick = trace_in_target.tick
    left join lateral (
        select max(b.received_at) as received_at, (array_agg(b.tick_id))[1] as tick_id
        from replication.inbox_batch b where b.tick = trace_in_target.tick) b on true;
end;
comment on function replication.trace_in_target(text, bigint, uuid) is
    'Where a tick of the source is in this target: received and applied, and when, as long as that is kept.';
