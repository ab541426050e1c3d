-- The identity of this source, and starting over when its history and the target's have diverged: after a failover or
-- a restore that lost ticks, a dump and restore, pg_upgrade, or when the target needs ticks that were pruned.

create or replace function replication.source_id() returns text
language sql stable security definer   -- whoever reads the outbox need not be able to read the progress
set search_path = pg_catalog, pg_temp
return (select c.system_identifier || '/' || current_database() || coalesce('/' || p.history, '')
        from pg_control_system() c, replication.progress p);

-- The WAL timeline that this server writes; each promotion begins a new one. Null on a standby.
create or replace function replication.wal_timeline() returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
return case when not pg_is_in_recovery()
            then ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint end;

-- The source's part of every event id: 14 hexadecimal digits that differ from source to source.
create or replace function replication.source_digits() returns text
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
return left(md5(replication.source_id()), 14);

-- Keeps outbox-publisher from leading until the caller's transaction ends. Refuses while one leads.
create or replace function replication.keep_publisher_out() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $keep_out$
begin
    if not pg_try_advisory_xact_lock(replication.lock_number('publisher')) then
        raise exception 'outbox-publisher runs on this database' using errcode = 'object_in_use',
            hint = 'Stop it first: ./stop-replication.sh outbox-publisher';
    end if;
end
$keep_out$;

-- Refuses a transaction whose snapshot was taken before the locks that the function still has to wait for.
create or replace function replication.require_read_committed(caller text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $require$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'replication.% must run in a READ COMMITTED transaction: it must see what was committed while it waited for locks', caller
            using errcode = 'invalid_transaction_state',
                  hint = 'begin transaction isolation level read committed;';
    end if;
end
$require$;

-- Begins a new history: deletes all ticks and events and captures every row of every attached table, in the caller's
-- transaction. Returns the new identity of this source, for replication.adopt_source in the target.
--
-- Touches the outbox, its ticks and replication.progress. Waits for transactions that are writing to attached tables, and
-- blocks writers of these tables until the caller's transaction ends. Refuses while outbox-publisher runs.
create or replace function replication.start_over() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $start_over$
declare
    attached regclass;
begin
    perform replication.require_read_committed('start_over');
    perform replication.keep_publisher_out();
    -- Tables before the outbox: the order in which every writer locks them.
    for attached in select a.relation from replication.attached a order by a.relation loop
        execute format('lock table %s in share row exclusive mode', attached);
    end loop;
    truncate replication.outbox_event, replication.moved_key, replication.recorded_snapshot;
    -- Tick 0 is empty, so every event from here on belongs to a later one. Not pg_current_snapshot(): there, a
    -- transaction counts as ended once a younger one has ended, and the rows captured below would belong to no tick.
    insert into replication.tick as t (tick, previous_id, snapshot)
    values (0, '00000000-0000-0000-0000-000000000000', '3:3:')   -- 3: the first transaction there can be
    on conflict (tick) do update set tick_id = gen_random_uuid(), snapshot = excluded.snapshot,
        taken_at = clock_timestamp();
    update replication.progress
    set published_tick = 0, confirmed_tick = 0, target = null, timeline = null,
        held_since = null, held_error = null, held_event = null, held_txid = null,
        history = left(replace(gen_random_uuid()::text, '-', ''), 8);
    delete from replication.tick t where t.tick <> 0;
    perform replication.resend(a.relation) from replication.attached a order by a.relation;
    return replication.source_id();
end
$start_over$;
comment on function replication.start_over() is
    'Begins a new history with a full copy of every attached table. Then adopt the returned source in the target.';

-- Binds this source to the next target that confirms, for an operator who replaces the target on purpose. Refuses while
-- outbox-publisher runs. Returns the former target.
create or replace function replication.rebind_target() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $rebind$
declare
    former text;
begin
    perform replication.keep_publisher_out();
    select p.target into former from replication.progress p;
    -- The next target reports its own position.
    update replication.progress set target = null;
    return former;
end
$rebind$;
comment on function replication.rebind_target() is
    'Binds this source to the next target that confirms.';
