-- Who this source is, and the way to begin anew where its history and the target's have parted: after a failover or
-- a restore that lost ticks, a dump and restore, pg_upgrade, or when the target needs ticks that were pruned.

create or replace function replication.source_id() returns text
language sql stable security definer   -- who may look at the outbox need not see the marks
set search_path = pg_catalog, pg_temp
return (select c.system_identifier || '/' || current_database() || coalesce('/' || p.history, '')
        from pg_control_system() c, replication.progress p);

-- The WAL timeline that this server writes now: another one after each promotion. Null on a standby.
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

-- Keeps outbox-publisher from running until the caller's transaction ends; refuses while it runs.
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

-- Refuses a transaction whose snapshot is older than the locks that the function has still to wait for.
create or replace function replication.require_read_committed(caller text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $require$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'replication.% must run in a READ COMMITTED transaction: it has to see what it waited for', caller
            using errcode = 'invalid_transaction_state',
                  hint = 'begin transaction isolation level read committed;';
    end if;
end
$require$;

-- Begins a new history: forgets all ticks and events, and sends every attached table as it is now, in the
-- caller's transaction. Returns the new name of this source, for replication.adopt_source in the target.
--
-- Touches replication.progress, tick and outbox_event. Waits for transactions that are writing to attached
-- tables, and lets none write until the caller's ends. Refuses while outbox-publisher runs.
create or replace function replication.start_over() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $start_over$
declare
    attached regclass;
begin
    perform replication.require_read_committed('start_over');
    perform replication.keep_publisher_out();
    -- Tables before the outbox, as every writer takes them.
    for attached in select a.relation from replication.attached a order by a.relation loop
        execute format('lock table %s in share row exclusive mode', attached);
    end loop;
    truncate replication.outbox_event;
    -- Tick 0 has nothing: whatever is in the outbox from here on comes after it. Not pg_current_snapshot(): a
    -- transaction counts as ended in its own snapshot once a younger one has ended, and what is sent below would
    -- belong to no tick.
    insert into replication.tick as t (tick, previous_id, snapshot)
    values (0, '00000000-0000-0000-0000-000000000000', '3:3:')   -- 3: the first transaction there can be
    on conflict (tick) do update set tick_id = gen_random_uuid(), snapshot = excluded.snapshot,
        taken_at = clock_timestamp();
    update replication.progress
    set published_tick = 0, confirmed_tick = 0, target = null, timeline = null,
        history = left(replace(gen_random_uuid()::text, '-', ''), 8);
    delete from replication.tick t where t.tick <> 0;
    perform replication.resend(a.relation) from replication.attached a order by a.relation;
    return replication.source_id();
end
$start_over$;
comment on function replication.start_over() is
    'Begins a new history with a full copy of every attached table; then adopt the returned source in the target.';

-- Lets another target confirm: one that took the place of the one so far, on purpose. The publisher must be
-- started again. Returns the target so far.
create or replace function replication.rebind_target() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $rebind$
declare
    former text;
begin
    perform replication.keep_publisher_out();
    select p.target into former from replication.progress p;
    -- Where the next one stands, it says itself.
    update replication.progress set target = null;
    return former;
end
$rebind$;
comment on function replication.rebind_target() is
    'The next target that confirms is the one whose confirms count.';
