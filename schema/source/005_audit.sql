-- What would silently escape capture is worse than an error: this view is empty while every attached
-- table is captured in full. outbox-publisher looks at it once a minute, check-replication.sh each time.

create view replication.capture_problem as
with attached as (
    select a.relation, s.schema_name || '.' || s.table_name as table_name, s.columns,
           exists (select from pg_class c where c.oid = a.relation) as is_there
    from replication.attached a join replication.shape s on s.id = a.shape_id
)
select a.table_name, 'the table is gone; run: select replication.detach(' || a.relation::oid || ')' as problem
from attached a
where not a.is_there
union all
select a.table_name,
       case when t.tgenabled is null then 'its capture trigger for ' || e.event || ' is missing'
            else 'its capture trigger for ' || e.event || ' is not enabled always' end
       || '; changes of it escape; run: select replication.attach(' || quote_literal(a.table_name)
       || '), and compare the table with the target''s'
from attached a
cross join unnest(array['insert', 'update', 'delete', 'truncate']) as e (event)
left join pg_trigger t on t.tgrelid = a.relation and t.tgname = 'replication_' || e.event
where a.is_there and t.tgenabled is distinct from 'A'
union all
select a.table_name,
       'its columns were changed and the capture does not know; run: select replication.attach('
       || quote_literal(a.table_name) || ')'
from attached a
where a.is_there
  and a.columns is distinct from (
      select array_agg(c.attname::text order by c.attnum) from pg_attribute c
      where c.attrelid = a.relation and c.attnum > 0 and not c.attisdropped)
union all
-- With a cache, ids of one session would run ahead of another's, and order would be lost.
select 'replication.outbox_event', 'its id sequence must have CACHE 1'
from pg_sequences s
where s.schemaname = 'replication' and s.sequencename = 'outbox_event_id_seq' and s.cache_size <> 1;
comment on view replication.capture_problem is
    'Empty while every attached table is captured in full; else what is wrong, and what to run.';
