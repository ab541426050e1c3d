-- Decisions of operators at the target: which source it follows, and what to do while apply is blocked.

-- Makes this target follow another source, from that source's first tick. Events of the former source that are not
-- applied yet are dropped. The tables stay; the new source's first tick replaces their rows (replication.start_over
-- at the source sends all of them).
create or replace function replication.adopt_source(source text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $adopt$
declare
    former replication.position;
begin
    -- The processor moves the position only from where it knows it to be, so it starts over after this.
    select p.* into former from replication.position p for update;
    if former.source is null then
        raise exception 'this target follows no source yet; it will follow the first one that it receives from'
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    if former.source = adopt_source.source then
        raise exception 'this target follows the source % already', adopt_source.source
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    insert into replication.adoption (from_source, to_source, abandoned_tick)
    values (former.source, adopt_source.source, former.applied_tick);
    -- Tick 0, complete: the next event is the first one of this source's first tick.
    update replication.position p
    set source = adopt_source.source, timeline = 0, received_tick = 0, received_id = '00000000-0000-0000-0000-000000000000',
        received_ordinal = 1, received_total = 1, applied_tick = null, applied_id = null, held_since = null, held_error = null, held_txid = null;
    truncate replication.inbox_batch, replication.applied_tick, replication.processed_events;
end
$adopt$;
comment on function replication.adopt_source(text) is
    'Follows another source (as replication.start_over returned it there) from its first tick; recorded in replication.adoption.';

-- What blocks apply, and what waits: the events of each source transaction that is not applied. Empty while apply is
-- not blocked. "refused" is null in the tick that blocks apply where it cannot be told which transaction does.
create or replace view replication.hold_status as
select p.held_since, p.held_error, e.tick, e.txid, e.operation, e.table_name, e.key, e.data,
       case when e.tick = coalesce(p.applied_tick, 0) + 1 then e.txid = p.held_txid else false end as refused
from replication.position p
join replication.inbox_event e on e.tick > coalesce(p.applied_tick, 0)
where p.held_since is not null;
comment on view replication.hold_status is
    'What blocks apply (refused) and what waits behind it, event by event; replication.skip_transaction takes the txid.';

-- Has the processor retry within a second; by itself it retries every few seconds.
create or replace function replication.retry_hold() returns void
language sql
set search_path = pg_catalog, pg_temp
begin atomic
    select nextval('replication.retry_wanted');
end;

-- Skips a source transaction, on record. The target is then no snapshot of the source until the rows are sent again
-- (replication.resend at the source). Only a transaction that waits while apply is blocked can be skipped. Waits for an
-- attempt that is under way: it may apply the transaction, and the order would stay open for ever.
create or replace function replication.skip_transaction(txid bigint, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $skip$
begin
    perform from replication.position p for update;
    if not exists (select from replication.hold_status h where h.txid = skip_transaction.txid) then
        raise exception 'transaction % is not pending behind a blocked apply', txid using errcode = 'object_not_in_prerequisite_state',
            hint = 'select * from replication.hold_status;';
    end if;
    insert into replication.skipped_transaction (txid, source, reason)
    select skip_transaction.txid, p.source, skip_transaction.reason from replication.position p;
    perform replication.retry_hold();
end
$skip$;
comment on function replication.skip_transaction(bigint, text) is
    'Skips a source transaction that waits while apply is blocked; recorded with its events in replication.skipped_transaction.';

-- Quarantines messages that inbox-processor cannot use: how many there are, and of the last of them the reasons (UTF8),
-- the beginnings and the sizes. Ids count all messages. Those of the last 1,000 that were given are kept, with at most
-- 2,000 characters of the reason. No event is lost by that: it leaves the outbox only after it is applied here.
create or replace function replication.set_aside(messages bigint, reasons bytea[], beginnings bytea[], sizes bigint[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $set_aside$
declare
    kept_max constant int := 1000;
    last bigint;
begin
    select coalesce(max(q.id), 0) + set_aside.messages into last from replication.quarantine q;
    insert into replication.quarantine (id, reason, payload, bytes) overriding system value
    select last - cardinality(reasons) + m.number, left(replication.text_for_people(m.reason), 2000), m.beginning, m.size
    from unnest(reasons, beginnings, sizes) with ordinality as m (reason, beginning, size, number);
    delete from replication.quarantine q where q.id <= last - kept_max;
end
$set_aside$;

-- The same for one message: programs of the version before call it.
create or replace function replication.set_aside(reason text, payload bytea) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $set_aside$
declare
    kept_max constant int := 1000;
    bytes_max constant int := 65536;
    number bigint;
begin
    select coalesce(max(q.id), 0) + 1 into number from replication.quarantine q;
    insert into replication.quarantine (id, reason, payload, bytes) overriding system value
    values (number, left(set_aside.reason, 2000), substr(set_aside.payload, 1, bytes_max), octet_length(set_aside.payload));
    delete from replication.quarantine q where q.id <= number - kept_max;
end
$set_aside$;

-- How many messages were ever quarantined, how many of them are not acknowledged, how many are kept; one row.
create or replace view replication.quarantine_status as
select coalesce(max(q.id), 0) as messages,
       greatest(coalesce(max(q.id), 0) - (select coalesce(max(s.up_to_id), 0) from replication.quarantine_seen s), 0) as unseen,
       count(*) as kept
from replication.quarantine q;
comment on view replication.quarantine_status is
    'Messages ever quarantined, those not yet acknowledged, and those kept in replication.quarantine.';

-- Acknowledges all quarantined messages; returns how many were new.
create or replace function replication.quarantine_acknowledge() returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $acknowledge$
declare
    standing replication.quarantine_status;
begin
    select * into standing from replication.quarantine_status;
    if standing.unseen > 0 then
        insert into replication.quarantine_seen (up_to_id) values (standing.messages);
    end if;
    return standing.unseen;
end
$acknowledge$;
comment on function replication.quarantine_acknowledge() is
    'Acknowledges the messages in replication.quarantine; the check no longer reports them.';
