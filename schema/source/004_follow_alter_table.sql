-- ALTER TABLE on an attached table is followed in its own transaction: the rows captured before it keep
-- their shape, those after it get the new one.

-- Refreshes the attached tables that the DDL command touched, where it changed their columns or names.
-- Touches what replication.attach touches. The ALTER TABLE inside attach fires this again, and then
-- finds nothing changed.
create function replication.follow_alter_table() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog
as $follow$
declare
    changed regclass;
begin
    for changed in
        select a.relation
        from replication.attached a
        join replication.shape s on s.id = a.shape_id
        cross join lateral replication.describe(a.relation) d
        where a.relation in (select objid from pg_event_trigger_ddl_commands() where classid = 'pg_class'::regclass)
          and (s.schema_name, s.table_name, s.columns, s.key_columns, s.types, s.generated)
           is distinct from (d.schema_name, d.table_name, d.columns, d.key_columns, d.types, d.generated)
    loop
        perform replication.attach(changed);
    end loop;
end
$follow$;

do $do$
begin
    create event trigger replication_follow_alter_table on ddl_command_end
        when tag in ('ALTER TABLE')
        execute function replication.follow_alter_table();
exception when insufficient_privilege then
    raise warning 'without superuser rights ALTER TABLE cannot be followed: call replication.attach again in the same transaction';
end
$do$;

-- Ends the capture of a table. What was captured before is still carried.
-- Touches replication.attached and the triggers of the table.
create function replication.detach(relation regclass) returns void
language plpgsql
set search_path = pg_catalog
as $detach$
begin
    delete from replication.attached a where a.relation = detach.relation;
    -- Its triggers depend on it.
    execute format('drop function if exists replication.%I() cascade', 'capture_' || relation::oid);
end
$detach$;
comment on function replication.detach(regclass) is
    'Changes of the table are no longer captured from now on.';
