-- Whether this target has the rows of the source, as outbox-publisher finds by comparing them slice by slice.

-- The columns are those of replication.verification_of_source.
drop view if exists replication.verification, replication.verification_of_target;
create view replication.verification_of_target as
select h.relation, n.nspname || '.' || c.relname as table_name, 'target' as side, known.state,
       case when known.state = 'unknown' and known.trouble is null and h.fresh_until < clock_timestamp()
            then 'the source did not say it since ' || date_trunc('second', h.heard_at)
            when known.state = 'unknown' and known.trouble is null then 'the first round is not complete yet'
            else known.trouble end as reason,
       h.as_of_tick, h.verified_at, h.looked_at, h.rows, h.rows_of_round, h.differing_rows, h.more_differ, h.differing, h.not_compared,
       case when known.state = 'differs'
            then format('-- in the source: select remedy from replication.verification where table_name = %L', n.nspname || '.' || c.relname) end as remedy
from replication.verification_heard h
join pg_class c on c.oid = h.relation
join pg_namespace n on n.oid = c.relnamespace
cross join lateral (select case when h.state = 'equal' and h.fresh_until < clock_timestamp() then 'unknown' else h.state end as state, h.trouble) known;

select replication.make_verification_view();
