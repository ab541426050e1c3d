-- The parts of a table's capture functions, each an expression or a statement as text. In all of them "t" is the table,
-- "k" has a touched key. Names are the table owner's choice: identifiers are quoted with %I, values with %L.

-- The number by which the capture functions of an attached table are named; null where it is not attached.
create or replace function replication.capture_id(relation regclass) returns int
language sql stable
set search_path = pg_catalog, pg_temp
return (select a.id from replication.attached a where a.relation = capture_id.relation);

-- The table, by the name that its shape has.
create or replace function replication.capture_source(shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (select format('%I.%I', s.schema_name, s.table_name) from replication.shape s where s.id = shape_id);

-- "k.a, k.b"
create or replace function replication.capture_key_columns(shape_id int, alias text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select string_agg(format('%s.%I', alias, key.name), ', ' order by key.number)
    from replication.shape s cross join unnest(s.key_columns) with ordinality as key (name, number)
    where s.id = shape_id
);

-- Adds an event for each of these rows.
create or replace function replication.capture_events(shape_id int, operation text, row_text text, rows text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return format('insert into replication.outbox_event (shape_id, operation, key_text, row_text) '
              'select %s, %L, row(%s)::pg_catalog.text, %s from %s k;',
              shape_id, operation, replication.capture_key_columns(shape_id, 'k'), row_text, rows);

-- The row of a key as it is now; null if there is none.
create or replace function replication.capture_present_row(relation regclass, shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select format('(select %s from %s t where %s limit 1)', replication.row_text(relation, 't'),
                  replication.capture_source(shape_id), replication.key_condition(relation, s.key_columns, 't', 'k'))
    from replication.shape s where s.id = shape_id
);

-- The same above read committed, where a key may be there twice: as somebody else left it before this transaction's
-- snapshot, and deleted since, and as this transaction wrote it. Then its own counts: no row that it sees and did not
-- write is younger than its own id, so the age tells.
create or replace function replication.capture_own_row(relation regclass, shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select format('(select %1$s from %2$s t where %3$s and (age(t.xmin) <= 0 or not exists '
                  '(select from %2$s own where %4$s and age(own.xmin) <= 0)) limit 1)',
                  replication.row_text(relation, 't'), replication.capture_source(shape_id),
                  replication.key_condition(relation, s.key_columns, 't', 'k'), replication.key_condition(relation, s.key_columns, 'own', 'k'))
    from replication.shape s where s.id = shape_id
);

-- After an UPDATE that wrote two events: if it changed one row, its key is another one now. An event of the old key, once
-- more, says where the row went.
create or replace function replication.capture_moved_key(relation regclass, shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return format($moved$if (select count(*) from old_rows) = 1 then
                        %s
                        insert into replication.moved_key (id, new_key)
                        select currval('replication.outbox_event_id_seq'), row(%s)::pg_catalog.text from new_rows k;
                    end if;$moved$,
              replication.capture_events(shape_id, 'U', replication.capture_own_row(relation, shape_id), 'old_rows'),
              replication.capture_key_columns(shape_id, 'k'));

-- The setting that notes, for the rest of a transaction, that rows of the table were changed inside a statement.
create or replace function replication.capture_changed_setting(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return 'replication.changed_' || replication.capture_id(relation);

-- The settings of the way for INSERT that reads rows again, which sets and restores them itself.
create or replace function replication.capture_pins() returns text
language sql immutable
set search_path = pg_catalog, pg_temp
return (
    select format($pins$(values (1, 'search_path', 'pg_catalog, pg_temp'), (2, 'datestyle', %L), (3, 'row_security', 'off'),
                        (4, 'enable_seqscan', 'off'), (5, 'jit', 'off')) as pin (number, name, value)$pins$, v.value)
    from replication.value_settings() v where v.name = 'datestyle'
);

-- Refuses changes of a table that was renamed since.
create or replace function replication.capture_refuse_renamed(shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select format($renamed$if tg_table_name <> %L or tg_table_schema <> %L then
                        perform replication.refuse_renamed(tg_relid, %L);
                    end if;$renamed$, s.table_name, s.schema_name, replication.capture_source(shape_id))
    from replication.shape s where s.id = shape_id
);

-- Whether columns are computed as they are read: the rows of a statement have no values for them.
create or replace function replication.has_virtual_columns(relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (select from pg_attribute a
               where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attgenerated = 'v');

-- Whether inserted rows are what was inserted: nothing changed them inside the statement.
create or replace function replication.capture_as_inserted(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return case when replication.has_virtual_columns(relation) then 'false'
            else format('current_setting(%L, true) is distinct from ''yes''', replication.capture_changed_setting(relation)) end;

-- Whether inserted rows may be written as they are: nothing changed them inside the statement, dates are written as
-- they travel, the table has the name that its shape has.
create or replace function replication.capture_usual(relation regclass, shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select case when replication.has_virtual_columns(relation) then 'false' else format($usual$coalesce(pg_catalog.current_setting(%L, true), '') operator(pg_catalog.<>) 'yes'
                        and pg_catalog.current_setting('datestyle') operator(pg_catalog.~~) 'ISO%%'
                        and tg_table_name operator(pg_catalog.=) %L and tg_table_schema operator(pg_catalog.=) %L$usual$,
                  replication.capture_changed_setting(relation), s.table_name, s.schema_name) end
    from replication.shape s where s.id = shape_id
);

-- The SET clauses of a capture function, but for these settings.
create or replace function replication.capture_settings(relation regclass, shape_id int, leave_out text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select coalesce(string_agg(t.clause, ' '), '')
    from replication.shape s cross join lateral replication.text_settings(relation, s.key_columns) t
    where s.id = shape_id and t.name <> leave_out
);
-- Raised by a table's capture when the table has another name than capture knows: a different table may have that name
-- by now.
create or replace function replication.refuse_renamed(relation regclass, former text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $refuse$
begin
    raise exception 'the replicated table % was %, and its capture does not know that it was renamed or moved', relation, former
        using errcode = 'object_not_in_prerequisite_state',
              hint = format('select replication.attach(%L);', relation::text);
end
$refuse$;

