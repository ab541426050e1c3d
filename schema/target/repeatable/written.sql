-- A table that inbox-processor writes to and that is attached here as well sends on what it receives. In a ring, each
-- change would go round for ever: so both sides must agree to it (attach with cascade => true).

-- Why inbox-processor must not write to the table; null where it may, and then that is noted.
create or replace function replication.write_refusal(relation regclass) returns text
language plpgsql security definer   -- whoever may write to the table need not be able to read the registry
set search_path = pg_catalog, pg_temp
as $refusal$
declare
    sends_back boolean := false;
begin
    if to_regclass('replication.attached') is not null then
        -- The source's side may be missing here, so the statement is not planned before.
        execute 'select exists (select from replication.attached a where a.relation = $1 and not a.cascade)' into sends_back using relation;
    end if;
    if sends_back then
        return format('the table %s is replicated from here, too; what is written to it would be sent on, and in a ring go '
                      'round for ever. In a chain (A -> B -> C), run here: select replication.attach(%L, cascade => true)',
                      relation, relation::text);
    end if;
    insert into replication.written as w (relation) values (relation) on conflict do nothing;
    return null;
end
$refusal$;
