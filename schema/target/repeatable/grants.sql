-- The privileges of a processor's role that is no superuser. For the tables of the application, see accept.sql. What
-- operators decide (which source is followed, what is skipped, what was acknowledged) is for it to read.

-- What it may do besides reading, by table and sequence.
create or replace function replication.processor_privileges() returns table (name text, privileges text)
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
    values ('position', 'insert, update'), ('applied_tick', 'insert, delete'), ('inbox_batch', 'insert, delete'),
           ('processed_events', 'insert, delete'), ('heard_source', 'insert, update, delete'), ('quarantine', 'insert, delete'),
           ('verification_heard', 'insert, update, delete'),
           ('skipped_transaction', 'update'), ('quarantine_id_seq', null), ('retry_wanted', null), ('adoption', null),
           ('adoption_id_seq', null), ('pause', 'update (obeyed_at)'), ('pause_id_seq', null), ('quarantine_seen', null), ('written', null), ('schema_version', null), ('repeatable', null);
end;

create or replace function replication.grant_to_processor(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
begin
    perform replication.grant_reading(role);
    perform replication.grant_exactly(role, format('replication.%I', p.name)::regclass, p.privileges)
    from replication.processor_privileges() p;
    execute format('grant temporary on database %I to %s', current_database(), role);
    if not has_parameter_privilege(role, 'session_replication_role', 'set') then
        execute format('grant set on parameter session_replication_role to %s', role);
    end if;
exception when insufficient_privilege then
    raise exception 'cannot grant all that % needs: %', role, sqlerrm using errcode = 'insufficient_privilege',
        hint = format('A superuser (of a managed server: its provider) can say: GRANT SET ON PARAMETER session_replication_role TO %I WITH GRANT OPTION;',
                      current_user);
end
$grant$;
comment on function replication.grant_to_processor(regrole) is
    'Grants all that the role of inbox-processor needs, except on tables, and takes what it does not.';

-- Older versions granted more; and views that are made anew are granted to nobody.
do $do$
declare
    role regrole;
begin
    for role in select r from replication.roles_that_update('replication.position') r loop
        perform replication.grant_reading(role);
        perform replication.grant_exactly(role, format('replication.%I', p.name)::regclass, p.privileges)
        from replication.processor_privileges() p;
    end loop;
end
$do$;
