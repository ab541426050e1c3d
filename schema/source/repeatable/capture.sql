-- The triggers that capture a table's changes, and the function of its own that they call.

-- The expression for a row's text form: the text that a row has by itself, but that xml keeps its declaration
-- (it drops it in a row, and keeps it when it is cast).
create or replace function replication.row_text(relation regclass, alias text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select format('row(%s)::pg_catalog.text',
                  string_agg(format(case when 'xml'::regtype in (t.oid, t.typbasetype) then '%s.%I::pg_catalog.text' else '%s.%I' end,
                                    alias, attname), ', ' order by attnum))
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
);

-- The expression for the text form of a row as it was just inserted: the same text from the row as a whole, which costs
-- less, where no column is xml.
create or replace function replication.inserted_row_text(relation regclass, alias text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select case when bool_or('xml'::regtype in (t.oid, t.typbasetype)) then replication.row_text(relation, alias)
                else format('(%s.*)::pg_catalog.text', alias) end
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
);

-- Older versions had other forms.
drop function if exists replication.capture_functions(regclass, replication.shape), replication.capture_functions(regclass, int),
    replication.text_settings(regclass, text[]);

-- The settings that decide how values of the table's types are written as text, and the clauses that make them what they
-- must be; all of them for a type that is not known here.
-- The zone does not change which moment a text means; in a key the text must be the same as well.
create or replace function replication.text_settings(relation regclass, key_columns text[])
returns table (name text, clause text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with recursive part (type, in_key) as (
        select a.atttypid, a.attname = any (key_columns)
        from pg_attribute a
        where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
        union
        select inner_type, part.in_key
        from part
        join pg_type t on t.oid = part.type
        cross join lateral (
            select t.typbasetype where t.typtype = 'd'
            union all
            select t.typelem where t.typcategory = 'A'
            union all
            select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
            union all
            select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        ) as inside (inner_type)
    ),
    plain as (
        select case when t.typnamespace = 'pg_catalog'::regnamespace then t.typname end as name, part.in_key
        from part join pg_type t on t.oid = part.type
        where t.typtype = 'b' and t.typcategory <> 'A'
    ),
    known (names, setting, value, only_in_key) as (
        values
            ('{bool,int2,int4,int8,numeric,oid,text,varchar,bpchar,char,name,uuid,json,jsonb,xml,inet,cidr,macaddr,macaddr8,bit,
               varbit,tsvector,tsquery,xid,xid8,pg_lsn}'::text[], null, null, false),
            ('{regclass,regproc,regprocedure,regoper,regoperator,regtype,regrole,regnamespace,regconfig,regdictionary,
               regcollation}', 'search_path', null, false),
            ('{date,time,timetz,timestamp,timestamptz}', 'datestyle', 'ISO, YMD', false),
            ('{timestamptz}', 'timezone', 'UTC', true),
            ('{interval}', 'intervalstyle', 'postgres', false),
            ('{float4,float8,point,line,lseg,box,path,polygon,circle}', 'extra_float_digits', '3', false),
            ('{bytea}', 'bytea_output', 'hex', false),
            ('{money}', 'lc_monetary', 'C', false)
    )
    select known.setting,
           case known.setting when 'search_path' then 'set search_path = pg_catalog, pg_temp'
                else format('set %I = %L', known.setting, known.value) end
    from known
    where known.setting is not null
      and exists (
          select from plain
          where (plain.name = any (known.names) and (plain.in_key or not known.only_in_key))
             or not exists (select from known any_of where plain.name = any (any_of.names)))
    order by known.setting;
end;

-- What a table's capture does where the table has another name than the one that it reads and writes: something else,
-- of somebody else, may have that by now.
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

-- The statements that create a table's two capture functions, one for INSERT and one for the rest.
--
-- The bodies are quoted as values are: names in them are whatever the table's owner likes, and the functions are made,
-- and run, with more rights than that one has.
--
-- They write, for each key that the statement touched, the row as it stands now: rows
-- as the statement wrote them would leave the target wrong where an AFTER ROW trigger changes its own row,
-- since the nested statement's triggers fire first. Reading again by key always converges.
-- (The row is read in a subquery of the select list, which is always looked up key by key, and the settings keep the
-- look-up in the primary key: transition tables have no statistics, and other plans ran for minutes. While a deferred
-- constraint lets a key be there twice, either row will do: what ends it touches the key again.)
--
-- Rows just inserted stand as they were written, unless something inside the statement that inserts them, a trigger or
-- a function, has changed rows of the table as well. A change that was made inside something notes that for the
-- rest of its transaction: its call stack, which PG_CONTEXT tells, has more than one line. Only then they are read again.
--
-- The usual way costs little more than the INSERT itself. It sets nothing (search_path and datestyle alone took an eighth
-- of capture's instructions), looks at all that it depends on in one expression (plpgsql prepares each one anew in every
-- transaction), and names everything with its schema, since the application's search_path holds; its plan is made anew
-- where that changes. NEW, which is null in a statement's trigger, is returned because it is no expression.
--
-- Above read committed, a key that somebody else has deleted since the snapshot is there twice once this
-- transaction has put a row in its place: then the one that this transaction wrote counts (no row that it sees
-- and did not write is younger than its own id, so its age tells).
create or replace function replication.capture_functions(relation regclass, shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with part as (
        select relation::oid as number, shape.id, shape.schema_name, shape.table_name,
               'replication.changed_' || relation::oid as changed,
               format('%I.%I', shape.schema_name, shape.table_name) as source,
               (select format('row(%s)::pg_catalog.text', string_agg(format('k.%I', name), ', ')) from unnest(shape.key_columns) as key (name)) as key_text,
               (select string_agg(format('r.%I', name), ', ') from unnest(shape.key_columns) as key (name)) as key_columns,
               replication.row_text(relation, 't') as present_row,
               replication.inserted_row_text(relation, 'k') as inserted_row,
               replication.key_condition(relation, shape.key_columns, 't', 'k') as is_it,
               replication.key_condition(relation, shape.key_columns, 'own', 'k') as is_own,
               'insert into replication.outbox_event (shape_id, operation, key_text, row_text)' as into_outbox,
               -- A transaction that has notified cannot be prepared.
               $wake$if pg_catalog.pg_sequence_last_value('replication.wake_wanted') operator(pg_catalog.=) 2
                        and pg_catalog.current_setting('max_prepared_transactions') operator(pg_catalog.=) '0' then
                    perform pg_catalog.pg_notify('replication_wake', '');
                end if;$wake$ as wake,
               $pins$(values (1, 'search_path', 'pg_catalog, pg_temp'), (2, 'datestyle', 'ISO, YMD'), (3, 'row_security', 'off'),
                        (4, 'enable_seqscan', 'off'), (5, 'jit', 'off')) as pin (number, name, value)$pins$ as pins,
               settings.*
        from replication.shape
        cross join lateral (
              select coalesce(string_agg(clause, ' ') filter (where name <> 'search_path'), '') as text_settings,
                     -- The style of dates, which almost every table has, is looked at instead: it is what it must be almost always.
                     coalesce(string_agg(clause, ' ') filter (where name <> 'datestyle'), '') as rare_text_settings
              from replication.text_settings(relation, shape.key_columns)) settings
        where shape.id = capture_functions.shape_id
    ),
    reading as (
        select part.*,
               format($renamed$if tg_table_name <> %L or tg_table_schema <> %L then
                        perform replication.refuse_renamed(tg_relid, %L);
                    end if;$renamed$, table_name, schema_name, source) as refuse_renamed,
               format($usual$coalesce(pg_catalog.current_setting(%L, true), '') operator(pg_catalog.<>) 'yes'
                        and pg_catalog.current_setting('datestyle') operator(pg_catalog.~~) 'ISO%%'
                        and tg_table_name operator(pg_catalog.=) %L and tg_table_schema operator(pg_catalog.=) %L$usual$,
                      changed, table_name, schema_name) as usual,
               format('(select %s from %s t where %s limit 1)', present_row, source, is_it) as plainly,
               format('(select %s from %s t where %s and (age(t.xmin) <= 0 or not exists '
                      '(select from %s own where %s and age(own.xmin) <= 0)) limit 1)',
                      present_row, source, is_it, source, is_own) as above_read_committed
        from part
    )
    select format(
        $format$
        create or replace function replication.capture_insert_%1$s() returns trigger
        language plpgsql security definer
        %2$s
        as %3$L;

        create or replace function replication.capture_%1$s() returns trigger
        language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        -- Better an error than rows that a policy hides from the capture.
        set row_security = off
        set enable_seqscan = off
        set jit = off
        %4$s
        as %5$L;

        create or replace function replication.capture_rows_%1$s() returns bigint
        language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        set row_security = off
        %4$s
        as %6$L;

        -- Or anybody's trigger could call them, with rows of its own making.
        revoke execute on function replication.capture_insert_%1$s(), replication.capture_%1$s(), replication.capture_rows_%1$s() from public
        $format$,
        number, rare_text_settings, inserting, text_settings, changing, all_rows)
    from reading
    cross join lateral (
        select format(
            $inserting$
            declare
                former pg_catalog.text[];
            begin
                if %8$s and coalesce(pg_catalog.pg_sequence_last_value('replication.wake_wanted'), 1) operator(pg_catalog.<>) 2 then
                    %3$s select %1$s, 'I', %4$s, %5$s from new_rows k;
                    return new;
                end if;
                if %8$s then
                    %3$s select %1$s, 'I', %4$s, %5$s from new_rows k;
                else
                    former := array(select pg_catalog.current_setting(pin.name) from %9$s);
                    perform pg_catalog.set_config(pin.name, pin.value, true) from %9$s;
                    %11$s
                    if current_setting(%2$L, true) is distinct from 'yes' then
                        %3$s select %1$s, 'I', %4$s, %5$s from new_rows k;
                    elsif current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
                        %3$s select %1$s, 'I', %4$s, %7$s from new_rows k;
                    else
                        %3$s select %1$s, 'I', %4$s, %6$s from new_rows k;
                    end if;
                    perform set_config(pin.name, former[pin.number], true) from %9$s;
                end if;
                %10$s
                return new;
            end
            $inserting$,
            id, changed, into_outbox, key_text, inserted_row, plainly, above_read_committed, usual, pins, wake,
            refuse_renamed) as inserting,
        format(
            $changing$
            declare
                above_read_committed constant boolean := current_setting('transaction_isolation') in ('repeatable read', 'serializable');
                call_stack pg_catalog.text;
            begin
                %9$s
                if tg_op = 'UPDATE' and above_read_committed then
                    %3$s select %1$s, 'U', %4$s, %6$s from (select %7$s from old_rows r union select %7$s from new_rows r) k;
                elsif tg_op = 'UPDATE' then
                    %3$s select %1$s, 'U', %4$s, %5$s from (select %7$s from old_rows r union select %7$s from new_rows r) k;
                elsif tg_op = 'DELETE' and above_read_committed then
                    %3$s select %1$s, 'D', %4$s, %6$s from old_rows k;
                elsif tg_op = 'DELETE' then
                    %3$s select %1$s, 'D', %4$s, %5$s from old_rows k;
                else
                    insert into replication.outbox_event (shape_id, operation) values (%1$s, 'T');
                end if;
                get diagnostics call_stack = pg_context;
                if strpos(call_stack, chr(10)) > 0 then
                    perform set_config(%2$L, 'yes', true);
                end if;
                %8$s
                return new;
            end
            $changing$,
            id, changed, into_outbox, key_text, plainly, above_read_committed, key_columns, wake, refuse_renamed) as changing,
        format(
            $rows$
            declare
                sent pg_catalog.int8;
            begin
                insert into replication.outbox_event (shape_id, operation) values (%1$s, 'T');
                %2$s select %1$s, 'I', %3$s, %4$s from %5$s k;
                get diagnostics sent = row_count;
                return sent;
            end
            $rows$,
            id, into_outbox, key_text, replication.row_text(relation, 'k'), source) as all_rows
    ) body;
end;

drop function if exists replication.capture_function(regclass, replication.shape);

-- The functions that a table's capture consists of; they need not exist.
create or replace function replication.capture_function_names(relation regclass) returns setof text
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
    select 'replication.' || kind || relation::oid
    from unnest(array['capture_insert_', 'capture_', 'capture_rows_']) as kind;
end;

-- The statement that creates one of a table's four capture triggers.
create or replace function replication.capture_trigger(relation regclass, event text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return format(
    'create or replace trigger %I after %s on %s %s for each statement execute function replication.%I()',
    'replication_' || event, event, relation,
    case event
        when 'insert' then 'referencing new table as new_rows'
        when 'update' then 'referencing old table as old_rows new table as new_rows'
        when 'delete' then 'referencing old table as old_rows'
    end,
    case event when 'insert' then 'capture_insert_' else 'capture_' end || relation::oid);

-- The events of which the table's capture trigger is missing, not enabled always, or another than capture_trigger writes.
create or replace function replication.stale_capture_triggers(relation regclass) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select wanted.event
    from (values ('insert', 4, 'capture_insert_', null, 'new_rows'),   -- pg_trigger.tgtype: AFTER … FOR EACH STATEMENT
                 ('update', 16, 'capture_', 'old_rows', 'new_rows'),
                 ('delete', 8, 'capture_', 'old_rows', null),
                 ('truncate', 32, 'capture_', null, null)) as wanted (event, type, function, old_rows, new_rows)
    where not exists (
        select from pg_trigger t
        where t.tgrelid = relation and t.tgname = 'replication_' || wanted.event and t.tgenabled = 'A' and t.tgtype = wanted.type
          and t.tgfoid = to_regproc('replication.' || wanted.function || relation::oid)
          and t.tgqual is null and t.tgattr = ''::int2vector
          and t.tgoldtable is not distinct from wanted.old_rows and t.tgnewtable is not distinct from wanted.new_rows)
    order by wanted.event;
end;
