-- What check-replication.sh reads in B. Each column becomes one line "name=value".

-- An error of this session (a timeout, a missing schema) is not an error of the system.
set log_min_messages = panic;
set statement_timeout = '20s';

select to_regclass('replication.target_status') is not null as has_schema \gset
\echo b_has_schema=:has_schema
\if :has_schema
    -- One statement, one snapshot: the counts, and the position that they belong to.
    select (select count(*) from public.users) as b_users,
           (select count(*) from public.payments) as b_payments,
           received_tick, applied_tick, applied_tick_id,
           coalesce(inbox_events, 0) as inbox_total, coalesce(inbox_unprocessed, 0) as inbox_unprocessed,
           (extract(epoch from clock_timestamp() - last_received_at) * 1000)::bigint as inbox_age_ms,
           to_char(held_since, 'YYYY-MM-DD HH24:MI:SS') as held_since,
           replace(held_error, E'\n', ' ') as held_error,
           (select unseen from replication.quarantine_status) as quarantine_new,
           nullif((select count(*) from replication.skipped_transaction where applied_tick is not null), 0) as skipped,
           nullif((select deletes_missing + inserts_overwritten from replication.target_drift), 0) as drifted
    from (select) always left join replication.target_status on true;

    -- A scan: on a large table it takes too long for this.
    set statement_timeout = '1s';
    select count(*) as processed_total from processed_events;
\else
    select count(*) as b_users, (select count(*) from public.payments) as b_payments from public.users;
\endif

\pset expanded off
select 'b_latest_' || row_number() over (order by created_at desc, id),
       format('%s  %s  %s  %s', to_char(created_at, 'YYYY-MM-DD HH24:MI:SS'),
              rpad(left(name, 24), 24), rpad(left(email, 36), 36), status)
from public.users order by created_at desc, id limit 3;
