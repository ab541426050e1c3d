-- What replication.attach writes for this table, in full. It is the third that is attached. A test compares; to renew
-- it, run that test with RENEW_GENERATED=yes: generated::the_capture_of_a_sample_table_is_written_as_the_file_shows

-- create table sample (id int, name text, at timestamptz, ratio float8, note xml, primary key (name, id));

CREATE OR REPLACE FUNCTION replication.capture_3()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'off'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
 SET "DateStyle" TO 'ISO, YMD'
 SET extra_float_digits TO '3'
AS $function$
            declare
                above_read_committed constant boolean := current_setting('transaction_isolation') in ('repeatable read', 'serializable');
                call_stack pg_catalog.text;
                written pg_catalog.int8;
            begin
                if tg_table_name <> 'sample' or tg_table_schema <> 'public' then
                        perform replication.refuse_renamed(tg_relid, 'public.sample');
                    end if;
                if tg_op = 'UPDATE' and above_read_committed then
                    insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'U', row(k.name, k.id)::pg_catalog.text, (select row(t.id, t.name, t.at, t.ratio, t.note::pg_catalog.text)::pg_catalog.text from public.sample t where t.name operator(pg_catalog.=) k.name and t.id operator(pg_catalog.=) k.id and (age(t.xmin) <= 0 or not exists (select from public.sample own where own.name operator(pg_catalog.=) k.name and own.id operator(pg_catalog.=) k.id and age(own.xmin) <= 0)) limit 1) from (select r.name, r.id from old_rows r union select r.name, r.id from new_rows r) k;
                elsif tg_op = 'UPDATE' then
                    insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'U', row(k.name, k.id)::pg_catalog.text, (select row(t.id, t.name, t.at, t.ratio, t.note::pg_catalog.text)::pg_catalog.text from public.sample t where t.name operator(pg_catalog.=) k.name and t.id operator(pg_catalog.=) k.id limit 1) from (select r.name, r.id from old_rows r union select r.name, r.id from new_rows r) k;
                elsif tg_op = 'DELETE' and above_read_committed then
                    insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'D', row(k.name, k.id)::pg_catalog.text, (select row(t.id, t.name, t.at, t.ratio, t.note::pg_catalog.text)::pg_catalog.text from public.sample t where t.name operator(pg_catalog.=) k.name and t.id operator(pg_catalog.=) k.id and (age(t.xmin) <= 0 or not exists (select from public.sample own where own.name operator(pg_catalog.=) k.name and own.id operator(pg_catalog.=) k.id and age(own.xmin) <= 0)) limit 1) from old_rows k;
                elsif tg_op = 'DELETE' then
                    insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'D', row(k.name, k.id)::pg_catalog.text, (select row(t.id, t.name, t.at, t.ratio, t.note::pg_catalog.text)::pg_catalog.text from public.sample t where t.name operator(pg_catalog.=) k.name and t.id operator(pg_catalog.=) k.id limit 1) from old_rows k;
                else
                    insert into replication.outbox_event (shape_id, operation) values (3, 'T');
                end if;
                get diagnostics call_stack = pg_context, written = row_count;
                if strpos(call_stack, chr(10)) > 0 then
                    perform set_config('replication.changed_3', 'yes', true);
                end if;
                if tg_op = 'UPDATE' and written = 2 then
                    if (select count(*) from old_rows) = 1 then
                        insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'U', row(k.name, k.id)::pg_catalog.text, (select row(t.id, t.name, t.at, t.ratio, t.note::pg_catalog.text)::pg_catalog.text from public.sample t where t.name operator(pg_catalog.=) k.name and t.id operator(pg_catalog.=) k.id and (age(t.xmin) <= 0 or not exists (select from public.sample own where own.name operator(pg_catalog.=) k.name and own.id operator(pg_catalog.=) k.id and age(own.xmin) <= 0)) limit 1) from old_rows k;
                        insert into replication.moved_key (id, new_key)
                        select currval('replication.outbox_event_id_seq'), row(k.name, k.id)::pg_catalog.text from new_rows k;
                    end if;
                end if;
                if not (coalesce(pg_catalog.pg_sequence_last_value('replication.wake_wanted'), 1) operator(pg_catalog.<>) 2
                        and pg_catalog.pg_sequence_last_value('replication.outbox_event_id_seq') operator(pg_catalog.%) 4096 operator(pg_catalog.>=) 16) then
                    if pg_catalog.pg_sequence_last_value('replication.outbox_event_id_seq') operator(pg_catalog.%) 4096 operator(pg_catalog.<) 16 then
                        insert into replication.recorded_snapshot default values;
                    end if;
                    if pg_catalog.pg_sequence_last_value('replication.wake_wanted') operator(pg_catalog.=) 2
                            and pg_catalog.current_setting('max_prepared_transactions') operator(pg_catalog.=) '0' then
                        perform pg_catalog.pg_notify('replication_wake', '');
                    end if;
                end if;
                return new;
            end
            $function$
