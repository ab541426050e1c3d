-- A change that escapes capture unnoticed is worse than an error. This view is empty while every attached table is
-- captured in full. outbox-publisher queries it once a minute, check-replication.sh on each run.

drop view if exists replication.capture_problem;
create view replication.capture_problem as
with attached as (
    select a.relation, a.id, s.schema_name || '.' || s.table_name as table_name, s.columns, s.types, s.key_columns,
           quote_literal(a.relation::text) as literal,
           format('%I.%I', s.schema_name, s.table_name) as known_as,
           exists (select from pg_class c where c.oid = a.relation) as is_there
    from replication.attached a join replication.shape s on s.id = a.shape_id
)
select a.table_name, 'the table is gone; run: select replication.detach(' || a.relation::oid || ')' as problem
from attached a
where not a.is_there
union all
select h.table_name, h.problem from replication.hole_problem h
union all
select a.table_name,
       case when t.tgenabled is null then 'its capture trigger for ' || e.event || ' is missing'
            else 'its capture trigger for ' || e.event || ' is not enabled always' end
       || '; changes of it escape; run: select replication.attach(' || a.literal || '), select replication.resend(' || a.literal || ')'
from attached a
cross join unnest(array['insert', 'update', 'delete', 'truncate']) as e (event)
left join pg_trigger t on t.tgrelid = a.relation and t.tgname = 'replication_' || e.event
where a.is_there and t.tgenabled is distinct from 'A'
union all
select distinct a.table_name, 'its capture triggers are of an older version; run, as with each new version: outbox-publisher migrate'
from attached a
cross join lateral replication.stale_capture_triggers(a.relation) e
join pg_trigger t on t.tgrelid = a.relation and t.tgname = 'replication_' || e and t.tgenabled = 'A'
where a.is_there
union all
select a.table_name,
       'its columns were changed and the capture does not know; run: select replication.attach('
       || a.literal || ')'
from attached a
where a.is_there
  and (a.columns is distinct from (
           select array_agg(c.attname::text order by c.attnum) from pg_attribute c
           where c.attrelid = a.relation and c.attnum > 0 and not c.attisdropped)
       -- An older version did not note types.
       or a.types <> '{}' and a.types is distinct from replication.column_types(a.relation))
union all
select a.table_name,
       'it is ' || format('%I.%I', n.nspname, c.relname) || ' now and the capture does not know; run: select replication.attach('
       || a.literal || ')'
from attached a
join pg_class c on c.oid = a.relation
join pg_namespace n on n.oid = c.relnamespace
where a.known_as <> format('%I.%I', n.nspname, c.relname)
union all
select a.table_name,
       'its primary key was changed and the capture does not know; run: select replication.attach(' || a.literal || ')'
from attached a
where a.is_there and a.key_columns <> replication.primary_key(a.relation)
union all
select a.table_name, r.reason || '; ' || r.remedy
from attached a cross join lateral replication.refusal(a.relation) r
where a.is_there and r.reason is not null
union all
select a.table_name, 'a logical subscription writes to it, which fires no statement triggers: its changes escape capture; '
       || 'take the table out of the subscription and run: select replication.resend(' || a.literal || '); or attach it at the '
       || 'server where its rows come from'
from attached a
where a.is_there and replication.is_fed_by_subscription(a.relation)
union all
select a.table_name, 'its primary key is INITIALLY DEFERRED: of two transactions that change one key at the same time the '
       || 'wrong one may win in the target; recreate the key as NOT DEFERRABLE or INITIALLY IMMEDIATE'
from attached a
where a.is_there and replication.has_deferred_key(a.relation)
union all
select a.table_name, 'row security hides rows from the capture, which reads them as ' || quote_ident(o.rolname)
       || '; run: ALTER TABLE ' || a.relation::text || ' NO FORCE ROW LEVEL SECURITY; or give that role BYPASSRLS'
from attached a
join pg_class c on c.oid = a.relation
join pg_proc p on p.oid = to_regproc('replication.capture_' || a.id)
join pg_roles o on o.oid = p.proowner
where replication.row_security_hides(a.relation, o.oid)
union all
select distinct a.table_name, 'its capture runs with the rights of ' || quote_ident(o.rolname) || ', which the table''s owner could take; '
       || 'run as a superuser: select replication.attach(' || a.literal || ')'
from attached a
cross join lateral replication.capture_function_names(a.relation) f
join pg_proc p on p.oid = to_regproc(f)
join pg_roles o on o.oid = p.proowner
join pg_class c on c.oid = a.relation
join (select distinct_owner.oid, replication.capture_role_name(replication.capture_role_number(distinct_owner.oid::regrole)) as role
      from (select distinct c.relowner as oid from attached a join pg_class c on c.oid = a.relation) distinct_owner
      offset 0) owner on owner.oid = c.relowner
where o.rolsuper or o.oid <> owner.oid and o.rolname is distinct from owner.role
union all
select 'replication.outbox_event', 'whoever owns an attached table could add events of other owners'' tables; run, as with each new version: '
       || 'outbox-publisher migrate'
where not replication.is_outbox_guarded()
union all
select a.table_name, 'its capture may not read it, so that changes of it fail; run as a superuser: select replication.attach(' || a.literal || ')'
from attached a
join pg_proc p on p.oid = to_regproc('replication.capture_' || a.id)
where a.is_there
  and not (has_table_privilege(p.proowner, a.relation, 'select')
           and (select bool_and(has_schema_privilege(p.proowner, s, 'usage')) from replication.capture_schemas(a.relation) s))
union all
select a.table_name, p.problem || '; ' || p.remedy
from attached a cross join lateral replication.planning_problem(a.relation) p
where a.is_there
union all
select distinct n.nspname || '.' || c.relname, 'its changes are captured although it is not attached; run: select replication.attach('
       || quote_literal(c.oid::regclass::text) || '), or: select replication.detach(' || quote_literal(c.oid::regclass::text) || ')'
from pg_proc p
join pg_trigger t on t.tgfoid = p.oid
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
where p.pronamespace = 'replication'::regnamespace and p.proname ~ '^capture_(insert_)?[0-9]+$'
  and not exists (select from replication.attached a where a.relation = c.oid)
union all
-- With a cache, ids of one session would run ahead of another's, and order would be lost.
select 'replication.outbox_event', 'its id sequence must have CACHE 1'
from pg_sequences s
where s.schemaname = 'replication' and s.sequencename = 'outbox_event_id_seq' and s.cache_size <> 1;
comment on view replication.capture_problem is
    'Empty while every attached table is captured in full; otherwise what is wrong, and what to run.';
