-- The privileges of a publisher's role that is no superuser. It gets none on any table of the application, and none to
-- attach one: the registry of attached tables is for it to read.

-- What it may do besides reading, by table and sequence.
create or replace function replication.publisher_privileges() returns table (name text, privileges text)
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
    values ('tick', 'insert, delete'), ('progress', 'update'), ('outbox_event', 'delete'), ('moved_key', 'delete'),
           ('recorded_snapshot', 'delete'), ('heard_target', 'insert, update, delete'), ('wake_wanted', 'update'),
           ('outbox_event_id_seq', null), ('recorded_snapshot_id_seq', null), ('attached', null), ('attached_id_seq', null),
           ('shape', null), ('shape_id_seq', null), ('capture_hole', null), ('capture_hole_id_seq', null),
           ('verified_table', 'insert, update, delete'), ('verified_difference', 'insert, update, delete'),
           ('skipped_event', null), ('pause', 'update (obeyed_at)'), ('pause_id_seq', null), ('schema_version', null), ('repeatable', null);
end;

create or replace function replication.grant_to_publisher(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
begin
    perform replication.grant_reading(role);
    perform replication.grant_exactly(role, format('replication.%I', p.name)::regclass, p.privileges)
    from replication.publisher_privileges() p;
    perform replication.grant_verification(a.relation, role)
    from replication.attached a where to_regproc('replication.verify_keys_' || a.id) is not null;
end
$grant$;
comment on function replication.grant_to_publisher(regrole) is
    'Grants all that the role of outbox-publisher needs, and takes what it does not.';

-- Older versions granted more.
do $do$
declare
    role regrole;
    function regprocedure;
begin
    for role in select r from replication.roles_that_update('replication.progress') r loop
        perform replication.grant_to_publisher(role);
        for function in
            select p.oid::regprocedure from pg_proc p, aclexplode(p.proacl) a
            where p.pronamespace = 'replication'::regnamespace and p.proname ~ '^capture_(insert_|rows_|explain_)?[0-9]+$' and a.grantee = role
        loop
            execute format('revoke execute on function %s from %s', function, role);
        end loop;
    end loop;
end
$do$;