;

CREATE OR REPLACE FUNCTION replication.capture_explain_3(statement text, OUT state text, OUT message text)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'off'
AS $function$begin select e.state, e.message into state, message from replication.planning_error(statement) e; end$function$
;

CREATE OR REPLACE FUNCTION replication.capture_insert_3()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET extra_float_digits TO '3'
AS $function$
            declare
                former pg_catalog.text[];
            begin
                if coalesce(pg_catalog.current_setting('replication.changed_3', true), '') operator(pg_catalog.<>) 'yes'
                        and pg_catalog.current_setting('datestyle') operator(pg_catalog.~~) 'ISO%'
                        and tg_table_name operator(pg_catalog.=) 'sample' and tg_table_schema operator(pg_catalog.=) 'public' and coalesce(pg_catalog.pg_sequence_last_value('replication.wake_wanted'), 1) operator(pg_catalog.<>) 2
                        and pg_catalog.pg_sequence_last_value('replication.outbox_event_id_seq') operator(pg_catalog.%) 4096 operator(pg_catalog.>=) 16 then
                    insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'I', row(k.name, k.id)::pg_catalog.text, row(k.id, k.name, k.at, k.ratio, k.note::pg_catalog.text)::pg_catalog.text from new_rows k;
                    return new;
                end if;
                if coalesce(pg_catalog.current_setting('replication.changed_3', true), '') operator(pg_catalog.<>) 'yes'
                        and pg_catalog.current_setting('datestyle') operator(pg_catalog.~~) 'ISO%'
                        and tg_table_name operator(pg_catalog.=) 'sample' and tg_table_schema operator(pg_catalog.=) 'public' then
                    insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'I', row(k.name, k.id)::pg_catalog.text, row(k.id, k.name, k.at, k.ratio, k.note::pg_catalog.text)::pg_catalog.text from new_rows k;
                else
                    former := array(select pg_catalog.current_setting(pin.name) from (values (1, 'search_path', 'pg_catalog, pg_temp'), (2, 'datestyle', 'ISO, YMD'), (3, 'row_security', 'off'),
                        (4, 'enable_seqscan', 'off'), (5, 'jit', 'off')) as pin (number, name, value));
                    perform pg_catalog.set_config(pin.name, pin.value, true) from (values (1, 'search_path', 'pg_catalog, pg_temp'), (2, 'datestyle', 'ISO, YMD'), (3, 'row_security', 'off'),
                        (4, 'enable_seqscan', 'off'), (5, 'jit', 'off')) as pin (number, name, value);
                    if tg_table_name <> 'sample' or tg_table_schema <> 'public' then
                        perform replication.refuse_renamed(tg_relid, 'public.sample');
                    end if;
                    if current_setting('replication.changed_3', true) is distinct from 'yes' then
                        insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'I', row(k.name, k.id)::pg_catalog.text, row(k.id, k.name, k.at, k.ratio, k.note::pg_catalog.text)::pg_catalog.text from new_rows k;
                    elsif current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
                        insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'I', row(k.name, k.id)::pg_catalog.text, (select row(t.id, t.name, t.at, t.ratio, t.note::pg_catalog.text)::pg_catalog.text from public.sample t where t.name operator(pg_catalog.=) k.name and t.id operator(pg_catalog.=) k.id and (age(t.xmin) <= 0 or not exists (select from public.sample own where own.name operator(pg_catalog.=) k.name and own.id operator(pg_catalog.=) k.id and age(own.xmin) <= 0)) limit 1) from new_rows k;
                    else
                        insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'I', row(k.name, k.id)::pg_catalog.text, (select row(t.id, t.name, t.at, t.ratio, t.note::pg_catalog.text)::pg_catalog.text from public.sample t where t.name operator(pg_catalog.=) k.name and t.id operator(pg_catalog.=) k.id limit 1) from new_rows k;
                    end if;
                    perform set_config(pin.name, former[pin.number], true) from (values (1, 'search_path', 'pg_catalog, pg_temp'), (2, 'datestyle', 'ISO, YMD'), (3, 'row_security', 'off'),
                        (4, 'enable_seqscan', 'off'), (5, 'jit', 'off')) as pin (number, name, value);
                end if;
                if not (coalesce(pg_catalog.pg_sequence_last_value('replication.wake_wanted'), 1) operator(pg_catalog.<>) 2
                        and pg_catalog.pg_sequence_last_value('replication.outbox_event_id_seq') operator(pg_catalog.%) 4096 operator(pg_catalog.>=) 16) then
                    if pg_catalog.pg_sequence_last_value('replication.outbox_event_id_seq') operator(pg_catalog.%) 4096 operator(pg_catalog.<) 16 then
                        insert into replication.recorded_snapshot default values;
                    end if;
                    if pg_catalog.pg_sequence_last_value('replication.wake_wanted') operator(pg_catalog.=) 2
                            and pg_catalog.current_setting('max_prepared_transactions') operator(pg_catalog.=) '0' then
                        perform pg_catalog.pg_notify('replication_wake', '');
                    end if;
                end if;
                return new;
            end
            $function$
