-- Reading one's own writes: whether the caller sees what a token of the source stands for.

-- Whether every transaction that is visible in one snapshot is visible in the other.
create or replace function replication.is_part_of(part pg_snapshot, whole pg_snapshot) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
return pg_snapshot_xmax(part) <= pg_snapshot_xmax(whole)
   and not exists (select from pg_snapshot_xip(whole) as missing (id) where pg_visible_in_snapshot(missing.id, part));

-- Whether the caller's snapshot of this target contains what the token stands for. Null where the services are too old to
-- tell. An error where it can never be told here.
create or replace function replication.contains(token text) returns boolean
language plpgsql stable security definer   -- applications need no right on the tables of this schema
set search_path = pg_catalog, pg_temp
as $contains$
declare
    parts text[] := regexp_match(token, '^([0-9]+)\|([xs])([0-9:,]+)\|(.+)$');
    shown record;
begin
    if parts is null then
        raise exception 'this is no token: %', left(token, 100) using errcode = 'invalid_parameter_value',
            hint = 'In the source: select replication.token();';
    end if;
    select a.source, a.snapshot, a.timeline into shown from replication.as_of a;
    if not found then
        return false;   -- nothing was applied yet
    elsif shown.source <> parts[4] then
        raise exception 'the token is of the source %, and this target follows %', parts[4], shown.source
            using errcode = 'invalid_parameter_value', hint = 'After replication.start_over() the source has another name, and older tokens mean nothing.';
    elsif shown.timeline > parts[1]::bigint then
        raise exception 'the source was failed over since it gave the token (timeline % to %): whether that outlived it is not known here',
            parts[1], shown.timeline using errcode = 'invalid_parameter_value', hint = 'Look for it in the source.';
    elsif parts[2] = 'x' then
        return shown.timeline = parts[1]::bigint and pg_visible_in_snapshot(parts[3]::xid8, shown.snapshot);
    end if;
    return shown.timeline = parts[1]::bigint and replication.is_part_of(parts[3]::pg_snapshot, shown.snapshot);
end
$contains$;
comment on function replication.contains(text) is
    'Whether the caller sees here what the token of replication.token() in the source stands for.';

-- Waits until it does: what the caller reads afterwards contains it. An error, SQLSTATE RT001, when the time is up.
create or replace procedure replication.wait_for(token text, timeout interval default '10 seconds')
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $wait$
declare
    until timestamptz := clock_timestamp() + timeout;
    pause double precision := 0.001;
    shown record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'this transaction sees one state of the database until it ends; waiting changes nothing'
            using errcode = 'invalid_transaction_state', hint = 'Call replication.wait_for before it begins, or in a READ COMMITTED transaction.';
    end if;
    -- Each statement has a snapshot of its own.
    while not coalesce(replication.contains(token), false) loop
        if clock_timestamp() >= until then
            select a.source_time, a.behind, a.snapshot is null or a.timeline is null as unknown into shown from replication.as_of a;
            raise exception 'not here after %: %', timeout,
                case when shown is null then 'this target has applied nothing yet'
                     when shown.unknown then 'outbox-publisher or inbox-processor is too old to tell'
                     else format('this target shows the source as of %s, which was %s ago', shown.source_time, shown.behind) end
                using errcode = 'RT001', hint = 'Call it again, or look at ./check-replication.sh.';
        end if;
        perform pg_sleep(least(pause, extract(epoch from until - clock_timestamp())));
        pause := least(pause * 1.5, 0.02);
    end loop;
end
$wait$;
comment on procedure replication.wait_for(text, interval) is
    'Waits until the caller sees here what the token of replication.token() in the source stands for.';
