-- How the source is, for operators: replicationctl, and whoever has only psql.

drop view if exists replication.source_overview, replication.source_lately, replication.attached_table;

-- One row. What is counted is counted up to a hundred thousand, so that a long backlog does not hide the rest.
create view replication.source_overview as
select s.source, clock_timestamp() as looked_at, s.last_tick, s.published_tick, s.confirmed_tick, s.target,
       case when s.wal_timeline <> s.matched_timeline then s.wal_timeline end as unmatched_timeline,
       s.held_since, s.held_error, s.held_event, s.skipped_events,
       (select to_json(p) from replication.paused p where p.what = 'publishing') as paused,
       (select count(*) from (select from replication.outbox o where o.processed = false limit 100000) o) as unpublished_events,
       (select count(*) from (select from replication.outbox o where o.confirmed = false limit 100000) o) as unconfirmed_events,
       extract(epoch from clock_timestamp() - coalesce(
           (select t.taken_at from replication.tick t where t.tick = s.confirmed_tick + 1),
           (select min(o.created_at) from (select created_at from replication.outbox where confirmed = false limit 100000) o)))::float8
           as oldest_unconfirmed_seconds,
       (select e.created_at from replication.outbox_event e order by e.txid desc, e.id desc limit 1) as last_event_at,
       extract(epoch from clock_timestamp()
               - (select e.created_at from replication.outbox_event e order by e.txid desc, e.id desc limit 1))::float8 as last_event_seconds,
       pg_total_relation_size('replication.outbox_event') as outbox_bytes,
       -- Of the latest events, index and page overhead included: by so much the outbox grows while nothing is confirmed.
       (select coalesce((sum(e.bytes + 100) / greatest(extract(epoch from clock_timestamp() - min(e.created_at)), 1))::bigint, 0)
        from (select coalesce(pg_column_size(o.row_text), 0) + coalesce(pg_column_size(o.key_text), 0) as bytes, o.created_at
              from replication.outbox_event o order by o.txid desc, o.id desc limit 10000) e) as outbox_bytes_per_second,
       (select count(*) from replication.attached) as attached_tables,
       (select count(*) from replication.capture_problem) as capture_problems,
       h.version as target_version, h.trouble as target_trouble,
       extract(epoch from clock_timestamp() - h.heard_at)::float8 as target_heard_seconds,
       replication.is_led('publisher') as publisher_leads
from replication.source_status s
left join replication.heard_target h on true;
comment on view replication.source_overview is
    'The source in one row: positions, what waits, what is wrong. Counts of events stop at 100000.';

-- What operators and the services did last.
create view replication.source_lately as
select p.paused_at as at, format('%s paused publishing: %s', p.paused_by, p.reason) as what
from replication.pause p where p.what = 'publishing'
union all
select p.resumed_at, format('%s resumed publishing', p.resumed_by)
from replication.pause p where p.what = 'publishing' and p.resumed_at is not null
union all
select s.skipped_at, format('%s skipped event %s of %s: %s', s.skipped_by, s.event_id, s.table_name, s.reason)
from replication.skipped_event s
union all
select h.noticed_at, format('changes of %I.%I may have escaped the capture (%s)', h.schema_name, h.table_name, h.kind)
from replication.capture_hole h
union all
select a.attached_at, format('%s was attached', a.relation)
from replication.attached a
union all
select max(v.applied_at), format('the %s schema came to version %s', v.side, max(v.version))
from replication.schema_version v where v.side = 'source' group by v.side, date_trunc('minute', v.applied_at);
comment on view replication.source_lately is 'What happened in the source, as far as it is on record.';

-- The attached tables, for people.
create view replication.attached_table as
select n.nspname || '.' || c.relname as table_name, a.relation::oid as relation, s.schema_name, s.table_name as plain_name, a.attached_at,
       a.cascade, s.key_columns, s.columns, s.types, s.generated, s.key_collations,
       greatest(c.reltuples, 0)::bigint as rows_estimated, pg_table_size(c.oid) as bytes,
       (select count(*) from replication.capture_problem p where p.table_name = s.schema_name || '.' || s.table_name) as problems
from replication.attached a
join replication.shape s on s.id = a.shape_id
join pg_class c on c.oid = a.relation
join pg_namespace n on n.oid = c.relnamespace;
comment on view replication.attached_table is 'One row per attached table; rows_estimated is the planner''s estimate.';

-- What attach would do with the tables that a pattern means, without locking anything: reason says why it would refuse.
create or replace function replication.attach_plan(pattern text)
returns table (table_name text, is_attached boolean, reason text, remedy text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select t.relation::text, exists (select from replication.attached a where a.relation = t.relation), r.reason,
           case when r.reason is not null then r.remedy end
    from replication.tables_like(pattern) as t (relation) cross join lateral replication.refusal(t.relation) r;
end;
comment on function replication.attach_plan(text) is
    'The tables that a pattern means (shop.*), whether they are attached, and why replication.attach would refuse them.';
