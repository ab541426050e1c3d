-- Attaches every table that replication.attach accepts, as soon as there is one, and compares what was captured with what
-- the tables hold: at the end of each file, and before whatever changes or drops a table. For scripts/test-regress.sh, in
-- the database that its files run in; they must notice nothing of it.

create schema capture_test;

-- The file that runs now, and the last event before it.
create table capture_test.running (file text primary key, since_event bigint not null);
insert into capture_test.running values ('none', 0);

-- Tables that one of a file's commands would make such that they cannot be replicated, which is refused: that command
-- detaches them, as the refusal says. And those that the file needs as they are, from the beginning.
create table capture_test.not_attached (
    file text,
    relation text,
    never boolean not null default false,
    is_met boolean not null default false,
    primary key (file, relation)
);

-- Tables that were attached, and in which file: where the comparison begins. Events of the shape with higher ids are the
-- table's.
create table capture_test.compared (
    relation oid primary key,
    file text not null,
    shape_id int not null,
    since_event bigint not null
);

-- The rows that a table had where the comparison begins.
create table capture_test.former_row (
    id bigint generated always as identity primary key,
    relation oid not null,
    key_text text not null,
    row_text text not null
);
create index on capture_test.former_row (relation);

-- What was seen. "difference" must stay empty.
create table capture_test.attachment (file text not null, relation text not null);
create table capture_test.failure (file text not null, relation text not null, error text not null);
create table capture_test.difference (file text not null, relation text not null, what text not null);
create table capture_test.comparison (file text not null, tables int not null, rows bigint not null);

create function capture_test.file() returns text
language sql stable
return (select file from capture_test.running);

create function capture_test.last_event() returns bigint
language sql stable
return coalesce(pg_sequence_last_value('replication.outbox_event_id_seq'), 0);

-- Replication itself never looks up the events of one table.
create index on replication.outbox_event (shape_id, id);

-- The expression by which an event's key is told from others: its text, or its values where different texts are equal.
create function capture_test.key_expression(relation regclass, shape replication.shape) returns text
language sql stable
return case
    when replication.key_equality_is_textual(relation, shape.key_columns) then 'key_text'
    else (select string_agg(format('(replication.row_fields(key_text))[%s]::%s%s', key.number, format_type(a.atttypid, a.atttypmod),
                                   case when a.attcollation <> 0 then ' collate ' || a.attcollation::regcollation end), ', '
                            order by key.number)
          from unnest(shape.key_columns) with ordinality as key (name, number)
          join pg_attribute a on a.attrelid = relation and a.attname = key.name)
end;

-- Notes what the table holds and the outbox, folded to the last state of each key, does not, and the other way round.
-- Returns the number of rows that were compared.
create function capture_test.compare(relation regclass) returns bigint
language plpgsql
as $compare$
declare
    compared capture_test.compared;
    shape replication.shape;
    found_rows bigint;
begin
    select * into compared from capture_test.compared c where c.relation = compare.relation;
    select * into shape from replication.shape s where s.id = compared.shape_id;
    execute format($sql$
        with event as (
            select e.id, e.operation, e.key_text, e.row_text
            from replication.outbox_event e
            where e.shape_id = %1$s and e.id > %2$s
        ), last_truncate as (
            select coalesce(max(id), 0) as id, count(*) > 0 as is_there from event where operation = 'T'
        ), state as (
            select distinct on (%3$s) row_text
            from (select id, key_text, row_text from event where id > (select id from last_truncate)
                  union all
                  select 0, key_text, row_text from capture_test.former_row f
                  where f.relation = %4$s and not (select is_there from last_truncate)) s
            order by %3$s, id desc
        ), folded as materialized (
            select row_text from state where row_text is not null
        ), held as materialized (
            select %5$s as row_text from only %6$s t
        ), different as (
            select 'only captured: ' as side, row_text
            from (select row_text from folded except all select row_text from held) d
            union all
            select 'not captured: ', row_text
            from (select row_text from held except all select row_text from folded) d
        ), by_value as (
            -- One moment in another time zone is another text of the same value.
            select side, (row_text::%6$s)::text as value, row_text from different
        ), differs as (
            select side || row_text as what from by_value
            where (value, side) in (
                (select value, 'only captured: ' from by_value where side = 'only captured: '
                 except all select value, 'only captured: ' from by_value where side = 'not captured: ')
                union all
                (select value, 'not captured: ' from by_value where side = 'not captured: '
                 except all select value, 'not captured: ' from by_value where side = 'only captured: '))
            limit 10
        ), noted as (
            insert into capture_test.difference select capture_test.file(), %7$L, left(what, 500) from differs
        )
        select count(*) from held
    $sql$, shape.id, compared.since_event, capture_test.key_expression(relation, shape), relation::oid,
           replication.row_text(relation, 't'), relation, relation::text)
    into found_rows;
    return found_rows;
