-- What check-replication.sh reads in A. Variables: b_is_known, whether B was read; tick, tick_id, the position
-- that was read there (empty before B's first). Each column becomes one line "name=value".

-- An error of this session (a timeout, a missing schema) is not an error of the system.
set log_min_messages = panic;
set statement_timeout = '20s';

select to_regclass('replication.source_status') is not null as has_schema \gset
\echo a_has_schema=:has_schema
\if :b_is_known
    \set compares :has_schema
\else
    -- Without B's position, everything that A ever had would count as pending.
    \set compares false
\endif
\if :compares
    -- One statement, one snapshot: the counts, and the events that B's position does not contain.
    select (select count(*) from public.users) as a_users,
           (select count(*) from public.payments) as a_payments,
           pending.*
    from (
        select max(net_rows) filter (where table_name = 'public.users') as users_pending,
               max(net_rows) filter (where table_name = 'public.payments') as payments_pending,
               count(*) filter (where table_name in ('public.users', 'public.payments')) as attached,
               sum(events) as events_pending,
               coalesce(extract(epoch from clock_timestamp() - min(oldest)) * 1000, 0)::bigint as lag_ms
        from replication.pending_after(nullif(:'tick', '')::bigint, nullif(:'tick_id', '')::uuid)
    ) pending;
    \if :ERROR
        \set compares false
    \endif
\endif
\if :compares
\else
    select count(*) as a_users, (select count(*) from public.payments) as a_payments from public.users;
\endif

\if :has_schema
    select last_tick, published_tick, confirmed_tick, target,
           case when wal_timeline <> matched_timeline then wal_timeline end as timeline_unmatched,
           (select count(*) from outbox where processed = false) as outbox_unprocessed,
           unconfirmed.*,
           (select (extract(epoch from clock_timestamp() - created_at) * 1000)::bigint
            from replication.outbox_event order by txid desc, id desc limit 1) as outbox_age_ms,
           (select string_agg(table_name || ': ' || problem, '; ')
            from replication.capture_problem) as capture_problem,
           pg_total_relation_size('replication.outbox_event') as outbox_bytes,
           -- Disk space of the latest events, index and page overhead included, per second since the oldest of
           -- them: the growth of the outbox while nothing is confirmed.
           (select coalesce((sum(e.bytes + 100) / greatest(extract(epoch from clock_timestamp() - min(e.created_at)), 1))::bigint, 0)
            from (select coalesce(pg_column_size(o.row_text), 0) + coalesce(pg_column_size(o.key_text), 0) as bytes, o.created_at
                  from replication.outbox_event o order by o.txid desc, o.id desc limit 10000) e) as outbox_bytes_per_s
    from replication.source_status,
         (select count(*) as outbox_unconfirmed,
                 (extract(epoch from clock_timestamp() - min(created_at)) * 1000)::bigint as unconfirmed_age_ms
          from outbox where confirmed = false) unconfirmed;

    -- A scan: on a large outbox it takes too long for this.
    set statement_timeout = '1s';
    select count(*) as outbox_total from replication.outbox_event;
\endif

\pset expanded off
select 'a_latest_' || row_number() over (order by created_at desc, id),
       format('%s  %s  %s  %s', to_char(created_at, 'YYYY-MM-DD HH24:MI:SS'),
              rpad(left(name, 24), 24), rpad(left(email, 36), 36), status)
from public.users order by created_at desc, id limit 3;
