-- How the target is, for operators: replicationctl, and whoever has only psql.

drop view if exists replication.target_overview, replication.target_lately, replication.hold_transaction;

-- One row, also before the first message. Seconds are null where nothing can be known.
create view replication.target_overview as
select p.source, clock_timestamp() as looked_at, p.received_tick, p.received_ordinal < p.received_total as receives_tick,
       p.applied_tick, a.applied_at,
       p.held_since, p.held_error, p.held_txid,
       (select to_json(s) from replication.paused s where s.what = 'applying') as paused,
       (select coalesce(sum(b.last_ordinal - b.first_ordinal + 1), 0) from replication.inbox_batch b
        where b.tick > coalesce(p.applied_tick, 0))::bigint as unapplied_events,
       o.source_time, extract(epoch from o.behind)::float8 as behind_seconds,
       h.version as source_version, h.trouble as source_trouble,
       extract(epoch from clock_timestamp() - h.heard_at)::float8 as source_heard_seconds,
       extract(epoch from h.heard_at - h.said_at)::float8 as clock_skew_seconds,
       pg_total_relation_size('replication.inbox_batch') as inbox_bytes,
       (select q.unseen from replication.quarantine_status q) as quarantine_unseen,
       (select count(*) from replication.skipped_transaction s where s.applied_tick is not null) as skipped_transactions,
       coalesce(p.deletes_missing + p.inserts_overwritten, 0) as drifted_rows,
       replication.is_led('processor') as processor_leads
from (select) always
left join replication.position p on true
left join replication.applied_tick a on a.tick = p.applied_tick
left join replication.as_of o on true
left join replication.heard_source h on true;
comment on view replication.target_overview is
    'The target in one row: positions, what waits, how old what it shows is, what is wrong.';

-- What operators and the services did last.
create view replication.target_lately as
select p.paused_at as at, format('%s paused applying: %s', p.paused_by, p.reason) as what
from replication.pause p where p.what = 'applying'
union all
select p.resumed_at, format('%s resumed applying', p.resumed_by)
from replication.pause p where p.what = 'applying' and p.resumed_at is not null
union all
select s.ordered_at, format('%s skipped transaction %s: %s', s.skipped_by, s.txid, s.reason)
from replication.skipped_transaction s
union all
select d.adopted_at, format('%s had this target follow the source %s instead of %s', d.adopted_by, d.to_source, d.from_source)
from replication.adoption d
union all
select q.seen_at, format('%s acknowledged the messages in quarantine up to %s', q.seen_by, q.up_to_id)
from replication.quarantine_seen q
union all
select max(q.received_at), format('%s messages are in quarantine', count(*))
from replication.quarantine q having count(*) > 0
union all
select max(v.applied_at), format('the %s schema came to version %s', v.side, max(v.version))
from replication.schema_version v where v.side = 'target' group by v.side, date_trunc('minute', v.applied_at);
comment on view replication.target_lately is 'What happened in the target, as far as it is on record.';

-- What waits while apply is blocked, by transaction; empty while it is not.
create view replication.hold_transaction as
select h.tick, h.txid, count(*) as events, array_agg(distinct h.table_name order by h.table_name) as tables,
       bool_or(h.refused) as refused,
       exists (select from replication.skipped_transaction s join replication.position p using (source)
               where s.txid = h.txid and s.applied_tick is null) as is_to_be_skipped
from replication.hold_status h
group by h.tick, h.txid;
comment on view replication.hold_transaction is
    'Each source transaction that waits while apply is blocked; refused: the one that blocks, null where that cannot be told.';

-- What accept would do with the tables that a pattern means, without changing anything: reason says why it would refuse.
create or replace function replication.accept_plan(pattern text, role regrole default null)
returns table (table_name text, is_accepted boolean, reason text, remedy text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $plan$
begin
    return query
    select t.relation::text,
           exists (select from replication.written w where w.relation = t.relation)
           and coalesce(has_table_privilege(role, t.relation, 'select, insert, update, delete'), true),
           coalesce(r.reason, c.reason), case when r.reason is not null then r.remedy else c.remedy end
    from replication.tables_like(pattern) as t (relation)
    cross join lateral replication.accept_refusal(t.relation, role) r
    cross join lateral replication.code_refusal(
        t.relation, coalesce(role, (select n.nspowner from pg_namespace n where n.nspname = 'replication')::regrole)) c;
end
$plan$;
comment on function replication.accept_plan(text, regrole) is
    'The tables that a pattern means (shop.*), whether they are accepted, and why replication.accept would refuse them.';
