-- The triggers that capture a table's changes, and the function of its own that they call.

-- The expression for a row's text form. It is the row's own, except that xml drops its declaration there
-- and keeps it when it is cast.
create or replace function replication.row_text(relation regclass, alias text) returns text
language sql stable
set search_path = pg_catalog
return (
    select case when bool_or(xml) then format('case when %s.ctid is not null then row(%s)::text end', alias,
                                              string_agg(format(case when xml then '%s.%I::text' else '%s.%I' end, alias, attname),
                                                         ', ' order by attnum))
                else format('%s::text', alias) end
    from (select a.attname, a.attnum, 'xml'::regtype in (t.oid, t.typbasetype) as xml
          from pg_attribute a join pg_type t on t.oid = a.atttypid
          where a.attrelid = relation and a.attnum > 0 and not a.attisdropped) as columns
);

-- The statement that creates a table's capture function.
--
-- The function writes, for each key that the statement touched, the row as it stands now: rows
-- as the statement wrote them would leave the target wrong where an AFTER ROW trigger changes its own row,
-- since the nested statement's triggers fire first. Reading again by key always converges.
-- The settings pin the text form of values, and the plan: a loop over the touched keys with a
-- look-up in the primary key (transition tables have no statistics; other joins ran for minutes).
--
-- Above read committed, a key that somebody else has deleted since the snapshot is there twice once this
-- transaction has put a row in its place: then the one that this transaction wrote counts (no row that it sees
-- and did not write is younger than its own id, so its age tells).
create or replace function replication.capture_function(relation regclass, shape replication.shape) returns text
language sql stable
set search_path = pg_catalog
return format(
    $format$
    create or replace function replication.%1$I() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog
    set extra_float_digits = 3
    set datestyle = 'ISO, YMD'
    set intervalstyle = 'postgres'
    set bytea_output = 'hex'
    -- Better an error than rows that a policy hides from the capture.
    set row_security = off
    set timezone = 'UTC'
    set lc_monetary = 'C'
    set enable_hashjoin = off
    set enable_mergejoin = off
    set enable_seqscan = off
    set jit = off
    as $capture$
    declare
        wake_wanted bigint;
        one_snapshot boolean := current_setting('transaction_isolation') in ('repeatable read', 'serializable');
    begin
        if tg_op = 'INSERT' then
            insert into replication.outbox_event (shape_id, operation, key_text, row_text)
            select %2$s, 'I', row(%3$s)::text, %7$s
            from new_rows k left join %4$s t on %5$s and %8$s;
        elsif tg_op = 'UPDATE' then
            insert into replication.outbox_event (shape_id, operation, key_text, row_text)
            select %2$s, 'U', row(%3$s)::text, %7$s
            from (select %6$s from old_rows union select %6$s from new_rows) k
            left join %4$s t on %5$s and %8$s;
        elsif tg_op = 'DELETE' then
            insert into replication.outbox_event (shape_id, operation, key_text, row_text)
            select %2$s, 'D', row(%3$s)::text, %7$s
            from old_rows k left join %4$s t on %5$s and %8$s;
        else
            insert into replication.outbox_event (shape_id, operation) values (%2$s, 'T');
        end if;
        select last_value into wake_wanted from replication.wake_wanted;
        -- A transaction that has notified cannot be prepared.
        if wake_wanted = 2 and current_setting('max_prepared_transactions') = '0' then
            perform pg_notify('replication_wake', '');
        end if;
        return null;
    end
    $capture$
    $format$,
    'capture_' || relation::oid,
    shape.id,
    (select string_agg(format('k.%I', name), ', ') from unnest(shape.key_columns) as key (name)),
    format('%I.%I', shape.schema_name, shape.table_name),
    replication.key_condition(relation, shape.key_columns, 't', 'k'),
    (select string_agg(format('%I', name), ', ') from unnest(shape.key_columns) as key (name)),
    replication.row_text(relation, 't'),
    format('(not one_snapshot or age(t.xmin) <= 0 or not exists (select from %I.%I own where %s and age(own.xmin) <= 0))',
           shape.schema_name, shape.table_name, replication.key_condition(relation, shape.key_columns, 'own', 'k')));

-- The statement that creates one of a table's four capture triggers.
create or replace function replication.capture_trigger(relation regclass, event text) returns text
language sql stable
set search_path = pg_catalog
return format(
    'create or replace trigger %I after %s on %s %s for each statement execute function replication.%I()',
    'replication_' || event, event, relation,
    case event
        when 'insert' then 'referencing new table as new_rows'
        when 'update' then 'referencing old table as old_rows new table as new_rows'
        when 'delete' then 'referencing old table as old_rows'
    end,
    'capture_' || relation::oid);
