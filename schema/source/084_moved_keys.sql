-- Where a statement changed the key of its only row: the new key, for the event by which the old one is gone. So what only
-- the target has of the row can stay with it. A table of its own, since a column would lock the outbox for the upgrade.
create table replication.moved_key (
    txid xid8 not null default pg_current_xact_id(),
    id bigint not null,           -- of replication.outbox_event
    new_key text not null,
    primary key (txid, id)
);
comment on table replication.moved_key is 'The new keys of rows whose key a statement changed.';
alter table replication.moved_key set (autovacuum_vacuum_scale_factor = 0.05);

-- Who publishes from this source goes on without being granted anything anew.
do $do$
declare
    publisher text;
begin
    for publisher in
        select distinct a.grantee::regrole::text
        from pg_class c, aclexplode(c.relacl) a
        where c.oid = 'replication.progress'::regclass and a.privilege_type = 'UPDATE' and a.grantee not in (0, c.relowner)
    loop
        execute format('grant select, delete on replication.moved_key to %s', publisher);
    end loop;
end
$do$;