;

CREATE OR REPLACE FUNCTION replication.capture_rows_3()
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'off'
 SET "DateStyle" TO 'ISO, YMD'
 SET extra_float_digits TO '3'
AS $function$
            declare
                sent pg_catalog.int8;
            begin
                insert into replication.outbox_event (shape_id, operation) values (3, 'T');
                insert into replication.outbox_event (shape_id, operation, key_text, row_text) select 3, 'I', row(k.name, k.id)::pg_catalog.text, row(k.id, k.name, k.at, k.ratio, k.note::pg_catalog.text)::pg_catalog.text from public.sample k;
                get diagnostics sent = row_count;
                -- Deferred triggers of what code in expressions did would run with the rights of the session at its end.
                set constraints all immediate;
                return sent;
            end
            $function$
;

CREATE OR REPLACE FUNCTION replication.verify_keys_3(relation oid, columns text[], keys text[])
 RETURNS TABLE(key text, hash text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'off'
AS $function$
            begin
                if to_regclass('public.sample') is distinct from relation then
                    perform replication.refuse_renamed(relation, 'public.sample');
                end if;
                return query select r.key, r.hash from replication.rows_of_keys(relation, '{name,id}', columns, keys) r;
                if (select c.relfilenode from pg_class c where c.oid = relation) is distinct from pg_relation_filenode(relation) then
                    raise exception 'the table was emptied or rewritten meanwhile' using errcode = 'serialization_failure';
                end if;
            end
            $function$
;

CREATE OR REPLACE FUNCTION replication.verify_slice_3(relation oid, columns text[], after text, rows_max integer, bytes_max integer)
 RETURNS TABLE(key text, hash text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'off'
AS $function$
            begin
                if to_regclass('public.sample') is distinct from relation then
                    perform replication.refuse_renamed(relation, 'public.sample');
                end if;
                return query select r.key, r.hash from replication.rows_between(relation, '{name,id}', columns, after, null, rows_max, bytes_max) r;
                if (select c.relfilenode from pg_class c where c.oid = relation) is distinct from pg_relation_filenode(relation) then
                    raise exception 'the table was emptied or rewritten meanwhile' using errcode = 'serialization_failure';
                end if;
            end
            $function$
;

CREATE TRIGGER replication_delete AFTER DELETE ON public.sample REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION replication.capture_3();

CREATE TRIGGER replication_insert AFTER INSERT ON public.sample REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION replication.capture_insert_3();

CREATE TRIGGER replication_truncate AFTER TRUNCATE ON public.sample FOR EACH STATEMENT EXECUTE FUNCTION replication.capture_3();

CREATE TRIGGER replication_update AFTER UPDATE ON public.sample REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION replication.capture_3();
