-- The rights of the services' roles.

-- The roles that may update a table of ours, besides its owner: those of the service that keeps its progress there.
create or replace function replication.roles_that_update(relation regclass) returns setof regrole
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select distinct a.grantee::regrole
    from pg_class c, aclexplode(c.relacl) a
    where c.oid = relation and a.privilege_type = 'UPDATE' and a.grantee not in (0, c.relowner);
end;

-- Grants a table that a new version brings to the roles that may update an older one: an upgrade needs no new GRANT.
create or replace function replication.grant_as(relation regclass, older regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
declare
    role regrole;
begin
    for role in select r from replication.roles_that_update(older) r loop
        execute format('grant select, insert, update, delete on %s to %s', relation, role);
    end loop;
end
$grant$;

-- Lets a role read what is in this schema, and call it where that was taken from PUBLIC; but not what captures a table.
create or replace function replication.grant_reading(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
declare
    function regprocedure;
begin
    execute format('grant usage on schema replication to %s', role);
    execute format('grant select on all tables in schema replication to %s', role);
    for function in
        select p.oid::regprocedure from pg_proc p
        where p.pronamespace = 'replication'::regnamespace and p.proname !~ '^(capture_(insert_|rows_|explain_)?|verify_(slice|keys)_)[0-9]+$'
          and not has_function_privilege(role, p.oid, 'execute')
    loop
        execute format('grant execute on function %s to %s', function, role);
    end loop;
end
$grant$;

-- Leaves a role SELECT and these privileges on a table or sequence of ours, and no others.
create or replace function replication.grant_exactly(role regrole, relation regclass, privileges text default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $grant$
declare
    object text := (select case c.relkind when 'S' then 'sequence ' else 'table ' end || relation from pg_class c where c.oid = relation);
begin
    execute format('revoke all on %s from %s', object, role);
    execute format('grant %s on %s to %s', concat_ws(', ', 'select', privileges), object, role);
end
$grant$;
