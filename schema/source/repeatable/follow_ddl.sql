-- DDL on an attached table is followed in its own transaction: the rows captured before it keep
-- their shape, those after it get the new one.

-- Refreshes the attached tables that the DDL command touched, where it changed their columns or names.
-- Touches what replication.attach touches. The ALTER TABLE inside attach fires this again, and then
-- finds nothing changed.
create or replace function replication.follow_ddl() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set check_function_bodies = on
as $follow$
declare
    changed regclass;
    refused record;
begin
    -- An attached table cannot become what attach refuses.
    for refused in
        select a.relation, r.reason, r.remedy
        from replication.attached a cross join lateral replication.refusal(a.relation) r
        where r.reason is not null
          and exists (select from pg_class c where c.oid = a.relation)
    loop
        raise exception 'the replicated table % cannot be changed so: %', refused.relation, refused.reason
            using errcode = 'wrong_object_type',
                  hint = format('To end its replication first: select replication.detach(%L);', refused.relation::text);
    end loop;
    for changed in
        select a.relation
        from replication.attached a
        join replication.shape s on s.id = a.shape_id
        cross join lateral replication.describe(a.relation) d
        where exists (select from pg_class c where c.oid = a.relation) and a.relation in (select objid from pg_event_trigger_ddl_commands() where classid = 'pg_class'::regclass)
          and (s.schema_name, s.table_name, s.columns, s.key_columns, s.types, s.generated)
           is distinct from (d.schema_name, d.table_name, d.columns, d.key_columns, d.types, d.generated)
    loop
        perform replication.attach(changed);
    end loop;
end
$follow$;

drop event trigger if exists replication_follow_alter_table;
drop event trigger if exists replication_follow_ddl;
drop function if exists replication.follow_alter_table();

do $do$
begin
    create event trigger replication_follow_ddl on ddl_command_end
        when tag in ('ALTER TABLE', 'CREATE TABLE')
        execute function replication.follow_ddl();
    -- Also in sessions with session_replication_role = replica.
    alter event trigger replication_follow_ddl enable always;
exception when insufficient_privilege then
    raise warning 'without superuser rights ALTER TABLE cannot be followed: call replication.attach again in the same transaction';
end
$do$;
