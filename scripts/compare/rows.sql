-- A table's rows as of one moment, in A or in B (in_target). Without "parts", a line for each part of the table:
-- "part", number, rows, checksum. With them, a line for each row of these parts: "row", key, checksum.
-- In B, before these, "position" and what is applied as of that moment. In A, which is told that, "pending" and the
-- key for each row that was changed since; or, where the table was emptied since, nothing but "emptied".
--
-- Variables: table, name, keys, columns, mask (the number of parts, a power of two, less one), parts, in_target, and in
-- A tick and tick_id. Values are compared in the text form in which they travel, keys in that of the outbox.

set statement_timeout = :timeout;
set client_encoding = 'UTF8';
set search_path = pg_catalog, pg_temp;
set datestyle = 'ISO, YMD';
set timezone = 'UTC';
set intervalstyle = 'postgres';
set extra_float_digits = 3;
set bytea_output = 'hex';
set lc_monetary = 'C';
set row_security = off;

begin transaction isolation level repeatable read read only;

\if :in_target
    select concat_ws(' ', 'position', p.applied_tick, p.applied_id) from (select) one left join replication.position p on true;
\else
    -- Fails where B's position is none of A's.
    select coalesce(bool_or(p.net_rows is null), false) as emptied
    from replication.pending_after(nullif(:'tick', '')::bigint, nullif(:'tick_id', '')::uuid) p
    where p.table_name = :'name' \gset
    \if :emptied
        \echo emptied
        \quit
    \endif
\endif

select format($$('x' || left(md5(key), 8))::bit(32)::int & %s$$, :'mask') as part,
       format('(select convert_to(row(%s)::text, ''UTF8'') as key, convert_to(row(%s)::text, ''UTF8'') as whole from %s t) as of_table',
              (select string_agg(format('t.%I', name), ', ' order by number)
               from json_array_elements_text(:'keys') with ordinality as k (name, number)),
              (select string_agg(format('t.%I::text', name), ', ' order by number)
               from json_array_elements_text(:'columns') with ordinality as c (name, number)),
              :'table') as rows \gset
select :'parts' = '' as of_all \gset
\if :of_all
    select format(
        $$select concat_ws(' ', 'part', part, count(*), sum(hash))
          from (select %s as part, ('x' || left(md5(whole), 15))::bit(60)::bigint as hash from %s) as hashed
          group by part$$, :'part', :'rows') \gexec
\else
    select format(
        $$select concat_ws(' ', 'row', encode(key, 'hex'), md5(whole)) from %s where %s = any (%L)$$,
        :'rows', :'part', format('{%s}', :'parts')) \gexec
    \if :in_target
    \else
        select format(
            $$select distinct concat_ws(' ', 'pending', encode(key, 'hex'))
              from (select convert_to(e.key_text, 'UTF8') as key
                    from replication.outbox_event e
                    join replication.shape s on s.id = e.shape_id
                    cross join (select t.snapshot from replication.tick t where t.tick = coalesce(nullif(%L, '')::bigint, 0)) position
                    where s.schema_name || '.' || s.table_name = %L and e.key_text is not null
                      and e.txid >= pg_snapshot_xmin(position.snapshot)
                      and not pg_visible_in_snapshot(e.txid, position.snapshot)) as changed
              where %s = any (%L)$$, :'tick', :'name', :'part', format('{%s}', :'parts')) \gexec
    \endif
\endif
commit;
