-- The privileges of a publisher's role that is no superuser. It gets none on any table of the application.

create or replace function replication.grant_to_publisher(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
begin
    execute format('grant usage on schema replication to %s', role);
    execute format('grant select, insert, update, delete on all tables in schema replication to %s', role);
    execute format('grant usage, select, update on all sequences in schema replication to %s', role);
    execute format('grant execute on all functions in schema replication to %s', role);
end
$grant$;
comment on function replication.grant_to_publisher(regrole) is
    'Grants all that the role of outbox-publisher needs. Call it again after an upgrade.';
