-- The way of one transaction, as far as the source knows it.

-- The first tick whose snapshot sees the transaction; null where there is none yet, or none any more. A tick sees all that
-- the one before it saw, so half of those that are left are ruled out by each look.
create or replace function replication.tick_of(txid xid8) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $tick_of$
declare
    before bigint := (select min(t.tick) from replication.tick t);
    seen bigint := (select max(t.tick) from replication.tick t);
    middle bigint;
begin
    if not (select pg_visible_in_snapshot(txid, t.snapshot) from replication.tick t where t.tick = seen)
       or (select pg_visible_in_snapshot(txid, t.snapshot) from replication.tick t where t.tick = before) then
        return null;
    end if;
    while seen - before > 1 loop
        middle := (before + seen) / 2;
        if (select pg_visible_in_snapshot(txid, t.snapshot) from replication.tick t where t.tick = middle) then
            seen := middle;
        else
            before := middle;
        end if;
    end loop;
    return seen;
end
$tick_of$;

-- Where the transaction is. status: committed, in progress, aborted, or null where PostgreSQL does not know any more;
-- committed_at is null unless track_commit_timestamp is on. is_pruned: it is older than all that is kept here, and so is
-- confirmed.
create or replace function replication.trace_in_source(txid xid8)
returns table (status text, committed_at timestamptz, captured_at timestamptz, events bigint, tick bigint, tick_id uuid, ticked_at timestamptz,
               published boolean, confirmed boolean, is_pruned boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $trace$
declare
    tick_of bigint;
    sees_all_before boolean;
begin
    status := pg_xact_status(txid);
    begin
        committed_at := pg_xact_commit_timestamp(txid::xid);
    exception when object_not_in_prerequisite_state or invalid_parameter_value then
        committed_at := null;
    end;
    select min(e.created_at), count(*) into captured_at, events from replication.outbox_event e where e.txid = trace_in_source.txid;
    -- A snapshot sees what was rolled back, too.
    tick_of := case when status is distinct from 'aborted' then replication.tick_of(txid) end;
    select pg_visible_in_snapshot(trace_in_source.txid, t.snapshot) into sees_all_before
    from replication.tick t order by t.tick limit 1;
    is_pruned := sees_all_before and status is distinct from 'aborted';
    select t.tick, t.tick_id, t.taken_at, t.tick <= p.published_tick, t.tick <= p.confirmed_tick
    into tick, tick_id, ticked_at, published, confirmed
    from replication.tick t, replication.progress p where t.tick = tick_of;
    return next;
end
$trace$;
comment on function replication.trace_in_source(xid8) is
    'Where a transaction of this source is: captured, in which tick, published, confirmed.';

-- The token of a transaction that is known by its id.
create or replace function replication.token(txid xid8) returns text
language plpgsql stable security definer   -- applications need no right on the tables of this schema
set search_path = pg_catalog, pg_temp
as $token$
begin
    if pg_xact_status(txid) = 'aborted' then
        raise exception 'transaction % was rolled back: it will never be in the target', txid using errcode = 'invalid_parameter_value';
    end if;
    return concat_ws('|', replication.wal_timeline(), 'x' || txid::text, replication.source_id());
end
$token$;
comment on function replication.token(xid8) is
    'For replication.wait_for and replication.contains in the target: the transaction of this id.';
