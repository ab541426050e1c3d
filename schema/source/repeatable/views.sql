-- Views for people and scripts.

-- The short name is recreated with the view, where there is one.
select replication.drop_short_name('outbox');
-- What is made of these views goes with them.
drop view if exists replication.source_finding, replication.source_overview, replication.source_lately, replication.attached_table;
drop view if exists replication.outbox, replication.source_status, replication.not_attached;

-- The outbox with its state. Branches with constant flags and bounds on both sides of txid, so that
-- "where processed = false" reads only what is not yet processed, however much is retained.
create view replication.outbox as
with mark as materialized (
    select published.snapshot as published, confirmed.snapshot as confirmed,
           replication.source_digits() as source_digits
    from replication.progress p
    join replication.tick published on published.tick = p.published_tick
    join replication.tick confirmed on confirmed.tick = p.confirmed_tick
), event as (
    select e.*, true as processed, true as confirmed
    from replication.outbox_event e
    where e.txid < pg_snapshot_xmin((select confirmed from mark))
    union all
    select e.*, true, true
    from replication.outbox_event e
    where e.txid >= pg_snapshot_xmin((select confirmed from mark))
      and e.txid < pg_snapshot_xmax((select confirmed from mark))
      and pg_visible_in_snapshot(e.txid, (select confirmed from mark))
    union all
    select e.*, true, false
    from replication.outbox_event e
    where e.txid >= pg_snapshot_xmin((select confirmed from mark))
      and e.txid < pg_snapshot_xmax((select published from mark))
      and pg_visible_in_snapshot(e.txid, (select published from mark))
      and not pg_visible_in_snapshot(e.txid, (select confirmed from mark))
    union all
    select e.*, false, false
    from replication.outbox_event e
    where e.txid >= pg_snapshot_xmin((select published from mark))
      and not pg_visible_in_snapshot(e.txid, (select published from mark))
)
select replication.event_id(e.id, (select source_digits from mark)) as event_id,
       s.schema_name || '.' || s.table_name as table_name,
       case e.operation when 'I' then 'INSERT' when 'U' then 'UPDATE'
                        when 'D' then 'DELETE' else 'TRUNCATE' end as operation,
       replication.row_as_json(s.key_columns, e.key_text) as key,
       replication.row_as_json(s.columns, e.row_text) as data,
       e.created_at, e.processed, e.confirmed, e.txid, e.id
from event e
join replication.shape s on s.id = e.shape_id;
comment on view replication.outbox is
    'One row per captured change. processed: stored by JetStream; confirmed: committed in the target.';

-- The progress of this source; one row.
create view replication.source_status as
select replication.source_id() as source,
       (select max(t.tick) from replication.tick t) as last_tick,
       p.published_tick, p.confirmed_tick, p.target,
       p.timeline as matched_timeline, replication.wal_timeline() as wal_timeline,
       p.held_since, p.held_error, p.held_event,
       (select count(*) from replication.skipped_event) as skipped_events
from replication.progress p;
comment on view replication.source_status is
    'matched_timeline <> wal_timeline: after a failover, publishing waits until the target confirms a tick of this history. held_error: what cannot be sent; everything behind it waits.';

-- Tables of the application whose changes are not captured.
create view replication.not_attached as
select n.nspname as schema_name, c.relname as table_name, refused.reason,
       coalesce(refused.remedy, format('select replication.attach(%L);', c.oid::regclass::text)) as remedy
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
cross join lateral (select r.reason, case when r.reason is not null then r.remedy end as remedy from replication.refusal(c.oid) r) refused
where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
  and n.nspname not in ('replication', 'pg_catalog', 'information_schema')
  and not exists (select from replication.attached a where a.relation = c.oid)
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e');
comment on view replication.not_attached is
    'Tables that are not replicated: reason says why attach would refuse one, null where it would not; remedy says what to run.';

-- Per attached table, the events that are not contained in a tick, in the caller's snapshot (hence
-- STABLE), and by how many rows they change the table's count (null where a TRUNCATE makes that unknowable).
-- Null arguments mean: from the very beginning. An unknown tick is an error.
create or replace function replication.pending_after(
    after_tick bigint, after_tick_id uuid,
    out table_name text, out events bigint, out net_rows bigint, out oldest timestamptz)
returns setof record
language plpgsql stable
as $pending$
declare
    boundary pg_snapshot;
    oldest bigint;
begin
    select t.snapshot into boundary
    from replication.tick t
    where t.tick = coalesce(after_tick, 0) and t.tick_id = coalesce(after_tick_id, t.tick_id);
    if boundary is null then
        select min(t.tick) into oldest from replication.tick t;
        if coalesce(after_tick, 0) < oldest then
            raise exception 'the target is older than OUTBOX_RETENTION: it has tick %, and ticks % to % have left the outbox',
                coalesce(after_tick, 0), coalesce(after_tick, 0) + 1, oldest;
        end if;
        raise exception 'tick % (%), which the target has, is not part of the history of this source', after_tick, after_tick_id;
    end if;
    return query
    select name.table_name, coalesce(pending.events, 0),
           case when pending.truncated then null else coalesce(pending.net_rows, 0) end, pending.oldest
    from (select distinct s.schema_name || '.' || s.table_name as table_name
          from replication.attached a join replication.shape s on s.id = a.shape_id) name
    left join (
        select s.schema_name || '.' || s.table_name as table_name, count(*) as events,
               (count(*) filter (where e.operation = 'I') - count(*) filter (where e.operation = 'D'))::bigint as net_rows,
               bool_or(e.operation = 'T') as truncated, min(e.created_at) as oldest
        from replication.outbox_event e join replication.shape s on s.id = e.shape_id
        where e.txid >= pg_snapshot_xmin(boundary) and not pg_visible_in_snapshot(e.txid, boundary)
        group by 1) pending using (table_name);
end
$pending$;

select replication.make_short_name_again('outbox');
