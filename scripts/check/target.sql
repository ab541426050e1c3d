-- What check-replication.sh reads in B. Variable: tables, those that are counted, as tables.sql has them. Each column
-- becomes one line "name=value".

-- An error of this session (a timeout, a missing schema) is not an error of the system.
set log_min_messages = panic;
set statement_timeout = '20s';
set search_path = pg_catalog, pg_temp;

select to_regclass('replication.target_status') is not null as has_schema \gset
\echo b_has_schema=:has_schema

-- One snapshot: the counts, and the position that they belong to.
begin transaction isolation level repeatable read read only;
\if :has_schema
    select true as b_status_known, received_tick, applied_tick, applied_tick_id, source,
           coalesce(inbox_events, 0) as inbox_total, coalesce(inbox_unprocessed, 0) as inbox_unprocessed,
           (extract(epoch from clock_timestamp() - last_received_at) * 1000)::bigint as inbox_age_ms,
           to_char(held_since, 'YYYY-MM-DD HH24:MI:SS') as held_since,
           regexp_replace(held_error, '[[:cntrl:]]', ' ', 'g') as held_error,
           (select unseen from replication.quarantine_status) as quarantine_new,
           nullif((select count(*) from replication.skipped_transaction where applied_tick is not null), 0) as skipped,
           (select to_char(source_time, 'YYYY-MM-DD HH24:MI:SS.MS TZ') from replication.as_of) as as_of,
           (select (extract(epoch from behind) * 1000)::bigint from replication.as_of) as behind_ms,
           nullif((select deletes_missing + inserts_overwritten from replication.target_drift), 0) as drifted
    from (select) always left join replication.target_status on true;
    select to_regclass('replication.paused') is not null as has_pauses \gset
    \if :has_pauses
        select to_char(paused_at, 'YYYY-MM-DD HH24:MI:SS') as applying_paused_since,
               regexp_replace(paused_by || ': ' || reason, '[[:cntrl:]]', ' ', 'g') as applying_paused
        from replication.paused where what = 'applying';
    \endif
\endif

with wanted as (
    select w.number, c.oid, n.nspname, c.relname,
           case when c.oid is null then 'B has no such table'
                when not has_table_privilege(c.oid, 'select') or not has_schema_privilege(n.oid, 'usage') then 'this role may not read it in B'
                when row_security_active(c.oid) then 'row security hides rows from this role in B' end as hindrance
    from jsonb_to_recordset(:'tables'::jsonb) as w (number int, schema text, "table" text)
    left join pg_namespace n on n.nspname = w.schema
    left join pg_class c on c.relnamespace = n.oid and c.relname = w."table" and c.relkind in ('r', 'p')
)
select coalesce((select 'select ' || string_agg(format('%L as b_hindrance_%s', hindrance, number), ', ') from wanted where hindrance is not null),
                'select') as hindrances,
       coalesce((select 'select ' || string_agg(format('(select count(*) from %I.%I) as b_rows_%s', nspname, relname, number), ', ')
                 from wanted where hindrance is null), 'select') as counts \gset
:hindrances;
:counts;
commit;

\if :has_schema
    -- A scan: on a large table it takes too long for this.
    set statement_timeout = '1s';
    select count(*) as processed_total from replication.processed_events;
\endif
