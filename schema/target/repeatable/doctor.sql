-- Everything in the target that keeps it from following its source, or may.

drop view if exists replication.target_finding;
-- level: critical, warning or note. remedy is a statement of this database unless it begins with --.
create view replication.target_finding as
select 'critical' as level, format('PostgreSQL %s is older than 15', current_setting('server_version')) as finding,
       '-- upgrade the server' as remedy
where current_setting('server_version_num')::int < 150000
union all
select 'critical', format('%s, which is written to: %s', w.relation, r.reason), r.remedy
from replication.written w cross join lateral replication.accept_refusal(w.relation, null) r
where exists (select from pg_class c where c.oid = w.relation) and r.reason is not null
union all
select 'critical', format('the role %s, which is to apply, may not set session_replication_role', r.role),
       format('GRANT SET ON PARAMETER session_replication_role TO %s;', r.role)
from replication.roles_that_update('replication.position') as r (role)
where not has_parameter_privilege(r.role, 'session_replication_role', 'set')
union all
select 'critical', 'no inbox-processor works on this database', '-- start inbox-processor'
where not replication.is_led('processor')
union all
select 'note', 'nothing has ever arrived', '-- is a table attached in the source, and outbox-publisher up?'
where not exists (select from replication.position)
union all
select 'critical', format('apply is blocked since %s: %s', p.held_since, p.held_error),
       'select * from replication.hold_transaction; -- then mend the table as the message says'
from replication.position p where p.held_error is not null
union all
select 'warning', format('applying is paused since %s by %s: %s', p.paused_at, p.paused_by, p.reason), 'select replication.resume(''applying'');'
from replication.paused p where p.what = 'applying'
union all
select 'critical', case when h.heard_at is null then 'no outbox-publisher was ever heard'
                        else format('outbox-publisher was last heard at %s', h.heard_at) end,
       '-- is outbox-publisher up, and may it publish on the heartbeats'' subject?'
from (select) always left join replication.heard_source h on true
where exists (select from replication.position) and (h.heard_at is null or h.heard_at < clock_timestamp() - interval '30 seconds')
union all
select 'warning', 'the outbox-publisher is in trouble: ' || h.trouble, '-- the log of outbox-publisher'
from replication.heard_source h where h.trouble is not null and h.heard_at > clock_timestamp() - interval '30 seconds'
union all
select 'warning', format('the clocks of source and target differ by about %s s', round(abs(extract(epoch from h.heard_at - h.said_at)))),
       '-- have both machines keep the time (NTP)'
from replication.heard_source h
where h.heard_at > clock_timestamp() - interval '30 seconds' and abs(extract(epoch from h.heard_at - h.said_at)) > 10
union all
select 'warning', format('%s messages in quarantine are not acknowledged', q.unseen),
       'select id, received_at, reason from replication.quarantine order by id desc; select replication.quarantine_acknowledge();'
from replication.quarantine_status q where q.unseen > 0
union all
select 'note', format('others have changed rows here; replication met %s of them', d.deletes_missing + d.inserts_overwritten),
       '-- ./compare-replication.sh names rows that differ'
from replication.target_drift d where d.deletes_missing + d.inserts_overwritten > 0;
comment on view replication.target_finding is
    'What keeps this target from following its source, or may; each with the statement that mends it.';
