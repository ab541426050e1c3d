-- The triggers that capture a table's changes, and the function of its own that they call.

-- The expression for a row's text form: the text that a row has by itself, but that xml keeps its declaration
-- (it drops it in a row, and keeps it when it is cast).
create or replace function replication.row_text(relation regclass, alias text) returns text
language sql stable
set search_path = pg_catalog
return (
    select format('row(%s)::text',
                  string_agg(format(case when 'xml'::regtype in (t.oid, t.typbasetype) then '%s.%I::text' else '%s.%I' end,
                                    alias, attname), ', ' order by attnum))
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
);

-- The settings that decide how values of the table's types are written as text, as clauses of its capture
-- function; all of them for a type that is not known here. Each costs every statement (3,000 instructions of
-- 130,000; search_path, which the function always sets, is what regclass and its like are written by).
-- The zone does not change which moment a text means; in a key the text must be the same as well.
create or replace function replication.text_settings(relation regclass, key_columns text[]) returns text
language sql stable
set search_path = pg_catalog
return (
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
    known (names, setting, only_in_key) as (
        values
            ('{bool,int2,int4,int8,numeric,oid,text,varchar,bpchar,char,name,uuid,json,jsonb,xml,inet,cidr,macaddr,macaddr8,bit,
               varbit,tsvector,tsquery,xid,xid8,pg_lsn,regclass,regproc,regprocedure,regoper,regoperator,regtype,regrole,
               regnamespace,regconfig,regdictionary}'::text[], null, false),
            ('{date,time,timetz,timestamp,timestamptz}', 'datestyle = ''ISO, YMD''', false),
            ('{timestamptz}', 'timezone = ''UTC''', true),
            ('{interval}', 'intervalstyle = ''postgres''', false),
            ('{float4,float8,point,line,lseg,box,path,polygon,circle}', 'extra_float_digits = 3', false),
            ('{bytea}', 'bytea_output = ''hex''', false),
            ('{money}', 'lc_monetary = ''C''', false)
    )
    select coalesce(string_agg(distinct 'set ' || known.setting, ' '), '')
    from known
    where known.setting is not null
      and exists (
          select from plain
          where (plain.name = any (known.names) and (plain.in_key or not known.only_in_key))
             or not exists (select from known any_of where plain.name = any (any_of.names)))
);

-- The statements that create a table's two capture functions, one for INSERT and one for the rest.
--
-- They write, for each key that the statement touched, the row as it stands now: rows
-- as the statement wrote them would leave the target wrong where an AFTER ROW trigger changes its own row,
-- since the nested statement's triggers fire first. Reading again by key always converges.
-- (The row is read in a subquery of the select list, which is always looked up key by key, and the settings keep the
-- look-up in the primary key: transition tables have no statistics, and other plans ran for minutes. While a deferred
-- constraint lets a key be there twice, either row will do: what ends it touches the key again.)
--
-- Rows just inserted stand as they were written, unless this transaction has updated or deleted rows of the table as
-- well, which it notes: only then they are read again.
--
-- Above read committed, a key that somebody else has deleted since the snapshot is there twice once this
-- transaction has put a row in its place: then the one that this transaction wrote counts (no row that it sees
-- and did not write is younger than its own id, so its age tells).
create or replace function replication.capture_functions(relation regclass, shape replication.shape) returns text
language sql stable
set search_path = pg_catalog
begin atomic
    with part as (
        select relation::oid as number,
               'replication.changed_' || relation::oid as changed,
               format('%I.%I', shape.schema_name, shape.table_name) as source,
               (select format('row(%s)::text', string_agg(format('k.%I', name), ', ')) from unnest(shape.key_columns) as key (name)) as key_text,
               (select string_agg(format('%I', name), ', ') from unnest(shape.key_columns) as key (name)) as key_columns,
               replication.row_text(relation, 't') as present_row,
               replication.row_text(relation, 'k') as inserted_row,
               replication.key_condition(relation, shape.key_columns, 't', 'k') as is_it,
               replication.key_condition(relation, shape.key_columns, 'own', 'k') as is_own
    ),
    reading as (
        select part.*,
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
        set search_path = pg_catalog
        %2$s
        as $capture$
        declare
            pins constant text[] := array['row_security', 'enable_seqscan', 'jit'];
            former text[];
        begin
            if current_setting(%4$L, true) is distinct from 'yes' then
                %5$s select %3$s, 'I', %6$s, %7$s from new_rows k;
            else
                former := array(select current_setting(pin) from unnest(pins) as pin);
                perform set_config(pin, 'off', true) from unnest(pins) as pin;
                if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
                    %5$s select %3$s, 'I', %6$s, %9$s from new_rows k;
                else
                    %5$s select %3$s, 'I', %6$s, %8$s from new_rows k;
                end if;
                perform set_config(pins[i], former[i], true) from generate_subscripts(pins, 1) as i;
            end if;
            %11$s
            return null;
        end
        $capture$;

        create or replace function replication.capture_%1$s() returns trigger
        language plpgsql security definer
        set search_path = pg_catalog
        -- Better an error than rows that a policy hides from the capture.
        set row_security = off
        set enable_seqscan = off
        set jit = off
        %2$s
        as $capture$
        declare
            above_read_committed constant boolean := current_setting('transaction_isolation') in ('repeatable read', 'serializable');
        begin
            if tg_op = 'UPDATE' and above_read_committed then
                %5$s select %3$s, 'U', %6$s, %9$s from (select %10$s from old_rows union select %10$s from new_rows) k;
            elsif tg_op = 'UPDATE' then
                %5$s select %3$s, 'U', %6$s, %8$s from (select %10$s from old_rows union select %10$s from new_rows) k;
            elsif tg_op = 'DELETE' and above_read_committed then
                %5$s select %3$s, 'D', %6$s, %9$s from old_rows k;
            elsif tg_op = 'DELETE' then
                %5$s select %3$s, 'D', %6$s, %8$s from old_rows k;
            else
                insert into replication.outbox_event (shape_id, operation) values (%3$s, 'T');
            end if;
            perform set_config(%4$L, 'yes', true);
            %11$s
            return null;
        end
        $capture$
        $format$,
        number, replication.text_settings(relation, shape.key_columns), shape.id, changed,
        'insert into replication.outbox_event (shape_id, operation, key_text, row_text)', key_text,
        inserted_row, plainly, above_read_committed, key_columns,
        -- A transaction that has notified cannot be prepared.
        $wake$if pg_sequence_last_value('replication.wake_wanted') = 2 and current_setting('max_prepared_transactions') = '0' then
                perform pg_notify('replication_wake', '');
            end if;$wake$)
    from reading;
end;

drop function if exists replication.capture_function(regclass, replication.shape);

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
    case event when 'insert' then 'capture_insert_' else 'capture_' end || relation::oid);