end
$compare$;

-- A new file runs.
create function capture_test.begin_file(file text) returns void
language sql
begin atomic
    update capture_test.running r set file = begin_file.file, since_event = capture_test.last_event();
end;

-- Compares all tables that are attached; or those that the running file attached or is known to have changed.
create function capture_test.compare_all(only_of_file boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
set datestyle = 'ISO, YMD'
set timezone = 'UTC'
set intervalstyle = 'postgres'
set extra_float_digits = 3
set bytea_output = 'hex'
set lc_monetary = 'C'
set xmloption = 'content'
set client_min_messages = error
as $compare$
declare
    one record;
    tables int := 0;
    rows bigint := 0;
begin
    for one in
        select c.relation
        from capture_test.compared c
        join pg_class on pg_class.oid = c.relation
        cross join capture_test.running r
        where not only_of_file or c.file = r.file
           or exists (select from replication.outbox_event e where e.shape_id = c.shape_id and e.id > r.since_event)
    loop
        begin
            rows := rows + capture_test.compare(one.relation);
        exception when others then
            insert into capture_test.difference values (capture_test.file(), one.relation::regclass::text, 'cannot be compared: ' || sqlerrm);
        end;
        tables := tables + 1;
    end loop;
    if tables > 0 then
        insert into capture_test.comparison values (capture_test.file(), tables, rows);
    end if;
end
$compare$;

-- Whether the statement is one of replication's own, which no comparison may see in its midst.
create function capture_test.is_own(call_stack text) returns boolean
language sql immutable
return call_stack ~ 'function replication\.';

-- Before a command that changes or drops tables, or what they need.
create function capture_test.before_ddl() returns event_trigger
language plpgsql security definer
as $before$
declare
    call_stack text;
begin
    get diagnostics call_stack = pg_context;
    if tg_tag ~ '^(ALTER|DROP) (TABLE|SCHEMA|OWNED|TYPE|DOMAIN|EXTENSION|OPERATOR CLASS|OPERATOR FAMILY|COLLATION|FUNCTION)$'
       and not capture_test.is_own(call_stack) then
        perform capture_test.compare_all(true);
        -- In the file's output, where what is noted is rolled back.
        if exists (select from capture_test.difference d where d.file = capture_test.file()) then
            raise warning 'the folded outbox is not what the tables hold';
        end if;
    end if;
end
$before$;

-- From here on the table is compared, in its present shape, with the rows that it has now and what is captured from now on.
create function capture_test.begin_comparison(relation regclass, shape_id int) returns void
language plpgsql
set datestyle = 'ISO, YMD'
set timezone = 'UTC'
set intervalstyle = 'postgres'
set extra_float_digits = 3
set bytea_output = 'hex'
set lc_monetary = 'C'
as $begin$
begin
    delete from capture_test.former_row f where f.relation = begin_comparison.relation;
    if exists (select from capture_test.compared c where c.relation = begin_comparison.relation) then
        execute format('insert into capture_test.former_row (relation, key_text, row_text) select %s, row(%s)::text, %s from only %s t', relation::oid,
                       replication.capture_key_columns(shape_id, 't'), replication.row_text(relation, 't'), relation);
        update capture_test.compared c
        set shape_id = begin_comparison.shape_id, since_event = capture_test.last_event()
        where c.relation = begin_comparison.relation;
    else
        insert into capture_test.compared values (relation, capture_test.file(), shape_id, capture_test.last_event());
    end if;
end
$begin$;

-- Attaches a table that is new, or that can be attached now; with its rows.
create function capture_test.attach(relation regclass) returns void
language plpgsql
as $attach$
begin
    update capture_test.not_attached n set is_met = true
    where n.file = capture_test.file() and n.relation = attach.relation::text and n.never;
    if found or (select reason from replication.refusal(relation)) is not null then
        return;
    end if;
    begin
        perform replication.attach(relation);
        perform capture_test.begin_comparison(relation, (select a.shape_id from replication.attached a where a.relation = attach.relation));
        if current_setting('transaction_isolation') = 'read committed' then
            perform replication.resend(relation);
        end if;
        insert into capture_test.attachment values (capture_test.file(), relation::text);
    exception when others then
        insert into capture_test.failure values (capture_test.file(), relation::text, sqlerrm);
    end;
end
$attach$;

-- After each DDL command, and before replication follows it (by the name of its event trigger): detaches tables that cannot
-- be replicated any more, where that is expected.
create function capture_test.yield() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set client_min_messages = error
set jit = off
as $yield$
declare
    call_stack text;
    one record;
begin
    get diagnostics call_stack = pg_context;
    if capture_test.is_own(call_stack) then
        return;
    end if;
    for one in
        select a.relation
        from replication.attached a join capture_test.not_attached n on n.file = capture_test.file() and n.relation = a.relation::text
        join pg_class on pg_class.oid = a.relation
        cross join lateral replication.refusal(a.relation) r
        where not n.never and r.reason is not null
    loop
        update capture_test.not_attached n set is_met = true where n.file = capture_test.file() and n.relation = one.relation::text;
        perform replication.detach(one.relation);
    end loop;
end
$yield$;

-- After each DDL command, and after replication has followed it.
create function capture_test.after_ddl() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set client_min_messages = error
set jit = off
as $after$
declare
    call_stack text;
    one record;
begin
    get diagnostics call_stack = pg_context;
    if capture_test.is_own(call_stack) then
        return;
    end if;
    delete from capture_test.compared c where not exists (select from replication.attached a where a.relation = c.relation);
    delete from capture_test.former_row f where not exists (select from replication.attached a where a.relation = f.relation);
    -- A command may change rows that are there, or their text: the target's runs the same one.
    for one in
        select a.relation, a.shape_id
        from replication.attached a join capture_test.compared c on c.relation = a.relation
        join pg_class on pg_class.oid = a.relation
        where c.shape_id <> a.shape_id or tg_tag in ('ALTER TYPE', 'ALTER DOMAIN')
           or tg_tag = 'ALTER TABLE' and a.relation in (select d.objid from pg_event_trigger_ddl_commands() d)
    loop
        perform capture_test.begin_comparison(one.relation, one.shape_id);
    end loop;
    for one in
        select distinct c.oid as relation
        from pg_event_trigger_ddl_commands() d
        join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid and c.relkind = 'r' and c.relpersistence = 'p'
        where not exists (select from replication.attached a where a.relation = c.oid)
    loop
        perform capture_test.attach(one.relation);
    end loop;
end
$after$;

create event trigger zz_capture_test_before on ddl_command_start execute function capture_test.before_ddl();
create event trigger a_capture_test_yield on ddl_command_end execute function capture_test.yield();
create event trigger zz_capture_test_after on ddl_command_end execute function capture_test.after_ddl();
alter event trigger zz_capture_test_before enable always;
alter event trigger a_capture_test_yield enable always;
alter event trigger zz_capture_test_after enable always;
