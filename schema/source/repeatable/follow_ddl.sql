-- Capture follows DDL on an attached table in the DDL's own transaction: rows captured before it keep their shape, later
-- rows get the new one.

-- Refreshes those of these tables that are attached and whose columns or name differ from what capture knows.
-- Touches what replication.attach touches. Runs in everybody's DDL, so it plans the same way in every session: a
-- disabled planner method makes plans look so expensive that each query is compiled (JIT), for seconds.
create or replace function replication.refresh_attached(touched oid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
set enable_nestloop = on
set enable_hashjoin = on
set enable_mergejoin = on
set enable_seqscan = on
set enable_indexscan = on
set enable_bitmapscan = on
as $refresh$
declare
    changed regclass;
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
    for changed in
        with present as materialized (
            select a.relation, a.shape_id
            from replication.attached a join pg_class c on c.oid = a.relation
            where a.relation = any (touched)
        )
        select p.relation
        from present p
        join replication.shape s on s.id = p.shape_id
        cross join lateral replication.describe(p.relation) d
        where (s.schema_name, s.table_name, s.columns, s.key_columns, s.types, s.generated)
           is distinct from (d.schema_name, d.table_name, d.columns, d.key_columns, d.types, d.generated)
        order by p.relation
    loop
        perform replication.attach(changed);
    end loop;
end
$refresh$;

-- Refreshes the attached tables that the DDL command touched, and those that lost a column because something else was
-- dropped (DROP TYPE ... CASCADE), which only sql_drop reports. An ALTER TABLE inside attach fires this again, and finds
-- nothing to do.
create or replace function replication.follow_ddl() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set check_function_bodies = on
as $follow$
begin
    if tg_event = 'sql_drop' then
        perform replication.refresh_attached(touched)
        from (select array_agg(d.objid) as touched
              from pg_event_trigger_dropped_objects() d where d.object_type = 'table column') dropped
        where touched is not null;
    elsif tg_tag in ('ALTER SCHEMA', 'ALTER EXTENSION', 'ALTER TYPE') then
        -- Everything in the schema has another name now; the command reports the schema only. A type may be that of the
        -- rows of tables.
        perform replication.refresh_attached(array(select a.relation from replication.attached a));
    else
        perform replication.refresh_attached(array(
            select c.objid from pg_event_trigger_ddl_commands() c where c.classid = 'pg_class'::regclass));
    end if;
    if tg_tag = 'ALTER TYPE' then
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
        when tag in ('ALTER TABLE', 'CREATE TABLE', 'ALTER INDEX', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'CREATE FOREIGN TABLE',
                     'ALTER FOREIGN TABLE', 'ALTER TYPE', 'ALTER SCHEMA', 'ALTER EXTENSION')
        execute function replication.follow_ddl();
    -- Also in sessions with session_replication_role = replica.
    alter event trigger replication_follow_ddl enable always;
    create event trigger replication_follow_drop on sql_drop execute function replication.follow_ddl();
    alter event trigger replication_follow_drop enable always;
exception when insufficient_privilege then
    raise warning 'without superuser rights ALTER TABLE cannot be followed: call replication.attach again in the same transaction';
end
$do$;
