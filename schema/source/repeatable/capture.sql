-- The functions of its own that capture a table's changes.
--
-- They write, for each key that a statement touched, the row as it is now: rows as the statement wrote them would leave
-- the target wrong where an AFTER ROW trigger changes its own row, since the nested statement's triggers fire
-- first. Reading again by key always converges.
-- (The row is read in a subquery of the select list, which is always looked up key by key, and the settings keep the
-- look-up in the primary key: transition tables have no statistics, and other plans ran for minutes. While a deferred
-- constraint lets a key be there twice, either row will do: what ends it touches the key again.)
--
-- Inserted rows are captured as they were written, unless a trigger or function inside the inserting statement changed
-- rows of the table as well. A change from inside another statement (PG_CONTEXT has more than one line) sets a flag for
-- the rest of its transaction; only then are inserted rows read again. So are those of a table with virtual generated
-- columns (PostgreSQL 18): transition tables have no values for these.

-- The body of the function for INSERT.
--
-- The usual way costs little more than the INSERT itself. It sets nothing (search_path and datestyle alone took an eighth
-- of capture's instructions), tests all that it depends on in one expression (plpgsql prepares each one again in every
-- transaction), and names everything with its schema, since the application's search_path holds; it is planned again
-- where that changes. NEW, which is null in a statement's trigger, is returned because it is no expression.
create or replace function replication.capture_insert_body(relation regclass, shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return format(
            $inserting$
            declare
                former pg_catalog.text[];
            begin
                if %1$s and %9$s then
                    %2$s
                    return new;
                end if;
                if %1$s then
                    %2$s
                else
                    former := array(select pg_catalog.current_setting(pin.name) from %3$s);
                    perform pg_catalog.set_config(pin.name, pin.value, true) from %3$s;
                    %4$s
                    if %5$s then
                        %2$s
                    elsif current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
                        %6$s
                    else
                        %7$s
                    end if;
                    perform set_config(pin.name, former[pin.number], true) from %3$s;
                end if;
                %8$s
                return new;
            end
            $inserting$,
            replication.capture_usual(relation, shape_id),
            replication.capture_events(shape_id, 'I', replication.inserted_row_text(relation, 'k'), 'new_rows'),
            replication.capture_pins(),
            replication.capture_refuse_renamed(shape_id),
            replication.capture_as_inserted(relation),
            replication.capture_events(shape_id, 'I', replication.capture_own_row(relation, shape_id), 'new_rows'),
            replication.capture_events(shape_id, 'I', replication.capture_present_row(relation, shape_id), 'new_rows'),
            replication.capture_afterwards(),
            replication.capture_is_over());

-- The body of the function for UPDATE, DELETE and TRUNCATE.
create or replace function replication.capture_change_body(relation regclass, shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select format(
            $changing$
            declare
                above_read_committed constant boolean := current_setting('transaction_isolation') in ('repeatable read', 'serializable');
                call_stack pg_catalog.text;
                written pg_catalog.int8;
            begin
                %1$s
                if tg_op = 'UPDATE' and above_read_committed then
                    %2$s
                elsif tg_op = 'UPDATE' then
                    %3$s
                elsif tg_op = 'DELETE' and above_read_committed then
                    %4$s
                elsif tg_op = 'DELETE' then
                    %5$s
                else
                    insert into replication.outbox_event (shape_id, operation) values (%6$s, 'T');
                end if;
                get diagnostics call_stack = pg_context, written = row_count;
                if strpos(call_stack, chr(10)) > 0 then
                    perform set_config(%7$L, 'yes', true);
                end if;
                if tg_op = 'UPDATE' and written = 2 then
                    %9$s
                end if;
                %8$s
                return new;
            end
            $changing$,
            replication.capture_refuse_renamed(shape_id),
            replication.capture_events(shape_id, 'U', part.own_row, part.old_and_new),
            replication.capture_events(shape_id, 'U', part.present_row, part.old_and_new),
            replication.capture_events(shape_id, 'D', part.own_row, 'old_rows'),
            replication.capture_events(shape_id, 'D', part.present_row, 'old_rows'),
            shape_id,
            replication.capture_changed_setting(relation),
            replication.capture_afterwards(),
            replication.capture_moved_key(relation, shape_id))
    from (select replication.capture_own_row(relation, shape_id) as own_row,
                 replication.capture_present_row(relation, shape_id) as present_row,
                 format('(select %1$s from old_rows r union select %1$s from new_rows r)',
                        replication.capture_key_columns(shape_id, 'r')) as old_and_new) part;
end;

-- The body of the function that captures all rows of the table, as if they had just been inserted.
create or replace function replication.capture_rows_body(relation regclass, shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return format(
            $rows$
            declare
                sent pg_catalog.int8;
            begin
                insert into replication.outbox_event (shape_id, operation) values (%1$s, 'T');
                %2$s
                get diagnostics sent = row_count;
                -- Deferred triggers of what code in expressions did would run with the rights of the session at its end.
                set constraints all immediate;
                return sent;
            end
            $rows$,
            shape_id,
            replication.capture_events(shape_id, 'I', replication.row_text(relation, 'k'), replication.capture_source(shape_id)));

-- The body of a function that reads rows of the table to be compared with the target's. A table that was emptied or
-- rewritten since the snapshot of the transaction looks empty in it: that is an error.
create or replace function replication.verify_body(shape_id int, reader text, arguments text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select format(
            $verify$
            begin
                if to_regclass(%1$L) is distinct from relation then
                    perform replication.refuse_renamed(relation, %1$L);
                end if;
                return query select r.key, r.hash from replication.%2$s(relation, %3$L, columns, %4$s) r;
                if (select c.relfilenode from pg_class c where c.oid = relation) is distinct from pg_relation_filenode(relation) then
                    raise exception 'the table was emptied or rewritten meanwhile' using errcode = 'serialization_failure';
                end if;
            end
            $verify$, replication.capture_source(shape_id), reader, s.key_columns, arguments)
    from replication.shape s where s.id = shape_id
);

-- The statements that create a table's capture functions, and those that read its rows to be compared.
--
-- The bodies are quoted as literals (%L): the names in them are the table owner's choice, and whoever creates the functions
-- has more rights than that owner.
create or replace function replication.capture_functions(relation regclass, shape_id int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return format(
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

        create or replace function replication.capture_explain_%1$s(statement text, out state text, out message text)
        language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        set row_security = off
        as 'begin select e.state, e.message into state, message from replication.planning_error(statement) e; end';

        create or replace function replication.verify_slice_%1$s(relation oid, columns text[], after text, rows_max int, bytes_max int)
        returns table (key text, hash text)
        language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        set row_security = off
        as %7$L;

        create or replace function replication.verify_keys_%1$s(relation oid, columns text[], keys text[])
        returns table (key text, hash text)
        language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        set row_security = off
        as %8$L;

        -- Or anybody's trigger could call them, with rows of its own making.
        revoke execute on function replication.capture_insert_%1$s(), replication.capture_%1$s(), replication.capture_rows_%1$s(),
            replication.capture_explain_%1$s(text), replication.verify_slice_%1$s(oid, text[], text, int, int),
            replication.verify_keys_%1$s(oid, text[], text[]) from public
        $format$,
        replication.capture_id(relation),
        -- The style of dates, which almost every table has, is tested instead: it is almost always what it must be.
        replication.capture_settings(relation, shape_id, 'datestyle'),
        replication.capture_insert_body(relation, shape_id),
        replication.capture_settings(relation, shape_id, 'search_path'),
        replication.capture_change_body(relation, shape_id),
        replication.capture_rows_body(relation, shape_id),
        replication.verify_body(shape_id, 'rows_between', 'after, null, rows_max, bytes_max'),
        replication.verify_body(shape_id, 'rows_of_keys', 'keys'));

-- The functions that an attached table's capture consists of; they need not exist.
create or replace function replication.capture_function_names(relation regclass) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select 'replication.' || kind || a.id
    from replication.attached a
    cross join unnest(array['capture_insert_', 'capture_', 'capture_rows_', 'capture_explain_', 'verify_slice_', 'verify_keys_']) as kind
    where a.relation = capture_function_names.relation;
end;

