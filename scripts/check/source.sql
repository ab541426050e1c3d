-- What check-replication.sh reads in A. Variables: tables, those that are counted, as tables.sql has them; b_is_known,
-- whether B was read; tick, tick_id, the position that was read there (empty before B's first). Each column becomes one
-- line "name=value".

-- An error of this session (a timeout, a missing schema) is not an error of the system.
set log_min_messages = panic;
set statement_timeout = '20s';
set search_path = pg_catalog, pg_temp;

select to_regclass('replication.source_status') is not null as has_schema \gset
select coalesce('select ' || string_agg(format('(select count(*) from %I.%I) as a_rows_%s', w.schema, w."table", w.number), ', '), 'select') as counts
from jsonb_to_recordset(:'tables'::jsonb) as w (number int, schema text, "table" text) \gset

-- Without B's position, everything that A ever had would count as pending.
\set compares false
\if :has_schema
    \set compares :b_is_known
\endif

-- One snapshot: the counts, and the events that B's position does not contain.
begin transaction isolation level repeatable read read only;
\if :compares
    \pset expanded off
    with pending as materialized (
        select * from replication.pending_after(nullif(:'tick', '')::bigint, nullif(:'tick_id', '')::uuid)
    )
    select 'events_pending', coalesce(sum(events), 0) from pending
    union all
    select 'lag_ms', coalesce(extract(epoch from clock_timestamp() - min(oldest)) * 1000, 0)::bigint from pending
    union all
    select 'pending_' || w.number, p.net_rows
    from jsonb_to_recordset(:'tables'::jsonb) as w (number int, schema text, "table" text)
    join pending p on p.table_name = w.schema || '.' || w."table";
    \if :ERROR
        rollback;
    \endif
    \pset expanded on
\endif
:counts;
commit;

\if :has_schema
    select true as a_status_known, last_tick, published_tick, confirmed_tick, target,
           case when wal_timeline <> matched_timeline then wal_timeline end as timeline_unmatched,
           to_char(held_since, 'YYYY-MM-DD HH24:MI:SS') as publishing_held_since,
           regexp_replace(held_error, '[[:cntrl:]]', '?', 'g') as publishing_held,
           nullif(skipped_events, 0) as skipped_events,
           (select count(*) from replication.outbox where processed = false) as outbox_unprocessed,
           unconfirmed.*,
           (select (extract(epoch from clock_timestamp() - created_at) * 1000)::bigint
            from replication.outbox_event order by txid desc, id desc limit 1) as outbox_age_ms,
           (select regexp_replace(string_agg(table_name || ': ' || problem, '; '), '[[:cntrl:]]', '?', 'g')
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
          from replication.outbox where confirmed = false) unconfirmed;

    select to_regclass('replication.paused') is not null as has_pauses \gset
    \if :has_pauses
        select to_char(paused_at, 'YYYY-MM-DD HH24:MI:SS') as publishing_paused_since,
               regexp_replace(paused_by || ': ' || reason, '[[:cntrl:]]', ' ', 'g') as publishing_paused
        from replication.paused where what = 'publishing';
    \endif

    -- A scan: on a large outbox it takes too long for this.
    set statement_timeout = '1s';
    select count(*) as outbox_total from replication.outbox_event;
    select to_regclass('replication.verification_of_source') is not null as has_verification \gset
    \if :has_verification
        select regexp_replace(string_agg(format('%s (%s)', table_name, array_to_string(differing[1:3], ', ')), ', ' order by table_name), '[[:cntrl:]]', '?', 'g') as verified_different
        from replication.verification_of_source where state = 'differs';
    \endif
    -- What is refused is found by looking at each table.
    select to_regclass('replication.not_attached') is not null as has_not_attached \gset
    \if :has_not_attached
        select nullif(count(*), 0) as not_attached from replication.not_attached;
    \endif
\endif
