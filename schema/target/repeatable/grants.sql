-- The privileges of a processor's role that is no superuser. For the tables of the application, see accept.sql.

create or replace function replication.grant_to_processor(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
begin
    execute format('grant usage on schema replication to %s', role);
    execute format('grant select, insert, update, delete on all tables in schema replication to %s', role);
    execute format('grant usage, select, update on all sequences in schema replication to %s', role);
    execute format('grant execute on all functions in schema replication to %s', role);
    execute format('grant temporary on database %I to %s', current_database(), role);
    -- Only a superuser may.
    execute format('grant set on parameter session_replication_role to %s', role);
end
$grant$;
comment on function replication.grant_to_processor(regrole) is
    'Grants all that the role of inbox-processor needs, except on tables. Call it again after an upgrade.';
