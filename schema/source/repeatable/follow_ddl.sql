-- Capture follows DDL on an attached table in the DDL's own transaction: rows captured before it keep their shape, later
-- rows get the new one.

-- Tells whoever gives a column the name of a former one that the target keeps the former values: no trigger fires for
-- the rows that are there.
create or replace function replication.tell_of_former_columns(changed regclass, former text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $tell$
declare
    again text;
begin
    select string_agg(quote_ident(c.attname), ', ' order by c.attnum) into again
    from pg_attribute c
    where c.attrelid = changed and c.attnum > 0 and not c.attisdropped and c.attname = any (former);
    if again is not null then
        raise warning '% had a former column of the name %: the target keeps its values', changed, again
            using hint = format('To send the values that are there now: select replication.resend(%L);', changed::text);
    end if;
end
$tell$;

-- Refreshes those of these tables that are attached and whose columns or name differ from what capture knows.
-- Touches what replication.attach touches.
create or replace function replication.refresh_attached(touched oid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $refresh$
declare
    changed regclass;
    former text[];
    refused record;
begin
    -- An attached table cannot become one that attach refuses. A table that already is one concerns only the DDL that
    -- touches it, its parent or its child.
    for refused in
        select a.relation, r.reason, r.remedy
        from replication.attached a cross join lateral replication.refusal(a.relation) r
        where r.reason is not null
          and exists (select from pg_class c where c.oid = a.relation)
          and (a.relation = any (touched)
               or exists (select from pg_inherits i
                          where i.inhparent = a.relation and i.inhrelid = any (touched)
                             or i.inhrelid = a.relation and i.inhparent = any (touched)))
    loop
        raise exception 'the replicated table % cannot be changed so: %', refused.relation, refused.reason
            using errcode = 'wrong_object_type',
                  hint = format('To end its replication first: select replication.detach(%L);', refused.relation::text);
    end loop;
    for changed, former in
        with present as materialized (
            select a.relation, a.shape_id
            from replication.attached a join pg_class c on c.oid = a.relation
            where a.relation = any (touched)
        )
        select p.relation,
               -- What an earlier shape had, and this one has not.
               array(select unnest(e.columns) from replication.shape e
                     where (e.schema_name, e.table_name) = (s.schema_name, s.table_name) and e.id <> s.id
                     except select unnest(s.columns))
        from present p
        join replication.shape s on s.id = p.shape_id
        cross join lateral replication.describe(p.relation) d
        where (s.schema_name, s.table_name, s.columns, s.key_columns, s.types, s.generated, s.key_collations)
           is distinct from (d.schema_name, d.table_name, d.columns, d.key_columns, d.types, d.generated, d.key_collations)
           -- ALTER TABLE ... OWNER TO.
           or replication.capture_role_number(s.id) is distinct from replication.capture_role_number(replication.table_owner(p.relation))
        order by p.relation
    loop
        perform replication.attach(changed);
        perform replication.tell_of_former_columns(changed, former);
    end loop;
    perform replication.require_seen_in_full(a.relation, p.proowner::regrole, false)
    from replication.attached a
    join pg_class c on c.oid = a.relation and c.relrowsecurity
    join pg_proc p on p.oid = to_regproc('replication.capture_' || a.id)
    where a.relation = any (touched);
end
$refresh$;

-- Follows what was dropped: attached tables; columns and keys, because something else was (DROP TYPE, DROP OPERATOR CLASS
-- ... CASCADE); triggers.
create or replace function replication.follow_dropped(tag text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $follow$
begin
    perform replication.follow_drop(a.relation)
    from pg_event_trigger_dropped_objects() d
    join replication.attached a on a.relation = d.objid
    where d.classid = 'pg_class'::regclass and d.objsubid = 0;

    perform replication.refresh_attached(touched)
    from (select array_agg(d.objid) as touched
          from pg_event_trigger_dropped_objects() d where d.object_type = 'table column') dropped
    where touched is not null;

    -- Dropped and added by one command.
    perform replication.tell_of_former_columns(dropped.relation, dropped.columns)
    from (select a.relation, array_agg(d.address_names[3]) as columns
          from pg_event_trigger_dropped_objects() d
          join replication.attached a on a.relation = d.objid
          where d.object_type = 'table column'
          group by a.relation) dropped;

    -- After ALTER TABLE, which may replace a key, ddl_command_end looks.
    perform replication.refresh_attached(touched)
    from (select array_agg(c.oid) as touched
          from pg_event_trigger_dropped_objects() d
          join pg_namespace n on n.nspname = d.address_names[1]
          join pg_class c on c.relnamespace = n.oid and c.relname = d.address_names[2]
          where d.object_type = 'table constraint' and tag <> 'ALTER TABLE') dropped
    where touched is not null;

    perform replication.follow_triggers(touched)
    from (select array_agg(c.oid) as touched
          from pg_event_trigger_dropped_objects() d
          join pg_namespace n on n.nspname = d.address_names[1]
          join pg_class c on c.relnamespace = n.oid and c.relname = d.address_names[2]
          where d.object_type = 'trigger' and d.address_names[3] like 'replication\_%') dropped
    where touched is not null;
end
$follow$;

-- Refuses DDL on a table that was attached after the snapshot of this transaction, which does not see that and so could
-- not follow: changes of the table would fail, or be captured in the wrong shape. The catalog's own look-ups see it.
create or replace function replication.require_seen(touched oid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $require$
declare
    relation regclass;
begin
    if current_setting('transaction_isolation') not in ('repeatable read', 'serializable') then
        return;
    end if;
    for relation in
        select c.oid
        from pg_class c
        where c.oid = any (touched) and c.relkind = 'r' and c.relpersistence = 'p'
          and not exists (select from replication.attached a where a.relation = c.oid)
    loop
        begin
            perform pg_get_object_address('trigger', array(
                select unnest(array[n.nspname::text, c.relname::text, 'replication_update'])
                from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation), '{}');
        exception when undefined_object or undefined_table or invalid_schema_name then
            continue;
        end;
        raise exception 'could not follow DDL on %, which was attached after this transaction began', relation
            using errcode = 'serialization_failure', hint = 'Run the transaction again.';
    end loop;
end
$require$;

-- Tells whoever creates a table that it is not replicated, where others of its schema are, or one of its name was.
create or replace function replication.follow_creation() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $follow$
declare
    created record;
begin
    for created in
        select c.oid::regclass as relation, c.relnamespace,
               exists (select from replication.capture_hole h
                       where h.kind <> 'off' and (h.schema_name, h.table_name) = (n.nspname, c.relname)) as takes_a_place
        from pg_event_trigger_ddl_commands() d
        join pg_class c on c.oid = d.objid and c.relkind in ('r', 'p') and c.relpersistence <> 't' and not c.relispartition
        join pg_namespace n on n.oid = c.relnamespace
        where d.classid = 'pg_class'::regclass and d.command_tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') and not d.in_extension
    loop
        if created.takes_a_place then
            raise warning '% is not replicated, as the former table of this name was', created.relation
                using hint = format('select replication.attach(%1$L), replication.resend(%1$L); or: select replication.detach(%1$L)',
                                    created.relation::text);
        elsif exists (select from replication.attached a join pg_class c on c.oid = a.relation where c.relnamespace = created.relnamespace) then
            raise notice '% is not replicated; other tables of its schema are', created.relation
                using hint = (select coalesce('It cannot be yet: ' || r.reason || '. ' || r.remedy,
                                              format('select replication.attach(%L);', created.relation::text))
                              from replication.refusal(created.relation) r);
        end if;
    end loop;
end
$follow$;

-- Follows the DDL command, or what was dropped. An ALTER TABLE inside attach fires this again, and finds nothing to do.
--
-- Runs in everybody's DDL. So it plans the same way in every session: a disabled planner method makes plans look so
-- expensive that each query is compiled (JIT), for seconds. And temporary tables, which are many, end at its first query.
create or replace function replication.follow_ddl() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set check_function_bodies = on
set jit = off
set enable_nestloop = on
set enable_hashjoin = on
set enable_mergejoin = on
set enable_seqscan = on
set enable_indexscan = on
set enable_bitmapscan = on
as $follow$
declare
    touched oid[];
begin
    if tg_event = 'sql_drop' then
        if exists (select from pg_event_trigger_dropped_objects() d
                   where not d.is_temporary and d.object_type in ('table', 'table column', 'table constraint', 'trigger')) then
            perform replication.follow_dropped(tg_tag);
        end if;
        return;
    elsif tg_tag in ('ALTER SCHEMA', 'ALTER EXTENSION', 'ALTER TYPE', 'ALTER DOMAIN') then
        -- Everything in the schema has another name now; the command reports the schema only. A type may be that of the
        -- rows of tables, or in them.
        touched := array(select a.relation from replication.attached a);
    elsif tg_tag in ('CREATE INDEX', 'CREATE STATISTICS') then
        perform replication.require_plannable(array(
            select coalesce(i.indrelid, s.stxrelid)
            from pg_event_trigger_ddl_commands() c
            left join pg_index i on c.classid = 'pg_class'::regclass and i.indexrelid = c.objid
            left join pg_statistic_ext s on c.classid = 'pg_statistic_ext'::regclass and s.oid = c.objid
            where c.schema_name is distinct from 'pg_temp'));
        return;
    else
        -- Nobody attaches a temporary table, but one can be the child of an attached one.
        touched := array(select c.objid from pg_event_trigger_ddl_commands() c
                         where c.classid = 'pg_class'::regclass
                           and (c.schema_name is distinct from 'pg_temp' or exists (select from pg_inherits i where i.inhrelid = c.objid)));
        if touched = '{}' then
            return;
        end if;
    end if;
    perform replication.require_seen(touched);
    perform replication.refresh_attached(touched);
    if tg_tag = 'ALTER TABLE' then
        perform replication.follow_triggers(touched);
        perform replication.require_plannable(touched);
    elsif tg_tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') then
        perform replication.follow_creation();
    elsif tg_tag in ('ALTER TYPE', 'ALTER DOMAIN', 'ALTER EXTENSION') then
        -- The settings under which a table's values are written depend on what their types contain.
        perform replication.renew_capture_functions(a.relation, a.shape_id)
        from replication.attached a
        where exists (select from pg_attribute c join pg_type t on t.oid = c.atttypid
                      where c.attrelid = a.relation and c.attnum > 0 and not c.attisdropped
                        and t.typnamespace <> 'pg_catalog'::regnamespace);
    end if;
end
$follow$;

drop event trigger if exists replication_follow_alter_table;
drop event trigger if exists replication_follow_ddl;
drop event trigger if exists replication_follow_drop;
drop function if exists replication.follow_alter_table();

do $do$
begin
    create event trigger replication_follow_ddl on ddl_command_end
        -- RENAME of an index, a view, a foreign table or a type accepts tables, too; a foreign table may be a child.
        when tag in ('ALTER TABLE', 'CREATE INDEX', 'CREATE STATISTICS', 'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER INDEX', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'CREATE FOREIGN TABLE',
                     'ALTER FOREIGN TABLE', 'ALTER TYPE', 'ALTER DOMAIN', 'ALTER SCHEMA', 'ALTER EXTENSION')
        execute function replication.follow_ddl();
    -- Also in sessions with session_replication_role = replica.
    alter event trigger replication_follow_ddl enable always;
    create event trigger replication_follow_drop on sql_drop execute function replication.follow_ddl();
    alter event trigger replication_follow_drop enable always;
exception when insufficient_privilege then
    raise warning 'without superuser rights ALTER TABLE cannot be followed: call replication.attach again in the same transaction';
end
$do$;
