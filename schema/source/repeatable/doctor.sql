-- Everything in the source that keeps it from being replicated, or may.

drop view if exists replication.source_finding;
-- level: critical, warning or note. remedy is a statement of this database unless it begins with --.
create view replication.source_finding as
select 'critical' as level, format('PostgreSQL %s is older than 15', current_setting('server_version')) as finding,
       '-- upgrade the server' as remedy
where current_setting('server_version_num')::int < 150000
union all
select 'critical', 'the database has the encoding SQL_ASCII, whose bytes need not be text',
       '-- restore it into a database that is created with ENCODING ''UTF8'''
where getdatabaseencoding() = 'SQL_ASCII'
union all
select 'critical', p.table_name || ': ' || regexp_replace(p.problem, '; run: .*$', ''),
       -- Of statements that are to be run one after the other, or one instead of the other.
       coalesce(replace(replace(substring(p.problem from '; run: (select .*)$'), ', select ', '; select '), ', or: ', '; -- or: ') || ';',
                '-- ' || coalesce(substring(p.problem from '; (.*)$'), 'look at the table'))
from replication.capture_problem p
union all
select 'warning', 'no table is attached, so nothing is replicated', 'select replication.attach(''...'');'
where not exists (select from replication.attached)
union all
select 'note', format('%I.%I is not attached%s', n.schema_name, n.table_name, coalesce(', and cannot be: ' || n.reason, '')), n.remedy
from replication.not_attached n
union all
select 'warning', 'no event trigger follows DDL: run replication.attach again in the transaction of each ALTER TABLE',
       '-- outbox-publisher migrate, with a DATABASE_URL of a superuser'
where not exists (select from pg_event_trigger t where t.evtname = 'replication_follow_ddl' and t.evtenabled in ('O', 'A'))
union all
select 'critical', 'no outbox-publisher works on this database', '-- start outbox-publisher'
where not replication.is_led('publisher')
union all
select 'critical', format('publishing is held up since %s: %s', s.held_since, s.held_error),
       format('select replication.skip_event(%L, ''why''); -- or as the message says', s.held_event)
from replication.source_status s where s.held_error is not null
union all
select 'critical', format('the source is on timeline %s, and the target has not confirmed a tick of it', s.wal_timeline),
       '-- is inbox-processor up? Its log says what it waits for'
from replication.source_status s where s.wal_timeline <> s.matched_timeline
union all
select 'warning', format('publishing is paused since %s by %s: %s', p.paused_at, p.paused_by, p.reason), 'select replication.resume(''publishing'');'
from replication.paused p where p.what = 'publishing'
union all
select 'critical', case when h.heard_at is null then 'no inbox-processor was ever heard'
                        else format('inbox-processor was last heard at %s', h.heard_at) end,
       '-- is inbox-processor up, and may it publish on the confirms'' subject?'
from replication.progress p left join replication.heard_target h on true
where p.published_tick > 0 and (h.heard_at is null or h.heard_at < clock_timestamp() - interval '30 seconds')
union all
select 'warning', 'the inbox-processor is in trouble: ' || h.trouble, '-- the log of inbox-processor'
from replication.heard_target h where h.trouble is not null and h.heard_at > clock_timestamp() - interval '30 seconds'
union all
select 'warning', format('the transaction of pid %s is open since %s: what was deleted since then keeps its space', a.pid, a.xact_start),
       format('select pg_terminate_backend(%s);', a.pid)
from pg_stat_activity a
where a.datname = current_database() and a.xact_start < clock_timestamp() - interval '1 hour' and a.backend_type = 'client backend';
comment on view replication.source_finding is
    'What keeps this source from being replicated, or may; each with the statement that mends it.';
