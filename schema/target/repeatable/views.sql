-- Views for people and scripts.

select replication.drop_short_name('inbox');
select replication.drop_short_name('processed_events');
-- What is made of these views goes with them.
drop view if exists replication.target_finding, replication.target_overview, replication.target_lately, replication.hold_transaction;
drop view if exists replication.hold_status, replication.inbox, replication.inbox_event, replication.target_status, replication.target_drift, replication.as_of;

-- The batches of the inbox, event by event. A message is parsed once, however many events it has (hence
-- OFFSET 0, which keeps the planner from repeating it).
create view replication.inbox_event as
select b.tick, b.tick_id, b.received_at,
       message.first + e.number - 1 as ordinal,
       (e.event ->> 'event_id')::uuid as event_id,
       (e.event ->> 'txid')::bigint as txid,
       (shape.shape ->> 'schema') || '.' || (shape.shape ->> 'table') as table_name,
       e.event ->> 'operation' as operation,
       replication.row_as_json(replication.json_texts(shape.shape -> 'key'), e.event ->> 'key') as key,
       replication.row_as_json(replication.json_texts(shape.shape -> 'columns'), e.event ->> 'row') as data
from replication.inbox_batch b
cross join lateral (
    select parsed.json -> 'events' as events, parsed.json -> 'shapes' as shapes,
           (parsed.json ->> 'first')::bigint as first
    from (select coalesce(b.payload, replication.text_for_people(b.payload_utf8))::json as json offset 0) as parsed
    offset 0) as message
cross join lateral json_array_elements(message.events) with ordinality as e (event, number)
cross join lateral (
    select s.shape from json_array_elements(message.shapes) as s (shape)
    where s.shape ->> 'id' = e.event ->> 'shape' limit 1) as shape
-- A batch that overlapped what was there was stored from its first new event on.
where message.first + e.number - 1 between b.first_ordinal and b.last_ordinal;

-- The inbox for people. created_at is when the event's message was stored here.
create view replication.inbox as
select e.event_id, e.table_name, e.operation, e.key, e.data,
       e.received_at as created_at,
       a.tick is not null as processed,
       a.applied_at as processed_at,
       case when a.tick is null then (select p.held_error from replication.position p) end as error,
       e.tick,
       e.ordinal
from replication.inbox_event e
left join replication.applied_tick a on a.tick = e.tick and a.tick_id = e.tick_id;
comment on view replication.inbox is
    'One row per event. The table behind it, replication.inbox_batch, has one row per message.';

-- The progress of this target; no row before the first message.
create view replication.target_status as
select p.source, p.received_tick, p.received_ordinal, p.received_total, p.applied_tick, p.applied_id as applied_tick_id,
       (select a.applied_at from replication.applied_tick a where a.tick = p.applied_tick) as applied_at,
       (select coalesce(sum(b.last_ordinal - b.first_ordinal + 1), 0) from replication.inbox_batch b)::bigint
           as inbox_events,
       (select coalesce(sum(b.last_ordinal - b.first_ordinal + 1), 0) from replication.inbox_batch b
        where b.tick > coalesce(p.applied_tick, 0))::bigint as inbox_unprocessed,
       (select max(b.received_at) from replication.inbox_batch b) as last_received_at,
       p.held_since, p.held_error
from replication.position p;

-- As of when this target shows its source. While nothing happens there, the source's heartbeats move it on.
create view replication.as_of as
select shown.source, shown.tick, shown.snapshot, shown.source_time,
       -- Each difference is by one clock.
       greatest(shown.said_at - shown.source_time + (clock_timestamp() - shown.heard_at), interval '0') as behind,
       shown.heard_at as source_heard_at, shown.version as source_version, shown.trouble as source_trouble,
       shown.timeline
from (select p.source, p.applied_tick as tick, h.said_at, h.heard_at, h.version, h.trouble,
             case when h.is_newer then h.snapshot when p.snapshot_id = p.applied_id then p.snapshot end as snapshot,
             case when h.is_newer then h.looked_at else a.taken_at end as source_time,
             -- Of the tick: that of the message that came last. No tick of a timeline that was left behind is applied.
             case when not h.is_newer or h.is_newer is null then p.timeline when h.timeline_looked_at = h.looked_at then h.timeline end as timeline
      from replication.position p
      left join replication.applied_tick a on (a.tick, a.tick_id) = (p.applied_tick, p.applied_id)
      left join lateral (
          select h.*, h.tick_id = p.applied_id and h.tick = p.applied_tick as is_newer
          from replication.heard_source h where h.source = p.source) h on true
      where p.applied_tick is not null) shown;
comment on view replication.as_of is
    'Readers here see exactly the transactions of the source that the snapshot contains; source_time is by the clock of the source, behind is how long ago that is. Null where the source is too old to say it.';

create view replication.target_drift as
select p.deletes_missing, p.inserts_overwritten from replication.position p;
comment on view replication.target_drift is
    'deletes_missing: rows deleted in the source that were gone here already. inserts_overwritten: rows new in the source whose key was here already.';

select replication.make_short_name_again('inbox');
select replication.make_short_name_again('processed_events');
