-- A table's rows as of one moment, in A or in B (in_target). Without "parts", a line for each part of the table:
-- "part", number, rows, checksum. With them, a line for each row of these parts: "row", key, checksum.
-- In B, before these, "position" and the position applied as of that moment. In A, which gets that position, "pending"
-- and the key of each row that was changed since; "emptied" and nothing else where the table was; "unsure" where
-- changes cannot be matched with rows by the text of their keys; and "hole" with the snapshot, where changes may have
-- escaped the capture.
--
-- Variables: table, keys, columns, mask (the number of parts, a power of two, minus one), parts, in_target, and in
-- A tick and tick_id. Values are compared in the text form that the messages use, keys in that of the outbox.

set statement_timeout = :timeout;
set client_encoding = 'UTF8';
set search_path = pg_catalog, pg_temp;
do $$begin perform set_config(name, value, false) from replication.value_settings(); end$$;
set row_security = off;

begin transaction isolation level repeatable read read only;

select format($$('x' || left(md5(key), 8))::bit(32)::int & %s$$, :'mask') as part,
       format('(select convert_to(row(%s)::text, ''UTF8'') as key, convert_to(row(%s)::text, ''UTF8'') as whole from %s t) as of_table',
              (select string_agg(format('t.%I', name), ', ' order by number)
               from json_array_elements_text(:'keys') with ordinality as k (name, number)),
              (select string_agg(format('t.%I::text', name), ', ' order by number)
               from json_array_elements_text(:'columns') with ordinality as c (name, number)),
              :'table') as rows,
       :'parts' = '' as of_all \gset

\if :in_target
    select concat_ws(' ', 'position', p.applied_tick, p.applied_id) from (select) one left join replication.position p on true;
\else
    -- Fails where B's position is not in A's history.
    select count(*) as attached from replication.pending_after(nullif(:'tick', '')::bigint, nullif(:'tick_id', '')::uuid) \gset
    select format(
        $$(select e.operation, e.key_text, s.schema_name, s.table_name, to_json(s.key_columns)::text as key_columns
           from replication.outbox_event e
           join replication.shape s on s.id = e.shape_id
           cross join (select t.snapshot from replication.tick t where t.tick = %s) as position
           where e.txid >= pg_snapshot_xmin(position.snapshot) and not pg_visible_in_snapshot(e.txid, position.snapshot)) as pending$$,
        coalesce(nullif(:'tick', '')::bigint, 0)) as all_pending,
        format('(schema_name, table_name) = (%L, %L)', n.nspname, c.relname) as of_this,
        -- Otherwise two keys may be equal whose text differs.
        not replication.key_equality_is_textual(c.oid, array(select json_array_elements_text(:'keys'))) as has_inexact_key
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = :'table'::regclass \gset
    select format($$select coalesce(bool_or(operation = 'T' and %s), false) as emptied,
                           coalesce(bool_or(%s and (%L or key_columns <> %L)
                                            or (schema_name, table_name) not in
                                               (select n.nspname, c.relname
                                                from replication.attached a
                                                join pg_class c on c.oid = a.relation
                                                join pg_namespace n on n.oid = c.relnamespace)), false) as unsure
                    from %s$$,
                  :'of_this', :'of_this', :'has_inexact_key'::boolean, (:'keys'::json)::text, :'all_pending') as question \gset
    :question \gset
    \if :emptied
        \echo emptied
        \quit
    \endif
    \if :unsure
        \echo unsure
    \endif
    -- The snapshot of this reading, where changes of the table may have escaped the capture.
    select concat_ws(' ', 'hole', pg_current_snapshot()) from replication.hole_problem where relation = :'table'::regclass limit 1;
\endif

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
              from (select convert_to(key_text, 'UTF8') as key from %s where key_text is not null and %s) as changed
              where %s = any (%L)$$, :'all_pending', :'of_this', :'part', format('{%s}', :'parts')) \gexec
    \endif
\endif
commit;
